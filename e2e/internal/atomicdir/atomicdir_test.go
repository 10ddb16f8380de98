package atomicdir

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "volume")
	opts := Options{Mode: 0o550, GID: 1234}
	require.NoError(t, Write(dir, map[string]File{
		"a":     {Data: []byte("1"), Mode: 0o440},
		"sub/b": {Data: []byte("2"), Mode: 0o400},
		"gone":  {Data: []byte("3"), Mode: 0o440},
	}, opts))
	first, err := os.Readlink(filepath.Join(dir, "..data"))
	require.NoError(t, err)
	assert.Equal(t, []string{first, "..data", "a", "gone", "sub"}, names(t, dir))
	assert.Equal(t, "2", read(t, dir, "sub/b"))

	info, err := os.Stat(filepath.Join(dir, "sub/b"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o400), info.Mode())
	if os.Geteuid() == 0 {
		assert.Equal(t, uint32(1234), info.Sys().(*syscall.Stat_t).Gid)
	}
	info, err = os.Stat(dir)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o550), info.Mode().Perm())

	require.NoError(t, Write(dir, map[string]File{"a": {Data: []byte("new"), Mode: 0o440}}, opts))
	second, err := os.Readlink(filepath.Join(dir, "..data"))
	require.NoError(t, err)
	assert.NotEqual(t, first, second)
	assert.Equal(t, []string{second, "..data", "a"}, names(t, dir), "nothing of the old version is left")
	assert.Equal(t, "new", read(t, dir, "a"))

	require.NoError(t, Remove(dir))
	assert.NoDirExists(t, dir)
	require.NoError(t, Remove(dir), "twice is no error")
}

func TestWriteFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.ErrorContains(t, Write(file, nil, Options{Mode: 0o550}), "opening "+file+" to write")
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var out []string
	for _, entry := range entries {
		out = append(out, entry.Name())
	}
	return out
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	return string(data)
}
