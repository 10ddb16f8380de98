package binaries

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEnsureHelm(t *testing.T) {
	first, err := EnsureHelm(t.Context(), nil)
	require.NoError(t, err)
	version, err := exec.CommandContext(t.Context(), first, "version", "--template", "{{.Version}}").Output()
	require.NoError(t, err)
	assert.Contains(t, first, "helm-"+strings.TrimSpace(string(version))+"-go", "it knows its version")

	again, err := EnsureHelm(t.Context(), func(line string) { t.Errorf("it is made again: %s", line) })
	require.NoError(t, err)
	assert.Equal(t, first, again)
}
