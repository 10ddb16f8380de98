package release_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestOwnCA brings a CA as the how-to page says.
func TestOwnCA(t *testing.T) {
	t.Cleanup(func() { cleanUp(t) })
	run := pageOf(t, "docs/how-to/own-ca.md")
	for _, name := range []string{"make", "install", "look"} {
		run(name)
	}
}

// TestGitOps runs what a pipeline runs. It needs no release.
func TestGitOps(t *testing.T) {
	run := pageOf(t, "docs/how-to/gitops.md")
	run("pipeline")
	run("render")
}

// TestOperations installs as docs/operations.md says, and opts in a workload that is there.
func TestOperations(t *testing.T) {
	t.Cleanup(func() { cleanUp(t) })
	run := pageOf(t, "docs/operations.md")
	assert.Contains(t, run("install"), "Succeeded", "helm test")
	assert.Contains(t, run("installed"), "certificate.cert-manager.io/mtls-injector-webhook")

	makeShop(t)
	_, err := stage.Apply(t.Context(), []byte(`
apiVersion: v1
kind: Service
metadata: {name: cart}
spec: {selector: {app: cart}, ports: [{port: 443}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec: {containers: [{name: app, image: example.io/cart}]}
`), "shop")
	require.NoError(t, err)
	runWorkloads(t, "shop")
	assert.Regexp(t, `(?m)^cart-mtls +True`, run("opt-in"))
	assert.Contains(t, run("uninjected"), "No resources found")
}

// makeShop makes the namespace of the pages' examples, which goes with the test.
func makeShop(t *testing.T) {
	t.Helper()
	shop := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}
	require.NoError(t, stage.Client.Create(t.Context(), shop))
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		require.NoError(t, stage.Client.Delete(ctx, shop))
		require.NoError(t, stage.WaitFor(ctx, "the namespace to go", func(ctx context.Context) error {
			// Nobody runs its pods any more, who would see to their end.
			err := stage.Client.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(shop.Name), client.GracePeriodSeconds(0))
			if err != nil {
				return err
			}
			err = stage.Client.Get(ctx, client.ObjectKeyFromObject(shop), shop)
			if err == nil {
				return errors.New("it is there")
			}
			return client.IgnoreNotFound(err)
		}))
	})
}
