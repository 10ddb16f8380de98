package binaries

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEnsureApproverPolicy(t *testing.T) {
	first, err := EnsureApproverPolicy(t.Context(), nil)
	require.NoError(t, err)
	assert.FileExists(t, first.Program)
	assert.FileExists(t, filepath.Join(first.CRDs, "policy.cert-manager.io_certificaterequestpolicies.yaml"))

	again, err := EnsureApproverPolicy(t.Context(), func(line string) { t.Errorf("it is made again: %s", line) })
	require.NoError(t, err)
	assert.Equal(t, first, again)
}
