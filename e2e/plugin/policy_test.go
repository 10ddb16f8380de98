package plugin

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPolicyFromCluster: the policies are those of the configuration that the injector has.
func TestPolicyFromCluster(t *testing.T) {
	shell := admin(t)
	live, err := shell.Run(t.Context(), "kubectl mtls policy -q --from-cluster")
	require.NoError(t, err)
	assert.Contains(t, live, "kind: CertificateRequestPolicy\n")
	assert.Contains(t, live, "kind: ClusterRole\n")
	saved, err := shell.Run(t.Context(), `kubectl get configmap -n mtls-injector mtls-injector -o 'jsonpath={.data.config\.yaml}' > c.yaml; kubectl mtls policy -q --config c.yaml`)
	require.NoError(t, err)
	assert.Equal(t, saved, live)
}

// Who may not read the configuration is told so: nothing is made of a guess.
func TestPolicyWithFewRights(t *testing.T) {
	ns := newNamespace(t, nil)
	_, err := user(t, "guesser", ns).Run(t.Context(), "kubectl mtls policy --from-cluster")
	require.ErrorContains(t, err, `not known: the injector's configuration (you may not get configmaps/mtls-injector in namespace "mtls-injector")`)
	require.ErrorContains(t, err, "error: the configuration of the cluster's injector is not known, so nothing was printed")
	assert.NotContains(t, err.Error(), "CertificateRequestPolicy")
}
