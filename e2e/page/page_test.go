package page

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "page.md")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

func TestScripts(t *testing.T) {
	scripts, err := Scripts(write(t, "# Page\n\n<!-- sh: first -->\n```sh\necho 1\necho 2\n```\n\n```sh\nnot this\n```\n<!-- sh: second-one -->\n```sh\necho 3\n```\n"))
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"first": "echo 1\necho 2", "second-one": "echo 3"}, scripts)
}

func TestScriptsFails(t *testing.T) {
	_, err := Scripts("/nowhere/page.md")
	require.EqualError(t, err, "reading the page: open /nowhere/page.md: no such file or directory")
	empty := write(t, "# Page\n")
	_, err = Scripts(empty)
	require.EqualError(t, err, "there are no named blocks of commands in "+empty)
	twice := write(t, "<!-- sh: a -->\n```sh\n1\n```\n<!-- sh: a -->\n```sh\n2\n```\n")
	_, err = Scripts(twice)
	require.EqualError(t, err, twice+" has two blocks called a")
}

func TestShell(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program.sh")
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\necho \"$KUBECONFIG in $PWD\"\n"), 0o700))
	shell, err := NewShell(dir, t.TempDir(), "/kube/config", map[string]string{"own": program})
	require.NoError(t, err)
	out, err := shell.Run(t.Context(), "own")
	require.NoError(t, err)
	assert.Equal(t, "/kube/config in "+dir+"\n", out)

	_, err = shell.Run(t.Context(), "echo before; false | true; echo after")
	require.EqualError(t, err, "exit status 1\necho before; false | true; echo after\nbefore\n")
}

// TestShellEnds: not even a program in the background keeps it waiting.
func TestShellEnds(t *testing.T) {
	shell, err := NewShell(t.TempDir(), t.TempDir(), "", nil)
	require.NoError(t, err)
	shell.Timeout = 100 * time.Millisecond
	out, err := shell.Run(t.Context(), "echo begun; sleep 1000 & sleep 1000")
	require.ErrorContains(t, err, "signal: killed")
	assert.Equal(t, "begun\n", out)
}
