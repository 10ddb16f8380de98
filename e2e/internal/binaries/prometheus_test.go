package binaries

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEnsurePrometheus(t *testing.T) {
	first, err := EnsurePrometheus(t.Context(), nil)
	require.NoError(t, err)
	assert.FileExists(t, first.Server)
	assert.FileExists(t, first.Tool)

	again, err := EnsurePrometheus(t.Context(), func(line string) { t.Errorf("it is made again: %s", line) })
	require.NoError(t, err)
	assert.Equal(t, first, again)
}
