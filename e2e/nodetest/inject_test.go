//go:build node

package nodetest

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/internal/binaries"
)

// injectFor has `kubectl mtls inject` write what is injected into a pod for a version of
// Kubernetes, and returns what it says besides.
func injectFor(t *testing.T, pod *corev1.Pod, version string) (injected *corev1.Pod, said string) {
	t.Helper()
	product, err := binaries.EnsureProduct(t.Context(), clustertest.Stderr)
	require.NoError(t, err)
	pod.APIVersion, pod.Kind = "v1", "Pod"
	manifest, err := json.Marshal(pod)
	require.NoError(t, err)
	var out, errs bytes.Buffer
	command := exec.CommandContext(t.Context(), product.Plugin, "inject", "-f", "-", "-o", "json", "--kubernetes-version", version)
	command.Stdin, command.Stdout, command.Stderr = bytes.NewReader(manifest), &out, &errs
	require.NoError(t, command.Run(), "%s", &errs)
	injected = &corev1.Pod{}
	require.NoError(t, json.Unmarshal(out.Bytes(), injected))
	return injected, errs.String()
}

// warnings collects what the API server warns of.
type warnings struct {
	mu    sync.Mutex
	texts []string
}

// HandleWarningHeaderWithContext implements [rest.WarningHandlerWithContext].
func (w *warnings) HandleWarningHeaderWithContext(_ context.Context, _ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, text)
}

// createWarned makes a pod and returns the warnings.
func createWarned(t *testing.T, pod *corev1.Pod) []string {
	t.Helper()
	w := &warnings{}
	config := rest.CopyConfig(node.Config)
	config.WarningHandlerWithContext = w
	warned, err := client.New(config, client.Options{Scheme: node.Scheme})
	require.NoError(t, err)
	createBy(t, warned, pod)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.texts
}

// create makes a pod.
func create(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	createBy(t, node.Client, pod)
}

// createBy tries again, as who makes pods for others does, when the API server or the webhook
// was too busy for an answer.
func createBy(t *testing.T, by client.Client, pod *corev1.Pod) {
	t.Helper()
	refused := error(nil)
	require.NoError(t, node.WaitFor(t.Context(), "pod "+pod.Name+" to be taken", func(ctx context.Context) error {
		refused = by.Create(ctx, pod)
		if apierrors.IsInternalError(refused) || apierrors.IsServerTimeout(refused) || apierrors.IsTimeout(refused) {
			return refused
		}
		return nil
	}))
	require.NoError(t, client.IgnoreAlreadyExists(refused))
}
