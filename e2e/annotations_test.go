package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/intent"
)

// annotationsFolder holds the configuration, the Services and the pod of these tests.
const annotationsFolder = "testdata/annotations"

// annotated is what the tests of annotations share.
type annotated struct {
	*cluster.Cluster
	warned client.Client // tells warnings to the context's collector
	// namespace has the Services and says nothing itself.
	namespace string
	pod       *corev1.Pod
}

// TestAnnotations tries every row of the annotation table on the real API server: values
// that are accepted, with what they do to the pod, and values that are refused, with what
// the user is told. A row without a case fails.
func TestAnnotations(t *testing.T) {
	runWebhook(t, shared, cluster.WebhookOptions{Config: annotationsFolder + "/injector.yaml"})
	a := newAnnotated(t)
	accepted, refused := acceptedValues(), refusedValues(a.namespace)
	for _, key := range intent.Keys() {
		t.Run(key.Name, func(t *testing.T) {
			require.NotEmpty(t, accepted[key.Name], "accepted values")
			if key.Scope != intent.ScopeStatus { // which is written over or ignored, whatever it is
				require.NotEmpty(t, refused[key.Name], "refused values")
			}
			for _, tc := range accepted[key.Name] {
				t.Run("accepts "+tc.value, func(t *testing.T) { a.accepts(t, key, tc) })
			}
			for _, tc := range refused[key.Name] {
				t.Run("refuses "+tc.value, func(t *testing.T) { a.refuses(t, key, tc) })
			}
			t.Run("scope", func(t *testing.T) { a.scope(t, key, accepted[key.Name]) })
		})
		delete(accepted, key.Name)
		delete(refused, key.Name)
	}
	assert.Empty(t, accepted, "cases of keys that the table does not have")
	assert.Empty(t, refused, "cases of keys that the table does not have")
}

func newAnnotated(t *testing.T) *annotated {
	t.Helper()
	a := &annotated{Cluster: shared, warned: warningClient(t, shared), namespace: clustertest.Namespace(t, shared, nil)}
	clustertest.Apply(t, a.Cluster, annotationsFolder+"/services.yaml", a.namespace)
	pod, ok := readManifests(t, a.Scheme, annotationsFolder+"/pod.yaml")[0].(*corev1.Pod)
	require.True(t, ok)
	a.pod = pod
	// The webhook has both Services in its cache.
	require.NoError(t, a.WaitFor(t.Context(), "the Services' names in a certificate", func(ctx context.Context) error {
		pod, err := a.create(ctx, a.namespace, map[string]string{"role": "server"})
		if err != nil {
			return err
		}
		if names := seeAttribute("dns-names")(pod); !strings.Contains(names, "api,") || !strings.Contains(names, "api-grpc,") {
			return fmt.Errorf("it has %s", names)
		}
		return nil
	}))
	return a
}

// create asks for the test's pod with the annotations, without making it.
func (a *annotated) create(ctx context.Context, namespace string, annotations map[string]string) (*admitted, error) {
	pod := a.pod.DeepCopy()
	pod.Namespace, pod.Annotations = namespace, prefixed(annotations)
	ctx, warnings := collectWarnings(ctx)
	err := a.warned.Create(ctx, pod, client.DryRunAll)
	return &admitted{pod, warnings.texts}, err
}

func prefixed(annotations map[string]string) map[string]string {
	full := map[string]string{}
	for name, value := range annotations {
		full[intent.Prefix+name] = value
	}
	return full
}

// with returns the case's annotations: a role unless it is about that, what the case
// needs besides, and the value itself.
func (tc *annotationCase) with(key intent.Key, value string) map[string]string {
	annotations := map[string]string{"role": "both", key.Name: value}
	maps.Copy(annotations, tc.and)
	return annotations
}

func (a *annotated) accepts(t *testing.T, key intent.Key, tc annotationCase) {
	t.Helper()
	pod, err := a.create(t.Context(), a.namespace, tc.with(key, tc.value))
	require.NoError(t, err)
	assert.Equal(t, tc.want, tc.see(pod))
}

func (a *annotated) refuses(t *testing.T, key intent.Key, tc annotationCase) {
	t.Helper()
	_, err := a.create(t.Context(), a.namespace, tc.with(key, tc.value))
	field := tc.field
	if field == "" {
		field = "metadata.annotations[" + intent.Prefix + key.Name + "]"
	}
	assertRefused(t, err, field, fmt.Sprintf("Invalid value: %q: %s", tc.shown(), tc.want))
}

// scope puts the values on the namespace. Where they may stand there, the first does what
// it does on the pod, and a pod's own second one beats it; elsewhere they are refused, on
// the Namespace and, where that is older, on its pods.
func (a *annotated) scope(t *testing.T, key intent.Key, cases []annotationCase) {
	t.Helper()
	first := cases[0]
	first.and = copyOf(first.and)
	given := prefixed(map[string]string{key.Name: first.value})
	if key.Scope != intent.ScopeAny {
		field := "metadata.annotations[" + intent.Prefix + key.Name + "]"
		message := fmt.Sprintf("Invalid value: %q: may stand on pods only, not on a Namespace", intent.Prefix+key.Name)
		_, err := a.CreateNamespace(t.Context(), "test-", map[string]string{cluster.EnabledLabel: "true"}, given)
		assertRefusedAs(t, "Namespace", err, field, message)
		_, err = a.create(t.Context(), optedInLater(t, a.Cluster, given), map[string]string{"role": "both"})
		assertRefused(t, err, "namespace."+field, message)
		return
	}
	namespace := clustertest.Namespace(t, a.Cluster, given)
	annotations := first.with(key, first.value)
	delete(annotations, key.Name)
	pod, err := a.create(t.Context(), namespace, annotations)
	require.NoError(t, err)
	assert.Equal(t, first.inNamespace(namespace), first.see(pod), "from the namespace")
	if len(cases) < 2 {
		return
	}
	second := cases[1]
	pod, err = a.create(t.Context(), namespace, second.with(key, second.value))
	require.NoError(t, err)
	assert.NotEqual(t, first.want, second.want, "the cases must differ")
	assert.Equal(t, second.inNamespace(namespace), second.see(pod), "the pod's own")
}

// optedInLater makes a namespace whose annotations are not looked at, and opts it in then.
func optedInLater(t *testing.T, c *cluster.Cluster, annotations map[string]string) string {
	t.Helper()
	namespace, err := c.CreateNamespace(t.Context(), "test-", nil, annotations)
	require.NoError(t, err)
	before := namespace.DeepCopy()
	namespace.Labels[cluster.EnabledLabel] = "true"
	require.NoError(t, c.Client.Patch(t.Context(), namespace, client.MergeFrom(before)))
	require.NoError(t, c.WaitFor(t.Context(), "the API server to notice the label", func(ctx context.Context) error {
		if err := c.Client.Create(ctx, podWith(namespace.Name, map[string]string{"role": "?"}), client.DryRunAll); err == nil {
			return errors.New("pods are not looked at")
		}
		return nil
	}))
	return namespace.Name
}

// assertRefused wants the API server's own form of refusal: 422 Invalid, and among the
// causes one for the field with the message.
func assertRefused(t *testing.T, err error, field, message string) {
	t.Helper()
	assertRefusedAs(t, "Pod", err, field, message)
}

func assertRefusedAs(t *testing.T, kind string, err error, field, message string) {
	t.Helper()
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		t.Fatalf("not refused: %v", err)
	}
	s := status.Status()
	assert.Equal(t, int32(http.StatusUnprocessableEntity), s.Code)
	assert.Equal(t, metav1.StatusReasonInvalid, s.Reason)
	require.NotNil(t, s.Details)
	assert.Equal(t, kind, s.Details.Kind)
	assert.Contains(t, s.Details.Causes, metav1.StatusCause{Type: metav1.CauseTypeFieldValueInvalid, Message: message, Field: field})
	assert.Contains(t, s.Message, field+": "+message)
}

// TestAnnotationsAllProblemsAtOnce reads what kubectl prints for a pod with several of
// them, to the letter.
func TestAnnotationsAllProblemsAtOnce(t *testing.T) {
	runWebhook(t, shared, cluster.WebhookOptions{})
	namespace := optedInLater(t, shared, prefixed(map[string]string{"delivery": "secrets"}))
	manifest := filepath.Join(annotationsFolder, "wrong.yaml")
	command := exec.CommandContext(t.Context(), shared.Kubectl, "--kubeconfig", shared.Kubeconfig, "--namespace", namespace, "create", "-f", manifest)
	out, err := command.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	golden := filepath.Join(annotationsFolder, "wrong.txt")
	if *update {
		require.NoError(t, os.WriteFile(golden, out, 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(out))
}
