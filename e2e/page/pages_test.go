package page

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// notRun are the blocks of commands that no test runs, by their first line, and why.
var notRun = map[string]string{
	"make demo    # a real etcd, kube-apiserver and cert-manager; pods come out injected and talk": "each is a step of .ci/run by itself",
	"helm repo add jetstack https://charts.jetstack.io --force-update":                             "the charts of others are not here; the tests run what they install",
}

// TestEveryBlockIsRun looks at all pages: a block of commands has a name, and a test names the
// page, and the block where it does not run all of them.
func TestEveryBlockIsRun(t *testing.T) {
	root := filepath.Join("..", "..")
	pages := []string{"README.md"}
	require.NoError(t, filepath.WalkDir(filepath.Join(root, "docs"), func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			pages = append(pages, filepath.ToSlash(strings.TrimPrefix(path, root+string(filepath.Separator))))
		}
		return err
	}))
	tests := testSources(t)
	seen := map[string]bool{}
	for _, file := range pages {
		unnamed, err := Unnamed(filepath.Join(root, file))
		require.NoError(t, err)
		for _, line := range unnamed {
			seen[line] = true
			assert.Contains(t, notRun, line, "%s: this block of commands has no name, so no test runs it", file)
		}
		scripts, err := Scripts(filepath.Join(root, file))
		if err != nil {
			continue // no named block
		}
		var those []string // packages of tests that run the page
		for _, source := range tests {
			if strings.Contains(source, file+`"`) || strings.Contains(source, `"`+filepath.Base(file)+`"`) {
				those = append(those, source)
			}
		}
		require.NotEmpty(t, those, "no test runs %s", file)
		all := strings.Join(those, "\n")
		for name := range scripts {
			whole := strings.Contains(all, `"`+file+`": nil`) || strings.Contains(all, "page.Steps(")
			assert.True(t, whole || strings.Contains(all, `"`+name+`"`), "no test runs %s of %s", name, file)
		}
	}
	for line := range notRun {
		assert.True(t, seen[line], "there is no block that begins with %q", line)
	}
}

// testSources returns the texts of all tests by their folder, the node's included.
func testSources(t *testing.T) map[string]string {
	t.Helper()
	sources := map[string]string{}
	require.NoError(t, filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") || filepath.Base(path) == "pages_test.go" && filepath.Base(filepath.Dir(path)) == "page" {
			return err
		}
		data, err := os.ReadFile(path)
		sources[filepath.Dir(path)] += string(data)
		return err
	}))
	return sources
}
