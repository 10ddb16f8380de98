package release_test

import (
	"context"
	"errors"
	"strings"
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
	awaitNobody(t, ns)

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
		_, err := stage.Upgrade(t.Context(), "--reuse-values", "--set", "replicaCount=0")
		require.NoError(t, err)
		awaitNobody(t, ns)
		_, err = stage.Upgrade(t.Context(), "--reuse-values", "--set", "webhook.pods.failurePolicy=Ignore")
		require.NoError(t, err)
		awaitUninjected(t, ns)
	})
	t.Run("it can be uninstalled", func(t *testing.T) {
		uninstall(t)
		assert.False(t, isInjected(create(t, server(ns))))
	})
}

// awaitNobody waits until no replica serves, not even on connections from before, and the API
// server says so to whoever creates a pod.
func awaitNobody(t *testing.T, namespace string) {
	t.Helper()
	require.NoError(t, stage.WaitFor(t.Context(), "the replicas to go", func(ctx context.Context) error {
		err := stage.Client.Create(ctx, server(namespace), client.DryRunAll)
		if err == nil {
			return errors.New("a pod is created")
		}
		if !strings.Contains(err.Error(), `failed calling webhook "pods.mtls.example.io"`) {
			return err
		}
		return nil
	}))
}
