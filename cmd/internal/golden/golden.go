// Package golden compares what a test has made with a file in testdata. With the flag
// -update, `go test ./... -update`, the file is written anew. Only tests import it.
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

//nolint:gochecknoglobals // how Go's flags work; only the flag package writes to it
var update = flag.Bool("update", false, "rewrite the golden files")

// Check fails the test, with a difference, if the file does not hold what it got.
func Check(t testing.TB, path, got string) {
	t.Helper()
	if err := check(path, got, *update); err != "" {
		t.Error(err)
	}
}

// check returns what is wrong, or nothing.
func check(path, got string, update bool) string {
	if update {
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return err.Error()
		}
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			return err.Error()
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		return err.Error() + " (write it with -update)"
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		return path + " is not what was made (-file +made); rewrite it with -update:\n" + diff
	}
	return ""
}
