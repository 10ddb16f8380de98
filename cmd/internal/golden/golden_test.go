package golden

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCheck(t *testing.T) {
	path := t.TempDir() + "/folder/file.txt"
	assert.Equal(t, "open "+path+": no such file or directory (write it with -update)", check(path, "a\n", false))
	assert.Empty(t, check(path, "a\n", true))
	assert.Empty(t, check(path, "a\n", false))

	wrong := check(path, "b\n", false)
	assert.Contains(t, wrong, path+" is not what was made (-file +made); rewrite it with -update:\n")
	assert.Contains(t, wrong, `"b\n"`)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "a\n", string(text), "without -update the file stays")

	assert.Empty(t, check(path, "b\n", true))
	assert.Empty(t, check(path, "b\n", false))
}

func TestCheckTellsTheTest(t *testing.T) {
	path := t.TempDir() + "/file.txt"
	require.Empty(t, check(path, "a\n", true))
	recorder := &recorder{TB: t}
	Check(recorder, path, "a\n")
	assert.Empty(t, recorder.errors)
	if !*update {
		Check(recorder, path, "b\n")
		assert.Len(t, recorder.errors, 1)
	}
}

// recorder is a test that keeps its errors.
type recorder struct {
	testing.TB
	errors []any
}

func (r *recorder) Error(args ...any) { r.errors = append(r.errors, args...) }

func TestFilesThatCannotBeWritten(t *testing.T) {
	file := t.TempDir() + "/file"
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	assert.Contains(t, check(file+"/below", "", true), "not a directory")
	assert.Contains(t, check(t.TempDir(), "", true), "is a directory")
}
