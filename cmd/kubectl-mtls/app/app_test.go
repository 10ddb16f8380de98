package app

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

func run(arguments ...string) (stdout, stderr string, err error) {
	var out, errOut bytes.Buffer
	cmd := NewCommand("v1.2.3", genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errOut})
	cmd.SetArgs(arguments)
	err = cmd.Execute()
	return out.String(), errOut.String(), err
}

func TestVersion(t *testing.T) {
	stdout, stderr, err := run("version")
	require.NoError(t, err)
	assert.Contains(t, stdout, "kubectl-mtls v1.2.3 (commit ")
	assert.Empty(t, stderr)

	_, _, err = run("version", "now")
	require.EqualError(t, err, `unknown command "now" for "kubectl mtls version"`)
}

func TestHelpSpeaksOfThePlugin(t *testing.T) {
	stdout, _, err := run("inject", "--help")
	require.NoError(t, err)
	assert.Contains(t, stdout, "\nUsage:\n  kubectl mtls inject -f FILE [flags]\n")
	assert.Contains(t, stdout, "kubectl mtls inject -f deployment.yaml | kubectl apply -f -")
}

func TestPolicy(t *testing.T) {
	stdout, stderr, err := run("policy", "-q")
	require.NoError(t, err)
	assert.Contains(t, stdout, "kind: CertificateRequestPolicy\n")
	assert.Empty(t, stderr)
}

func TestUnknownCommand(t *testing.T) {
	stdout, stderr, err := run("injcet")
	require.EqualError(t, err, "unknown command \"injcet\" for \"kubectl mtls\"\n\nDid you mean this?\n\tinject\n")
	assert.Empty(t, stdout+stderr, "main prints the error, once")
}

func TestShellCompletionCanBeMade(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		stdout, _, err := run("completion", shell)
		require.NoError(t, err)
		assert.Contains(t, stdout, "mtls", shell)
	}
}

// The process itself: streams and exit codes.
func TestProcess(t *testing.T) {
	program := t.TempDir() + "/kubectl-mtls"
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-X main.version=v9", "-o", program, "..")
	build.Stderr = os.Stderr
	require.NoError(t, build.Run())

	out, err := exec.CommandContext(t.Context(), program, "version").Output()
	require.NoError(t, err)
	assert.Contains(t, string(out), "kubectl-mtls v9 (commit ")

	// kubectl completes by a program of this name.
	completer := filepath.Dir(program) + "/kubectl_complete-mtls"
	require.NoError(t, os.Symlink(program, completer))
	out, err = exec.CommandContext(t.Context(), completer, "stat").Output()
	require.NoError(t, err)
	assert.Contains(t, string(out), "status\tShow the workloads")

	inject := exec.CommandContext(t.Context(), program, "inject", "-f", "-")
	inject.Stdin = strings.NewReader("a: [\n")
	out, err = inject.Output()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 1, exit.ExitCode())
	assert.Empty(t, out)
	assert.Equal(t, "error: standard input: document 1 (line 1): yaml: line 1: did not find expected node content\n"+
		"error: the input is wrong, so nothing was printed\n", string(exit.Stderr))
}
