package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMain lets the test's own program be one that starts a cluster and hangs.
func TestMain(m *testing.M) {
	if os.Getenv("BE_CLUSTER") == "" {
		os.Exit(m.Run())
	}
	c, err := Start(context.Background(), Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(c.dir)
	fmt.Println(c.Config.Host)
	select {}
}

func TestNothingOutlivesAKilledProgram(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "BE_CLUSTER=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan(), "the cluster starts")
	dir := lines.Text()
	require.True(t, lines.Scan())
	host, err := url.Parse(lines.Text())
	require.NoError(t, err)
	assert.DirExists(t, dir)

	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait() // killed, as it should be
	require.NoError(t, poll(t.Context(), "the processes and files to go", func(ctx context.Context) error {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s is still there (%w)", dir, err)
		}
		if conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", host.Host); err == nil {
			return errors.Join(errors.New("the API server still answers"), conn.Close())
		}
		return nil
	}))
}

func TestStartFails(t *testing.T) {
	t.Run("without programs", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := Start(ctx, Options{})
		require.ErrorIs(t, err, context.Canceled)
	})
	t.Run("without a place for logs", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		_, err := Start(t.Context(), Options{LogDir: filepath.Join(file, "logs")})
		require.ErrorContains(t, err, "starting the cluster: making the log folder")
	})
}

func TestDecode(t *testing.T) {
	objects, err := decode([]byte("# nothing\n---\n---\nkind: A\napiVersion: v1\n---\napiVersion: v1\nkind: List\nitems: [{kind: B, apiVersion: v1}, {kind: C, apiVersion: v1}]\n"))
	require.NoError(t, err)
	var kinds []string
	for _, obj := range objects {
		kinds = append(kinds, obj.GetKind())
	}
	assert.Equal(t, []string{"A", "B", "C"}, kinds)
	_, err = decode([]byte("kind: A\n---\n- not an object\n"))
	require.ErrorContains(t, err, "parsing document 2")
}

func TestQuote(t *testing.T) {
	out, err := exec.Command("/bin/sh", "-c", "printf %s "+quote(`it's "$HOME"`)).Output()
	require.NoError(t, err)
	assert.Equal(t, `it's "$HOME"`, string(out))
}

func TestProcess(t *testing.T) {
	c := &Cluster{dir: t.TempDir()}
	c.logDir = c.dir
	require.NoError(t, c.ensurePrograms(t.Context(), Options{Progress: nil}))
	p, err := c.startProcess("brief", "/bin/sh", "-c", "echo cannot; exit 3")
	require.NoError(t, err)
	err = p.ready(t.Context(), func(context.Context) error { return errors.New("not yet") })
	require.ErrorIs(t, err, errEnded)
	require.ErrorContains(t, err, "waiting for brief to be ready: the process has ended")
	require.ErrorContains(t, err, "end of its log:\ncannot")
	require.NoError(t, p.stop(), "it has ended already")

	p, err = c.startProcess("long", "/bin/sleep", "600")
	require.NoError(t, err)
	require.NoError(t, p.stop())
	require.Error(t, p.err, "by the signal")
}
