package binaries

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEnsureTrustManager(t *testing.T) {
	first, err := EnsureTrustManager(t.Context(), nil)
	require.NoError(t, err)
	assert.FileExists(t, first.Program)
	assert.FileExists(t, first.CRD)

	again, err := EnsureTrustManager(t.Context(), func(line string) { t.Errorf("it is made again: %s", line) })
	require.NoError(t, err)
	assert.Equal(t, first, again)
}
