package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMain lets the test's own program be tether, as a child process.
func TestMain(m *testing.M) {
	if os.Getenv("BE_TETHER") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func tether(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "BE_TETHER=1")
	return cmd
}

func TestExecBecomesTheProgram(t *testing.T) {
	out, err := tether("exec", "/bin/echo", "a", "b c").CombinedOutput()
	require.NoError(t, err)
	assert.Equal(t, "a b c\n", string(out))
}

func TestExecDiesWithItsParent(t *testing.T) {
	// The shell starts the tethered program and is killed; the pipe ends only when
	// the program is gone too.
	shell := exec.Command("/bin/sh", "-c", `"$0" exec /bin/sh -c "echo started; exec sleep 600" & wait`, os.Args[0])
	shell.Env = append(os.Environ(), "BE_TETHER=1")
	out, err := shell.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, shell.Start())
	line := make([]byte, len("started\n"))
	_, err = io.ReadFull(out, line)
	require.NoError(t, err)
	require.NoError(t, shell.Process.Kill())
	rest, err := io.ReadAll(out)
	require.NoError(t, err)
	assert.Empty(t, rest)
	_ = shell.Wait() // killed, as it should be
}

func TestCleanRemovesWhenInputEnds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cluster")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o755))
	cmd := tether("clean", dir)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	assert.DirExists(t, dir)
	require.NoError(t, stdin.Close())
	require.NoError(t, cmd.Wait())
	assert.NoDirExists(t, dir)
}

func TestUsage(t *testing.T) {
	cases := map[string]struct {
		args []string
		want string
	}{
		"nothing":         {nil, "usage: "},
		"no program":      {[]string{"exec"}, "usage: "},
		"unknown":         {[]string{"hold", "x"}, "usage: "},
		"no such program": {[]string{"exec", "/none"}, "executing /none: no such file or directory"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			out, err := tether(tc.args...).CombinedOutput()
			require.Error(t, err)
			assert.True(t, strings.HasPrefix(string(out), "tether: "+tc.want), string(out))
		})
	}
}
