package release_test

import (
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/certs"
	"example.io/mtls-injector/e2e/release"
)

// TestRemoveTheRest runs the commands of docs/operations.md that remove what an uninstalled
// release leaves behind.
func TestRemoveTheRest(t *testing.T) {
	install(t)
	ns := optedIn(t)
	run := pageOf(t, "docs/operations.md")
	deploy(t, ns)
	_, err := stage.WaitForCertificate(t.Context(), ns, "web-mtls")
	require.NoError(t, err)
	uninstall(t)

	run("remove")
	ours := client.MatchingLabels{certs.LabelCertType: certs.CertTypeMTLS}
	var companions cmapi.CertificateList
	require.NoError(t, stage.Client.List(t.Context(), &companions, ours))
	assert.Empty(t, companions.Items)
	var secrets corev1.SecretList
	require.NoError(t, stage.Client.List(t.Context(), &secrets, ours))
	assert.Empty(t, secrets.Items)
	err = stage.Client.Get(t.Context(), client.ObjectKey{Name: release.Namespace}, &corev1.Namespace{})
	require.ErrorContains(t, err, `namespaces "mtls-injector" not found`)
}
