package release_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/release"
)

// TestBreakGlass runs the commands of docs/operations.md that take the webhook out of the way,
// and those that put it back.
func TestBreakGlass(t *testing.T) {
	install(t)
	ns := optedIn(t)
	run := pageOf(t, "docs/operations.md")

	t.Run("pods start without an answer, and then don't", func(t *testing.T) {
		_, err := stage.Upgrade(t.Context(), "--reuse-values", "--set", "replicaCount=0")
		require.NoError(t, err)
		awaitNobody(t, ns)
		run("ignore")
		awaitUninjected(t, ns)
		run("fail")
		assert.Equal(t, admissionv1.Fail, failurePolicy(t))
		_, err = stage.Upgrade(t.Context(), "--reuse-values", "--set", "replicaCount=2")
		require.NoError(t, err, "Helm minds none of it")
		awaitInjected(t, ns)
	})
	t.Run("it is asked no more, and then is", func(t *testing.T) {
		run("away")
		awaitUninjected(t, ns)
		run("back")
		awaitInjected(t, ns)
		assert.Equal(t, admissionv1.Fail, failurePolicy(t))
		var validating admissionv1.ValidatingWebhookConfiguration
		require.NoError(t, stage.Client.Get(t.Context(), client.ObjectKey{Name: release.Name}, &validating))
	})
}

// awaitUninjected waits until pods of the namespace start as they are.
func awaitUninjected(t *testing.T, namespace string) {
	t.Helper()
	require.NoError(t, stage.WaitFor(t.Context(), "pods to start as they are", func(ctx context.Context) error {
		pod := server(namespace)
		if err := stage.Client.Create(ctx, pod, client.DryRunAll); err != nil {
			return err
		}
		if isInjected(pod) {
			return errors.New("a pod is injected")
		}
		return nil
	}))
}

// failurePolicy is what becomes of pods while nobody answers.
func failurePolicy(t *testing.T) admissionv1.FailurePolicyType {
	t.Helper()
	var config admissionv1.MutatingWebhookConfiguration
	require.NoError(t, stage.Client.Get(t.Context(), client.ObjectKey{Name: release.Name}, &config))
	require.Len(t, config.Webhooks, 1)
	return *config.Webhooks[0].FailurePolicy
}
