package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/demo"
)

// TestDemo runs the whole demo, which checks its own promises, and then all that the
// comments of the examples say. It has a cluster of its own, for the examples name
// their namespaces.
func TestDemo(t *testing.T) {
	var out bytes.Buffer
	d := demo.New(&out)
	c := clustertest.New(t, d.ClusterOptions())
	t.Cleanup(func() { require.NoError(t, d.Stop()) })
	require.NoError(t, d.Run(t.Context(), c), "%s", &out)
	t.Run("story", func(t *testing.T) { checkStory(t, out.String()) })

	files, err := filepath.Glob(examples + "/*.yaml")
	require.NoError(t, err)
	checks := exampleChecks()
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			check := checks[name]
			delete(checks, name)
			require.NotNil(t, check, "nothing checks what this example says")
			check(&example{T: t, Cluster: c})
		})
	}
	assert.Empty(t, checks, "checks of examples that do not exist")
}

// checkStory checks that the demo tells what a person wants to see, in a window of 100
// columns.
func checkStory(t *testing.T, story string) {
	t.Helper()
	for _, part := range []string{
		"Deployment/orders", "spiffe://cluster.local/ns/payments/sa/default", // who
		"left out  container log-shipper",
		"payments/debug: role-none",                                                   // left alone
		`did you mean`,                                                                // refused
		"*.db.shop.svc.cluster.local +4",                                              // certificates
		"OK       reports → cart → orders", "remote error: tls: certificate required", // handshakes
		"All of it is as promised",
	} {
		assert.Contains(t, story, part)
	}
	for line := range strings.Lines(story) {
		assert.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), 100, line)
		assert.Equal(t, strings.TrimRight(line, " \n")+"\n", line)
	}
	assert.NotContains(t, story, "PRIVATE KEY")
	assert.NotContains(t, story, "\x1b", "no colours")
}

// TestDemoNamesTheStepThatFails runs the demo where one of its objects exists already.
func TestDemoNamesTheStepThatFails(t *testing.T) {
	var out bytes.Buffer
	d := demo.New(&out)
	c := clustertest.New(t, d.ClusterOptions())
	_, err := c.Apply(t.Context(), []byte("apiVersion: v1\nkind: Secret\nmetadata: {name: mtls-ca, namespace: cert-manager}"), "")
	require.NoError(t, err)
	err = d.Run(t.Context(), c)
	require.ErrorContains(t, err, `01-ca-existing-key-pair.yaml: storing the CA's key pair: secrets "mtls-ca" already exists`)
	require.ErrorContains(t, err, "end of the webhook's log:")
	require.NoError(t, d.Stop())
}

// TestDemoLeavesNothing ends the program by a signal, at a line that it prints.
func TestDemoLeavesNothing(t *testing.T) {
	program := filepath.Join(t.TempDir(), "demo")
	build, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/demo").CombinedOutput()
	require.NoError(t, err, "%s", build)
	cases := map[string]struct {
		args   []string
		at     string
		signal syscall.Signal
		ends   bool // well
	}{
		"while the cluster starts":       {at: "starting kube-controller-manager", signal: syscall.SIGINT},
		"while the examples are applied": {at: "10-go-server.yaml", signal: syscall.SIGTERM},
		"when all is done":               {args: []string{"--keep"}, at: "export KUBECONFIG=", signal: syscall.SIGINT, ends: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			cmd := exec.CommandContext(t.Context(), program, tc.args...)
			cmd.Env = append(os.Environ(), "TMPDIR="+folder)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			stdout, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			readUntil(t, stdout, tc.at)
			assert.NotEmpty(t, processesOf(t, folder))
			require.NoError(t, cmd.Process.Signal(tc.signal))
			_, err = io.Copy(io.Discard, stdout)
			require.NoError(t, err)
			err = cmd.Wait()
			if tc.ends {
				require.NoError(t, err, "%s", &stderr)
				assert.Empty(t, stderr.String())
			} else {
				require.EqualError(t, err, "exit status 1")
				assert.Regexp(t, `^\ndemo: ended by a signal: .+\n$`, stderr.String())
			}
			left, err := os.ReadDir(folder)
			require.NoError(t, err)
			assert.Empty(t, left)
			assert.Empty(t, processesOf(t, folder))
		})
	}
}

func readUntil(t *testing.T, out io.Reader, text string) {
	t.Helper()
	var all strings.Builder
	lines := bufio.NewReader(out)
	for !strings.Contains(all.String(), text) {
		line, err := lines.ReadString('\n')
		require.NoError(t, err, "%s\nhas no %q", &all, text)
		all.WriteString(line)
	}
}

// processesOf lists the processes whose arguments name the folder, where /proc tells.
func processesOf(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	var found []string
	for _, file := range files {
		args, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has just ended
		}
		require.NoError(t, err)
		if strings.Contains(string(args), folder) {
			found = append(found, strings.ReplaceAll(string(args), "\x00", " "))
		}
	}
	return found
}
