package release_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/release"
)

// TestNobodyServes: without a replica, opted-in pods wait, everybody else is left in peace,
// and the release can still be mended and removed.
func TestNobodyServes(t *testing.T) {
	install(t)
	ns := optedIn(t)
	_, err := stage.Upgrade(t.Context(), "--reuse-values", "--set", "replicaCount=0")
	require.NoError(t, err)
	awaitNobody(t)

	err = stage.Client.Create(t.Context(), server(ns), client.DryRunAll)
	require.ErrorContains(t, err, `failed calling webhook "pods.mtls.example.io"`)
	assert.False(t, isInjected(create(t, server(namespaceWith(t, nil)))), "another namespace's pod starts as it is")
	for _, name := range []string{"kube-system", "cert-manager", release.Namespace} {
		create(t, server(name))
	}
	deploy(t, ns) // workloads and Namespaces are written all the same
	optedIn(t)

	t.Run("the pods come when the webhook does", func(t *testing.T) {
		_, err := stage.Upgrade(t.Context(), "--reuse-values", "--set", "replicaCount=2")
		require.NoError(t, err)
		pods, err := stage.WaitForPods(t.Context(), ns, map[string]string{"app": "web"}, 1)
		require.NoError(t, err)
		assert.True(t, isInjected(&pods[0]))
	})
	t.Run("with Ignore, pods start as they are", func(t *testing.T) {
		_, err := stage.Upgrade(t.Context(), "--reuse-values", "--set", "replicaCount=0,webhook.pods.failurePolicy=Ignore")
		require.NoError(t, err)
		awaitNobody(t)
		require.NoError(t, stage.WaitFor(t.Context(), "the API server to learn of Ignore", func(ctx context.Context) error {
			pod := server(ns)
			if err := stage.Client.Create(ctx, pod, client.DryRunAll); err != nil {
				return err
			}
			if isInjected(pod) {
				return errors.New("it is injected, by whom?")
			}
			return nil
		}))
	})
	t.Run("it can be uninstalled", func(t *testing.T) {
		uninstall(t)
		assert.False(t, isInjected(create(t, server(ns))))
	})
}

// awaitNobody waits until no replica serves.
func awaitNobody(t *testing.T) {
	t.Helper()
	require.NoError(t, stage.WaitFor(t.Context(), "the replicas to go", func(context.Context) error {
		if n := len(stage.Pods.Ready()); n > 0 {
			return fmt.Errorf("%d serve", n)
		}
		return nil
	}))
}
