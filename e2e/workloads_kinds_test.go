package e2e

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
)

// TestWorkloads: whoever writes a workload or a Namespace learns what is wrong with it.
func TestWorkloads(t *testing.T) {
	v := newValidating(t, cluster.WebhookOptions{})
	v.run(map[string]func(*validating){
		"kinds":               checkKinds,
		"generated names":     checkGeneratedName,
		"owned":               checkOwned,
		"updates":             checkUpdates,
		"Namespaces":          checkNamespaceAnnotations,
		"Namespaces' updates": checkNamespaceUpdates,
		"odd, each":           checkOdd,
		"odd, with kubectl":   checkOddWithKubectl,
		"another CA bundle":   checkOtherBundle,
		"the Service first":   func(v *validating) { checkServiceOrder(v, true) },
		"the Service last":    func(v *validating) { checkServiceOrder(v, false) },
		"the Service never":   checkServiceOfOthers,
	})
}

// checkKinds reads what kubectl prints, to the letter.
func checkKinds(v *validating) {
	crd, err := os.ReadFile(companionsFolder + "/rollouts-crd.yaml")
	require.NoError(v, err)
	_, err = v.Apply(v.Context(), crd, "")
	require.NoError(v, err)
	for kind, manifest := range v.kinds() {
		v.Run(kind, func(t *testing.T) {
			v := v.on(t)
			var out string
			require.NoError(t, v.WaitFor(t.Context(), "the kind to be served", func(context.Context) (err error) {
				if out, err = v.kubectl(manifest, "create", "-f", "-", "--dry-run=server"); err != nil {
					return errors.New(out)
				}
				return nil
			}))
			assert.Regexp(t, `^[a-z.]+/web created \(server dry run\)\n$`, out, "and no warnings")

			wrong := strings.Replace(manifest, "role: server", "role: sever, mtls.example.io/duration: 90d, mtls.example.io/rol: server", 1)
			out, err := v.kubectl(wrong, "create", "-f", "-")
			require.Error(t, err)
			v.requireGolden(kind, out)
		})
	}
}

// checkGeneratedName: at validation the API server has generated the name, so nothing has
// to be guessed.
func checkGeneratedName(v *validating) {
	job := func(role string) *batchv1.Job {
		job := &batchv1.Job{}
		job.GenerateName, job.Namespace = "load-", v.namespace
		job.Spec.Suspend = new(true)
		job.Spec.Template = v.deployment(map[string]string{"role": role}).Spec.Template
		job.Spec.Template.Labels, job.Spec.Template.Spec.RestartPolicy = nil, corev1.RestartPolicyNever
		return job
	}
	warnings, err := v.create(job("server"))
	require.NoError(v, err)
	require.Len(v, warnings, 1)
	assert.Regexp(v, `the names of its workload "load-[a-z0-9]{5}"$`, warnings[0])
	_, err = v.create(job("sever"))
	require.ErrorContains(v, err, `Job.batch "load-`)
	require.ErrorContains(v, err, `is invalid: spec.template.metadata.annotations[mtls.example.io/role]: Invalid value: "sever"`)
}

// checkOwned: a Deployment's ReplicaSet is not looked at. The Deployment was.
func checkOwned(v *validating) {
	before := v.validations("workload")
	deployment := v.deployment(map[string]string{"role": "server"})
	require.NoError(v, v.Client.Create(v.Context(), deployment))
	require.NoError(v, v.WaitFor(v.Context(), "its ReplicaSet to pass", func(context.Context) error {
		if v.validations("workload")["allowed/owned"] == before["allowed/owned"] {
			return errors.New("it has not come")
		}
		return nil
	}))
	require.NoError(v, v.Client.Delete(v.Context(), deployment))
	assert.Equal(v, before["allowed/valid"]+1, v.validations("workload")["allowed/valid"])
}

// TestWorkloadsThatWereWrong: a workload that is older than its validation can be scaled,
// given another image and made right, but not annotated wrongly anew.
func TestWorkloadsThatWereWrong(t *testing.T) {
	v := newValidating(t, cluster.WebhookOptions{Unregistered: true})
	require.NoError(t, v.Client.Create(t.Context(), v.deployment(map[string]string{"role": "sever"})))
	require.NoError(t, v.hook.Register(t.Context()))
	const problem = `spec.template.metadata.annotations[mtls.example.io/role]: Invalid value: "sever": must be one of server, client, both, none; did you mean "server"?`
	const warning = "Warning: pods will be refused: " + problem + "\n"
	template := func(annotations string) []string {
		return []string{"patch", "deployment", "web", "--type=merge", "--patch", `{"spec":{"template":{"metadata":{"annotations":{` + annotations + `}}}}}`}
	}
	require.NoError(t, v.WaitFor(t.Context(), "workloads to be validated", func(context.Context) error {
		if out, err := v.kubectl("", "annotate", "deployment", "web", "--overwrite", "example.com/at="+t.Name()); err != nil || !strings.Contains(out, warning) {
			return errors.New(out)
		}
		return nil
	}))
	for _, step := range []struct {
		name string
		args []string
		want string
	}{
		{"scaled", []string{"scale", "deployment", "web", "--replicas=1"}, "deployment.apps/web scaled\n"},
		{"scaled by a patch", []string{"patch", "deployment", "web", "--patch", `{"spec":{"replicas":0}}`}, warning + "deployment.apps/web patched\n"},
		{"another image", []string{"set", "image", "deployment/web", "app=example.com/app:2"}, warning + "deployment.apps/web image updated\n"},
		{"restarted", []string{"rollout", "restart", "deployment/web"}, warning + "deployment.apps/web restarted\n"},
		{"restarted by us", template(`"mtls.example.io/certificate-hash":"abc"`), warning + "deployment.apps/web patched\n"},
		{"labelled", []string{"label", "deployment", "web", "a=b"}, warning + "deployment.apps/web labeled\n"},
		{"annotated anew", template(`"mtls.example.io/env":"curl"`), `The Deployment "web" is invalid: ` + problem + "\n"},
		{"made right", template(`"mtls.example.io/role":"server"`), "deployment.apps/web patched\n"},
		{"made wrong", template(`"mtls.example.io/role":"sever"`), `The Deployment "web" is invalid: ` + problem + "\n"},
		{"deleted", []string{"delete", "deployment", "web"}, "deployment.apps \"web\" deleted from " + v.namespace + " namespace\n"},
	} {
		t.Run(step.name, func(t *testing.T) {
			out, err := v.on(t).kubectl("", step.args...)
			assert.Equal(t, strings.HasPrefix(step.want, "The Deployment"), err != nil)
			assert.Equal(t, step.want, out)
		})
	}
}

// checkUpdates is the same on the API, with what kubectl hides.
func checkUpdates(v *validating) {
	deployment := v.deployment(map[string]string{"role": "server"})
	require.NoError(v, v.Client.Create(v.Context(), deployment))
	before := deployment.DeepCopy()
	deployment.Spec.Template.Annotations["mtls.example.io/role"] = "sever"
	err := v.Client.Patch(v.Context(), deployment, client.MergeFrom(before))
	assertRefusedAs(v.T, "Deployment", err, "spec.template.metadata.annotations[mtls.example.io/role]",
		`Invalid value: "sever": must be one of server, client, both, none; did you mean "server"?`)
	require.NoError(v, v.Client.Delete(v.Context(), deployment))
}

// TestWorkloadModes: what is refused by default is a warning or nothing, as configured.
func TestWorkloadModes(t *testing.T) {
	const problem = `annotations[mtls.example.io/role]: Invalid value: "sever": must be one of server, client, both, none; did you mean "server"?`
	for mode, want := range map[string]struct {
		workload, namespace []string
		counted             string
	}{
		"warn": {[]string{"pods will be refused: spec.template.metadata." + problem}, []string{"pods that leave it as it is will be refused: metadata." + problem}, "warned/invalid"},
		"off":  {nil, nil, "allowed/off"},
	} {
		t.Run(mode, func(t *testing.T) {
			v := newValidating(t, cluster.WebhookOptions{Config: configuration(t, mode)})
			before := v.validations("workload")
			warnings, err := v.create(v.deployment(map[string]string{"role": "sever"}))
			require.NoError(t, err)
			assert.Equal(t, want.workload, warnings)
			assert.Equal(t, before[want.counted]+1, v.validations("workload")[want.counted])

			before = v.validations("namespace")
			warnings, err = v.create(v.newNamespaceObject(map[string]string{"role": "sever"}))
			require.NoError(t, err)
			assert.Equal(t, want.namespace, warnings)
			assert.Equal(t, before[want.counted]+1, v.validations("namespace")[want.counted])

			err = v.Client.Create(t.Context(), podWith(v.namespace, map[string]string{"role": "sever"}), client.DryRunAll)
			assertRefused(t, err, "metadata."+problem[:strings.Index(problem, ": ")], problem[strings.Index(problem, ": ")+2:])
		})
	}
}

// TestWorkloadsWithoutTheWebhook: while it is down, everybody can work. The pods wait.
func TestWorkloadsWithoutTheWebhook(t *testing.T) {
	v := newValidating(t, cluster.WebhookOptions{Name: "validation-down"})
	require.NoError(t, v.hook.Kill())
	warnings, err := v.create(v.deployment(map[string]string{"role": "sever"}))
	require.NoError(t, err)
	assert.Empty(t, warnings)
	_, err = v.create(v.newNamespaceObject(map[string]string{"role": "sever"}))
	require.NoError(t, err)
	err = v.Client.Create(t.Context(), podWith(v.namespace, nil), client.DryRunAll)
	require.ErrorContains(t, err, `failed calling webhook "pods.validation-down.example.io"`)
}
