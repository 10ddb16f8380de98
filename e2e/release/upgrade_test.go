package release_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/release"
)

// TestUpgrade upgrades from another version of the chart, with the values of its time, and
// rolls back, while pods are created all the time. As 0.1.0 is the first release, the other
// version is this chart under another number; the values are frozen.
func TestUpgrade(t *testing.T) {
	const values = "testdata/values-0.1.0.yaml"
	dir := t.TempDir()
	_, err := stage.Helm.Run(t.Context(), "package", stage.Chart, "--version", "0.0.9", "--app-version", "v0.0.9", "--destination", dir)
	require.NoError(t, err)
	previous := filepath.Join(dir, "mtls-injector-0.0.9.tgz")

	t.Cleanup(func() { cleanUp(t) })
	_, err = stage.Helm.Run(t.Context(), "install", release.Name, previous, "-n", release.Namespace, "--create-namespace", "--wait", "--timeout", "2m", "-f", values)
	require.NoError(t, err)
	awaitWebhook(t)
	assert.Equal(t, "v0.0.9", version(t))
	ns := optedIn(t)
	deploy(t, ns)
	before := companion(t, ns)

	stop := creating(t)
	_, err = stage.Upgrade(t.Context(), "-f", values)
	require.NoError(t, err)
	assert.Equal(t, "v0.1.0", version(t))
	_, err = stage.Upgrade(t.Context(), "--reuse-values")
	require.NoError(t, err, "nor is there anything to say against the values that Helm keeps")
	_, err = stage.Helm.Run(t.Context(), "rollback", release.Name, "1", "-n", release.Namespace, "--wait", "--timeout", "2m")
	require.NoError(t, err)
	assert.Equal(t, "v0.0.9", version(t))
	stop()

	after := companion(t, ns)
	assert.Equal(t, before.UID, after.UID, "companions stay")
	assert.Equal(t, before.Data, after.Data, "and are not issued anew")
}

// companion returns the Secret of the companion of web, once it is issued.
func companion(t *testing.T, namespace string) *corev1.Secret {
	t.Helper()
	_, err := stage.WaitForCertificate(t.Context(), namespace, "web-mtls")
	require.NoError(t, err)
	var secret corev1.Secret
	require.NoError(t, stage.Client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "web-mtls"}, &secret))
	return &secret
}

// version is what the Deployment says that it runs.
func version(t *testing.T) string {
	t.Helper()
	var deployment appsv1.Deployment
	require.NoError(t, stage.Client.Get(t.Context(), client.ObjectKey{Namespace: release.Namespace, Name: release.Name}, &deployment))
	return deployment.Labels["app.kubernetes.io/version"]
}
