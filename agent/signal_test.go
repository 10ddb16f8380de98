package agent

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	childVariable = "AGENT_TEST_CHILD"
	// targetVariable has a process that the child is to signal.
	targetVariable = "AGENT_TEST_TARGET"
)

// TestMain is a program that tells of its signals when it is a child of a test.
func TestMain(m *testing.M) {
	if target := os.Getenv(targetVariable); target != "" {
		signalTarget(target)
		return
	}
	if os.Getenv(childVariable) == "" {
		os.Exit(m.Run())
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1)
	fmt.Fprintln(os.Stdout, "ready")
	for s := range signals {
		fmt.Fprintln(os.Stdout, s)
	}
}

// signalTarget signals a process and tells what came of it.
func signalTarget(pid string) {
	tree := fstest.MapFS{pid + "/mountinfo": {Data: []byte(mountinfo(pods + "web/0a1b"))}}
	for _, name := range []string{"stat", "status"} {
		data, err := os.ReadFile("/proc/" + pid + "/" + name)
		if err != nil {
			fmt.Fprintln(os.Stdout, err)
			return
		}
		tree[pid+"/"+name] = &fstest.MapFile{Data: data}
	}
	r := SignalReloader{Proc: tree, Container: "web", Process: "agent.test", Signal: syscall.SIGHUP}
	fmt.Fprintln(os.Stdout, r.Reload(context.Background()))
}

// child is a process of a container.
type child struct {
	*exec.Cmd
	lines *bufio.Reader
}

// newChild starts a program; what it prints is read line by line.
func newChild(t *testing.T, command ...string) child {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Env = append(os.Environ(), childVariable+"=1")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	c := child{Cmd: cmd, lines: bufio.NewReader(out)}
	assert.Equal(t, "ready", c.line(t))
	return c
}

func (c child) line(t *testing.T) string {
	t.Helper()
	line, err := c.lines.ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(line)
}

// tree is /proc with the child as the main process of the container web; the rest of it is
// as the kernel tells.
func (c child) tree(t *testing.T) fstest.MapFS {
	t.Helper()
	tree := fstest.MapFS{}
	for _, pid := range []int{c.Process.Pid, os.Getpid()} {
		for _, name := range []string{"stat", "status"} {
			path := strconv.Itoa(pid) + "/" + name
			data, err := os.ReadFile("/proc/" + path)
			require.NoError(t, err)
			tree[path] = &fstest.MapFile{Data: data}
		}
	}
	pid := strconv.Itoa(c.Process.Pid)
	parent := regexp.MustCompile(`\) (.) ` + strconv.Itoa(os.Getpid()) + ` `) // whatever its state
	tree[pid+"/stat"].Data = parent.ReplaceAll(tree[pid+"/stat"].Data, []byte(") $1 0 "))
	tree[pid+"/mountinfo"] = &fstest.MapFile{Data: []byte(mountinfo(pods + "web/0a1b"))}
	return tree
}

// twoFaced has another start time in a file when it is read for the second time.
type twoFaced struct {
	fstest.MapFS
	path string
	read *int
}

func (f twoFaced) ReadFile(name string) ([]byte, error) {
	data, err := f.MapFS.ReadFile(name)
	if name == f.path {
		if *f.read++; *f.read > 1 {
			fields := bytes.Fields(data)
			fields[21] = []byte("1")
			data = bytes.Join(fields, []byte(" "))
		}
	}
	return data, err
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	return path
}

func TestSignal(t *testing.T) {
	c := newChild(t, self(t))
	hup := SignalReloader{Proc: c.tree(t), Container: "web", Signal: syscall.SIGHUP}
	require.NoError(t, hup.Reload(t.Context()))
	assert.Equal(t, "hangup", c.line(t))
	assert.Equal(t, "SIGHUP to the main process of container web", hup.String())
	assert.False(t, hup.RanBefore(t.Context()), "the child is younger than the test")

	named := SignalReloader{Proc: c.tree(t), Container: "web", Process: "agent.test", Signal: syscall.SIGUSR1}
	require.NoError(t, named.Reload(t.Context()))
	assert.Equal(t, "user defined signal 1", c.line(t))
	assert.Equal(t, "SIGUSR1 to agent.test in container web", named.String())
}

// TestSignalIsNotCaught has a program that SIGHUP would end: it lives on.
func TestSignalIsNotCaught(t *testing.T) {
	c := newChild(t, "sh", "-c", "echo ready; read line")
	hup := SignalReloader{Proc: c.tree(t), Container: "web", Signal: syscall.SIGHUP}
	err := hup.Reload(t.Context())
	require.ErrorIs(t, err, errNotCaught)
	require.ErrorContains(t, err, fmt.Sprintf("process %d (sh) does not handle SIGHUP, which would end it or do nothing: take a signal", c.Process.Pid))
	require.NoError(t, c.Process.Signal(syscall.Signal(0)))

	term := SignalReloader{Proc: c.tree(t), Container: "web", Signal: syscall.SIGTERM}
	require.NoError(t, term.Reload(t.Context()), "who asks for an end gets it")
	_, err = c.lines.ReadString('\n')
	require.ErrorIs(t, err, io.EOF)
}

func TestSignalFails(t *testing.T) {
	c := newChild(t, self(t))
	pid := strconv.Itoa(c.Process.Pid)

	t.Run("another process has the number now", func(t *testing.T) {
		r := SignalReloader{Proc: twoFaced{c.tree(t), pid + "/stat", new(int)}, Container: "web", Signal: syscall.SIGHUP}
		require.EqualError(t, r.Reload(t.Context()), "process "+pid+" (agent.test) has just ended: no such process")
	})
	t.Run("no status", func(t *testing.T) {
		tree := c.tree(t)
		delete(tree, pid+"/status")
		r := SignalReloader{Proc: tree, Container: "web", Signal: syscall.SIGHUP}
		require.EqualError(t, r.Reload(t.Context()), "process "+pid+" (agent.test) cannot be looked at: file does not exist")
	})
	t.Run("no such container", func(t *testing.T) {
		r := SignalReloader{Proc: c.tree(t), Container: "db", Signal: syscall.SIGHUP}
		require.ErrorIs(t, r.Reload(t.Context()), errNoProcess)
		assert.False(t, r.RanBefore(t.Context()))
	})
	require.NoError(t, c.Process.Signal(syscall.SIGUSR1))
	assert.Equal(t, "user defined signal 1", c.line(t), "no SIGHUP came before it")
}

// TestSignalToAnotherUser needs root, to be another user: without it there is only one.
func TestSignalToAnotherUser(t *testing.T) {
	target, user := 1, os.Geteuid() // PID 1 is root's
	if user == 0 {
		user = 65532
	}
	dir, err := os.MkdirTemp("", "agent-signal-") //nolint:usetesting // others must be able to go through it
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	data, err := os.ReadFile(self(t))
	require.NoError(t, err)
	program := filepath.Join(dir, "agent.test")
	require.NoError(t, os.WriteFile(program, data, 0o755))
	cmd := exec.CommandContext(t.Context(), program)
	if os.Geteuid() == 0 {
		c := newChild(t, self(t))
		target = c.Process.Pid
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(user), Gid: uint32(user)}}
	}
	cmd.Dir, cmd.Env = dir, append(os.Environ(), targetVariable+"="+strconv.Itoa(target))
	out, err := cmd.Output()
	require.NoError(t, err)
	if os.Geteuid() != 0 {
		assert.NotEqual(t, "<nil>", strings.TrimSpace(string(out)))
		return
	}
	assert.Equal(t, fmt.Sprintf("process %d (agent.test) runs as user 0 and the agent as user 65532, which may not send it a signal: "+
		"both must have the same runAsUser\n", target), string(out))
}

func TestParseSignal(t *testing.T) {
	found, err := ParseSignal("SIGHUP")
	require.NoError(t, err)
	assert.Equal(t, syscall.SIGHUP, found)
	for _, name := range []string{"", "HUP", "SIGKILL", "SIGSTOP", "1"} {
		_, err := ParseSignal(name)
		require.EqualError(t, err, fmt.Sprintf("%q is no signal that a program can reload on, such as SIGHUP or SIGUSR1", name))
	}
}

// TestRanBefore has a program that is older than the agent, which was started again.
func TestRanBefore(t *testing.T) {
	self := os.Getpid()
	tree := fakeProc(
		fakeProcess{pid: self + 1, comm: "web", start: 10, log: pods + "web/1"},
		fakeProcess{pid: self, comm: "agent", start: 20, log: pods + "mtls-agent/1"},
		fakeProcess{pid: self + 2, comm: "db", start: 30, log: pods + "db/1"})
	assert.True(t, SignalReloader{Proc: tree, Container: "web"}.RanBefore(t.Context()))
	assert.False(t, SignalReloader{Proc: tree, Container: "db"}.RanBefore(t.Context()))
	assert.False(t, SignalReloader{Proc: tree, Container: "none"}.RanBefore(t.Context()))
}
