package binaries

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEnsureNode(t *testing.T) {
	first, err := EnsureNode(t.Context(), func(line string) { t.Log(line) })
	require.NoError(t, err)
	for _, path := range []string{first.Kubelet, first.Proxy, first.Scheduler, first.Containerd, first.Ctr, first.Shim} {
		assert.FileExists(t, path)
	}
	for _, plugin := range []string{"ptp", "host-local", "loopback"} {
		assert.FileExists(t, filepath.Join(first.CNI, plugin))
	}
	for _, file := range []string{"usr/sbin/runc", "usr/sbin/xtables-nft-multi"} {
		assert.FileExists(t, filepath.Join(first.Debian.Root, file))
	}
	assert.DirExists(t, first.Debian.XtablesPath())

	again, err := EnsureNode(t.Context(), func(line string) { t.Errorf("it is made again: %s", line) })
	require.NoError(t, err)
	assert.Equal(t, first, again)
}
