package binaries

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newTestBuilder builds into a folder of the test's own and records its progress.
func newTestBuilder(t *testing.T) (*builder, *[]string) {
	t.Helper()
	var lines []string
	b, err := newBuilder(t.Context(), func(line string) { lines = append(lines, line) })
	require.NoError(t, err)
	b.dir = filepath.Join(t.TempDir(), "bin")
	return b, &lines
}

// program writes a module with one command.
func program(t *testing.T, source string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.io/tiny\n\ngo 1.26\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600))
	return dir
}

func TestEnsureBuildsOnce(t *testing.T) {
	t.Setenv(assetsVariable, "")
	b, lines := newTestBuilder(t)
	var path string
	targets := []target{{name: "tiny", module: program(t, "package main\n\nfunc main() {}\n"), pkg: ".", hint: "a moment", path: &path}}
	require.NoError(t, b.ensure(t.Context(), targets))
	assert.Equal(t, filepath.Join(b.dir, "tiny"), path)
	require.Len(t, *lines, 2)
	assert.Equal(t, "building tiny (once; about a moment on two cores if nothing is cached)", (*lines)[0])
	assert.Contains(t, (*lines)[1], "built tiny in ")

	require.NoError(t, b.ensure(t.Context(), targets))
	assert.Len(t, *lines, 2, "nothing is built again")
	left, err := filepath.Glob(path + ".*")
	require.NoError(t, err)
	assert.Equal(t, []string{path + ".lock"}, left, "no half program is left")
}

func TestEnsureAtTheSameTime(t *testing.T) {
	t.Setenv(assetsVariable, "")
	dir, bin := program(t, "package main\n\nfunc main() {}\n"), t.TempDir()
	var (
		running sync.WaitGroup
		mu      sync.Mutex
		lines   []string
	)
	for range 4 {
		b, err := newBuilder(t.Context(), func(line string) {
			mu.Lock()
			defer mu.Unlock()
			lines = append(lines, line)
		})
		require.NoError(t, err)
		b.dir = bin
		running.Go(func() {
			var path string
			assert.NoError(t, b.ensure(t.Context(), []target{{name: "tiny", module: dir, pkg: ".", path: &path}}))
		})
	}
	running.Wait()
	assert.Len(t, lines, 2, "one builds, the others wait for it")
}

func TestEnsureFails(t *testing.T) {
	t.Setenv(assetsVariable, "")
	b, _ := newTestBuilder(t)
	var path string
	broken := target{name: "broken", module: program(t, "package main\n\nfunc main() { undefined() }\n"), pkg: ".", path: &path}
	err := b.ensure(t.Context(), []target{broken})
	require.ErrorContains(t, err, "building broken: go build")
	require.ErrorContains(t, err, "main.go:3:15: undefined: undefined", "the compiler's own words")
	assert.Empty(t, path)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, b.ensure(ctx, []target{broken}), context.Canceled)
}

func TestAssetsComeFirst(t *testing.T) {
	assets := t.TempDir()
	t.Setenv(assetsVariable, assets)
	require.NoError(t, os.WriteFile(filepath.Join(assets, "etcd"), nil, 0o600))
	path, err := asset("etcd")
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(assets, "etcd"), path)
	path, err = asset("kube-controller-manager")
	require.NoError(t, err)
	assert.Empty(t, path, "what is not there is built")

	t.Setenv(assetsVariable, filepath.Join(assets, "etcd"))
	_, err = asset("etcd")
	require.ErrorContains(t, err, "looking for etcd in KUBEBUILDER_ASSETS: ")
}

func TestVersionFlags(t *testing.T) {
	const pkg = " -X k8s.io/component-base/version."
	assert.Equal(t, "-s -w"+pkg+"gitVersion=v1.36.3"+pkg+"gitMajor=1"+pkg+"gitMinor=36", versionFlags("v1.36.3"))
}

func TestModuleDir(t *testing.T) {
	dir, err := ModuleDir(t.Context(), "github.com/cert-manager/cert-manager")
	require.NoError(t, err)
	assert.DirExists(t, filepath.Join(dir, "deploy", "crds"))
	_, err = ModuleDir(t.Context(), "example.io/none")
	require.ErrorContains(t, err, "example.io/none")
}

func TestCacheKeyTellsVersionsApart(t *testing.T) {
	key := cacheKey("v1.36.3", "v3.7.3")
	assert.True(t, strings.HasPrefix(key, "kubernetes-v1.36.3-etcd-v3.7.3-go"), key)
	assert.NotEqual(t, key, cacheKey("v1.36.4", "v3.7.3"))
}
