package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// testEpoch is in 2026, with a second that a format of two-second steps cannot hold.
const testEpoch = 1_785_000_001

// newTestRelease packs the folder root into folders of the test's own.
func newTestRelease(t *testing.T, root string) *release {
	t.Helper()
	r := &release{
		root: root, out: filepath.Join(t.TempDir(), "dist"), work: t.TempDir(), progress: t.Output(),
		version: "v0.0.0-test", revision: "0123abcd", source: "https://example.io/source", epoch: testEpoch,
	}
	require.NoError(t, r.complete())
	return r
}

// member is a file of an archive.
type member struct {
	header *tar.Header
	data   []byte
}

// readTar returns the files of an archive in their order, and by name.
func readTar(t *testing.T, r io.Reader) ([]string, map[string]member) {
	t.Helper()
	var names []string
	members := map[string]member{}
	for archive := tar.NewReader(r); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return names, members
		}
		require.NoError(t, err)
		data, err := io.ReadAll(archive)
		require.NoError(t, err)
		names = append(names, header.Name)
		members[header.Name] = member{header: header, data: data}
	}
}

func gunzip(t *testing.T, data []byte) io.Reader {
	t.Helper()
	uncompressed, err := gzip.NewReader(bytes.NewReader(data))
	require.NoError(t, err)
	return uncompressed
}

func readFile(t *testing.T, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	require.NoError(t, err)
	return data
}

// tinyProduct writes a product with the names of the real one, a chart, and a Helm that
// packs the chart as the real one does: with the times of its files.
func tinyProduct(t *testing.T, at time.Time) string {
	t.Helper()
	const program = "package main\n\nvar version string\n\nfunc main() { println(version) }\n"
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":                          "module example.io/tiny\n\ngo 1.26\n",
		"e2e/tools/helm/go.mod":           "module example.io/tiny\n\ngo 1.26\n\ntool example.io/tiny/helm\n",
		"helm/main.go":                    string(readFile(t, "testdata", "helm.go")),
		"cmd/mtls-injector/main.go":       program,
		"cmd/mtls-agent/main.go":          program,
		"cmd/kubectl-mtls/main.go":        program,
		"LICENSE":                         "a license\n",
		"charts/mtls-injector/Chart.yaml": "version: 0.1.0\n",
	} {
		path := filepath.Join(root, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o750))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		require.NoError(t, os.Chtimes(path, at, at))
	}
	return root
}
