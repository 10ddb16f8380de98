package e2e

// What the tests of validation share.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
)

const workloadsFolder = "testdata/workloads"

// validating is a namespace in which workloads are validated.
type validating struct {
	*testing.T
	*cluster.Cluster
	hook      *cluster.Webhook
	warned    client.Client // tells warnings to the context's collector
	namespace string
}

// rollouts are validated besides the built-in kinds.
func rollouts() []admissionv1.Rule {
	return []admissionv1.Rule{{APIGroups: []string{"argoproj.io"}, APIVersions: []string{"*"}, Resources: []string{"rollouts"}}}
}

// newValidating runs the webhook, in a namespace with nothing to warn of.
func newValidating(t *testing.T, opts cluster.WebhookOptions) *validating {
	t.Helper()
	opts.Workloads = rollouts()
	v := &validating{T: t, Cluster: shared, hook: runWebhook(t, shared, opts), warned: warningClient(t, shared)}
	v.namespace = v.newNamespace(workloadsFolder + "/scene.yaml")
	if !opts.Unregistered {
		v.waitForValidation()
	}
	return v
}

// newNamespace makes one with the manifests in it.
func (v *validating) newNamespace(files ...string) string {
	v.Helper()
	namespace := clustertest.Namespace(v.T, v.Cluster, nil)
	for _, file := range files {
		clustertest.Apply(v.T, v.Cluster, file, namespace)
	}
	return namespace
}

// waitForValidation waits until the API server asks the webhook about workloads.
func (v *validating) waitForValidation() {
	v.Helper()
	require.NoError(v, v.WaitFor(v.Context(), "workloads to be validated", func(ctx context.Context) error {
		before := v.validations("workload")
		if err := v.Client.Create(ctx, v.deployment(nil), client.DryRunAll); err != nil {
			return err
		}
		if maps.Equal(before, v.validations("workload")) {
			return errors.New("they are not")
		}
		return nil
	}))
}

// validations reads the counters, by outcome/reason.
func (v *validating) validations(kind string) map[string]int {
	v.Helper()
	return samples(v.T, v.hook, `^mtls_injector_validations_total\{kind="`+kind+`",outcome="([a-z-]+)",reason="([a-z-]+)"\} (\d+)$`)
}

// deployment returns one without pods and with annotations on its template, whose keys are
// without the prefix.
func (v *validating) deployment(annotations map[string]string) *appsv1.Deployment {
	v.Helper()
	deployment, ok := readManifests(v.T, v.Scheme, workloadsFolder+"/deployment.yaml")[0].(*appsv1.Deployment)
	require.True(v, ok)
	deployment.Namespace, deployment.Spec.Template.Annotations = v.namespace, prefixed(annotations)
	return deployment
}

// create asks for the workload without making it, and returns the warnings.
func (v *validating) create(obj client.Object) ([]string, error) {
	v.Helper()
	ctx, warnings := collectWarnings(v.Context())
	err := v.warned.Create(ctx, obj, client.DryRunAll)
	return warnings.texts, err
}

// kubectl runs it in the namespace, with the manifest on its standard input, and returns
// what it prints.
func (v *validating) kubectl(manifest string, args ...string) (string, error) {
	v.Helper()
	args = append([]string{"--kubeconfig", v.Kubeconfig, "--namespace", v.namespace}, args...)
	command := exec.CommandContext(v.Context(), v.Kubectl, args...)
	command.Stdin = strings.NewReader(manifest)
	out, err := command.CombinedOutput()
	return string(out), err
}

// kinds returns the manifests of kinds.yaml by kind.
func (v *validating) kinds() map[string]string {
	v.Helper()
	data, err := os.ReadFile(workloadsFolder + "/kinds.yaml")
	require.NoError(v, err)
	kinds := map[string]string{}
	for document := range bytes.SplitSeq(data, []byte("\n---\n")) {
		_, after, found := strings.Cut(string(document), "kind: ")
		require.True(v, found)
		kind, _, _ := strings.Cut(after, "\n")
		kinds[kind] = string(document)
	}
	return kinds
}

// requireGolden compares with a file of that name, or writes it with -update.
func (v *validating) requireGolden(name, got string) {
	v.Helper()
	path := workloadsFolder + "/" + name + ".txt"
	if *update {
		require.NoError(v, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(v, err)
	require.Equal(v, string(want), got)
}

// on returns the scene for a subtest.
func (v *validating) on(t *testing.T) *validating {
	t.Helper()
	scene := *v
	scene.T = t
	return &scene
}

// in returns the scene in another namespace.
func (v *validating) in(namespace string) *validating {
	scene := *v
	scene.namespace = namespace
	return &scene
}

// run makes each a subtest.
func (v *validating) run(tests map[string]func(*validating)) {
	v.Helper()
	for name, test := range tests {
		v.Run(name, func(t *testing.T) { test(v.on(t)) })
	}
}

// configuration writes a file with the mode of validation.
func configuration(t *testing.T, mode string) string {
	t.Helper()
	path := t.TempDir() + "/injector.yaml"
	text := fmt.Sprintf("apiVersion: config.mtls.example.io/v1alpha1\nkind: InjectorConfiguration\nadmission: {workloads: %s}\n", mode)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}
