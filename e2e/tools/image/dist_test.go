package main

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDist packs the same product twice: in two folders, checked out at different times.
func TestDist(t *testing.T) {
	r := newTestRelease(t, tinyProduct(t, time.Unix(1_700_000_000, 0)))
	require.NoError(t, r.dist(t.Context()))
	again := newTestRelease(t, tinyProduct(t, time.Unix(1_600_000_000, 0)))
	require.NoError(t, again.dist(t.Context()))
	sums := string(readFile(t, r.out, checksums))
	assert.Equal(t, sums, string(readFile(t, again.out, checksums)))

	var names []string
	for line := range strings.Lines(sums) {
		sum, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		assert.Regexp(t, `^[0-9a-f]{64}$`, sum, name)
		names = append(names, name)
	}
	assert.Equal(t, strings.Fields(string(readFile(t, "testdata", "dist.txt"))), names)

	t.Run("programs can be run", func(t *testing.T) {
		info, err := os.Stat(filepath.Join(r.out, "mtls-injector-v0.0.0-test-linux-amd64"))
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o755), info.Mode().Perm())
	})
	t.Run("plugin", func(t *testing.T) {
		names, files := readTar(t, gunzip(t, readFile(t, r.out, "kubectl-mtls-v0.0.0-test-darwin-arm64.tar.gz")))
		assert.Equal(t, []string{
			"LICENSE", "kubectl-mtls", "man/man1/kubectl-mtls-inject.1", "man/man1/kubectl-mtls.1",
		}, names)
		assert.Equal(t, int64(0o755), files["kubectl-mtls"].header.Mode)
		assert.Equal(t, []byte{0xcf, 0xfa, 0xed, 0xfe}, files["kubectl-mtls"].data[:4], "a program for macOS")
	})
	t.Run("plugin for Windows", func(t *testing.T) {
		data := readFile(t, r.out, "kubectl-mtls-v0.0.0-test-windows-amd64.zip")
		archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		require.NoError(t, err)
		require.Len(t, archive.File, 2)
		assert.Equal(t, "LICENSE", archive.File[0].Name)
		assert.Equal(t, "kubectl-mtls.exe", archive.File[1].Name)
		assert.Equal(t, int64(testEpoch), archive.File[1].Modified.Unix())
	})
	t.Run("chart", func(t *testing.T) {
		_, files := readTar(t, gunzip(t, readFile(t, r.out, "mtls-injector-0.0.0-test.tgz")))
		chart := files["mtls-injector/Chart.yaml"]
		assert.Equal(t, "version: 0.0.0-test\nappVersion: v0.0.0-test\n", string(chart.data))
		assert.Equal(t, int64(testEpoch), chart.header.ModTime.Unix())
	})
}

// TestKrew has krew install what is packed, from its archive.
func TestKrew(t *testing.T) {
	r := newTestRelease(t, tinyProduct(t, time.Unix(testEpoch, 0)))
	require.NoError(t, r.pluginArchives(t.Context()))
	manifest := filepath.Join(r.out, krewFile)
	krew := func(program string, args ...string) string {
		args = append([]string{"tool", "-modfile=" + filepath.Join("..", "krew", "go.mod"), program}, args...)
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Env = append(os.Environ(), "KREW_ROOT="+filepath.Join(r.work, "krew"), "GOWORK=off")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	krew("validate-krew-manifest", "-manifest", manifest, "-skip-install")
	host := program{"kubectl-mtls", runtime.GOOS, runtime.GOARCH}
	out := krew("krew", "install", "--manifest", manifest, "--archive", filepath.Join(r.out, host.archive(r.version)))
	assert.Contains(t, out, "Installed plugin: mtls")

	installed, err := exec.CommandContext(t.Context(), filepath.Join(r.work, "krew", "bin", "kubectl-mtls")).CombinedOutput()
	require.NoError(t, err)
	assert.Equal(t, "v0.0.0-test\n", string(installed))
	assert.Contains(t, string(readFile(t, manifest)), "uri: https://example.io/source/releases/download/v0.0.0-test/kubectl-mtls-v0.0.0-test-windows-arm64.zip\n")
}

func TestDistFails(t *testing.T) {
	r := newTestRelease(t, tinyProduct(t, time.Now()))
	require.NoError(t, os.MkdirAll(r.out, 0o750))
	require.NoError(t, os.WriteFile(filepath.Join(r.out, "old.tgz"), nil, 0o600))
	require.EqualError(t, r.dist(t.Context()), r.out+" is not empty")

	r = newTestRelease(t, tinyProduct(t, time.Now()))
	require.NoError(t, os.RemoveAll(filepath.Join(r.root, "charts")))
	require.ErrorContains(t, r.dist(t.Context()), "helm package: exit status 1\n")
}

func TestChartArgs(t *testing.T) {
	const all = "tool -modfile=e2e/tools/helm/go.mod helm package charts/mtls-injector --destination /to --app-version "
	for name, c := range map[string]struct{ version, want string }{
		"release":           {"v1.2.3", "v1.2.3 --version 1.2.3"},
		"after a release":   {"v1.2.3-4-gabc-dirty", "v1.2.3-4-gabc-dirty --version 1.2.3-4-gabc-dirty"},
		"with build data":   {"v1.2.3+7", "v1.2.3+7 --version 1.2.3+7"},
		"only a commit":     {"b6ffd5a", "b6ffd5a"},
		"nothing is known":  {"dev", "dev"},
		"half a version":    {"v1.2", "v1.2"},
		"not ours to guess": {"1.2.3", "1.2.3"},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, all+c.want, strings.Join(chartArgs(c.version, "/to"), " "))
		})
	}
}

func TestSumFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"b/c": "abc", "a": "", checksums: "old"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o750))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	sums, err := sumFiles(dir)
	require.NoError(t, err)
	// As sha256sum prints them.
	assert.Equal(t, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a\n"+
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  b/c\n", sums)

	_, err = sumFiles(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestArchivesDependOnWhatIsPacked(t *testing.T) {
	one := []entry{{"b", modeFile, []byte("1")}, {"a/", modeProgram, nil}, {"a/x", modeProgram, []byte("2")}}
	other := []entry{one[2], one[0], one[1]}
	at := time.Unix(testEpoch, 0)
	for name, pack := range map[string]func(io.Writer, []entry, time.Time) error{"tar": writeTar, "tar.gz": writeTarGz, "zip": writeZip} {
		t.Run(name, func(t *testing.T) {
			packed := func(entries []entry, at time.Time) []byte {
				var data bytes.Buffer
				require.NoError(t, pack(&data, entries, at))
				return data.Bytes()
			}
			assert.Equal(t, packed(one, at), packed(other, at.UTC()), "not on the order or the time zone")
			assert.NotEqual(t, packed(one, at), packed(one[1:], at))
			assert.NotEqual(t, packed(one, at), packed(one, at.Add(time.Second)))
			assert.NotEmpty(t, packed(one, time.Unix(0, 0)), "a time before the format's first")
			require.ErrorIs(t, pack(full{}, one, at), errDiskFull)
		})
	}
}

var errDiskFull = errors.New("disk full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errDiskFull }
