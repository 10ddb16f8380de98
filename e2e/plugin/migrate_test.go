package plugin

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/page"
)

// TestMigratePage runs the commands of docs/how-to/migrate.md in order, and sees that the pods
// have their files where the program reads them.
func TestMigratePage(t *testing.T) {
	scripts, err := page.Scripts("../../docs/how-to/migrate.md")
	require.NoError(t, err)
	shell := admin(t)
	step := func(name string) string {
		t.Helper()
		out, err := shell.Run(t.Context(), scripts[name])
		require.NoError(t, err)
		delete(scripts, name)
		return out
	}
	step("by-hand")
	require.NoError(t, awaitCertificate(t, "handmade", "orders"))
	out := step("see")
	assert.Contains(t, out, "Deployment/orders: migrated\n")
	assert.Contains(t, out, "mtls.example.io/mount-path: /certs\n")
	assert.Contains(t, out, "-        secret: {secretName: orders-tls}\n")
	out = step("explain")
	assert.Contains(t, out, "Deployment/orders in namespace handmade: would be injected\n")
	out = step("apply")
	assert.Contains(t, out, "certificate.cert-manager.io/orders-mtls condition met")
	assert.Contains(t, out, "Configuration: ConfigMap mtls-injector/mtls-injector")

	require.NoError(t, stage.WaitFor(t.Context(), "a pod with its files in /certs", func(ctx context.Context) error {
		var pods corev1.PodList
		if err := stage.Client.List(ctx, &pods, client.InNamespace("handmade"), client.MatchingLabels{"mtls.example.io/injected": "true"}); err != nil {
			return err
		}
		for i := range pods.Items {
			for _, m := range pods.Items[i].Spec.Containers[0].VolumeMounts {
				if m.Name == "mtls-certs" && m.MountPath == "/certs" {
					return nil
				}
			}
		}
		return errors.New("there is none")
	}))
	step("clean")
	assert.Empty(t, step("back"))
	assert.Empty(t, scripts, "every block is run")
}

func awaitCertificate(t *testing.T, namespace, name string) error {
	t.Helper()
	_, err := stage.WaitForCertificate(t.Context(), namespace, name)
	return err
}
