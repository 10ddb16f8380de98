package agentcmd

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/agent"
)

func TestHelp(t *testing.T) {
	for _, name := range []string{"run", "check"} {
		var out bytes.Buffer
		cmd := NewCommand("mtls-injector", "agent", "v1")
		cmd.SetOut(&out)
		cmd.SetArgs([]string{name, "--help"})
		require.NoError(t, cmd.Execute())
		assert.Contains(t, out.String(), "\n  mtls-injector agent "+name+" --cert-file ")
		assert.Contains(t, out.String(), "--dns-names strings")
	}
}

// parse returns what `run` makes of flags.
func parse(t *testing.T, args ...string) (agent.Options, error) {
	t.Helper()
	f := runFlags{fileFlags: fileFlags{getenv: func(name string) string {
		return map[string]string{"POD_NAME": "orders-0"}[name]
	}}}
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	f.bind(flags)
	require.NoError(t, flags.Parse(append([]string{"--cert-file", "c", "--key-file", "k"}, args...)))
	return f.complete("v1", slog.New(slog.DiscardHandler))
}

func TestFlags(t *testing.T) {
	opts, err := parse(t, "--ca-file", "ca", "--usages", "server auth, client auth", "--dns-names", "a.b,${POD_NAME}.a.b", "--uris", "spiffe://x/y",
		"--reload-signal", "SIGUSR1", "--reload-container", "web", "--reload-process", "nginx", "--metrics-address", "", "--start-timeout", "1m")
	require.NoError(t, err)
	assert.Equal(t, agent.Files{
		Cert: "c", Key: "k", CA: "ca", Usages: []string{"server auth", "client auth"},
		DNSNames: []string{"a.b", "orders-0.a.b"}, URIs: []string{"spiffe://x/y"},
	}, opts.Files)
	assert.Equal(t, agent.SignalReloader{Proc: os.DirFS("/proc"), Container: "web", Process: "nginx", Signal: syscall.SIGUSR1}, opts.Reloader)
	assert.Empty(t, opts.MetricsAddress)
	assert.Equal(t, time.Minute, opts.StartTimeout)

	opts, err = parse(t)
	require.NoError(t, err)
	assert.Nil(t, opts.Reloader)
	assert.Equal(t, ":9469", opts.MetricsAddress)
	assert.Equal(t, 10*time.Minute, opts.StartTimeout)

	opts, err = parse(t, "--reload-url", "http://localhost:8001/-/reload")
	require.NoError(t, err)
	assert.Equal(t, "POST http://localhost:8001/-/reload", describe(opts.Reloader))
	assert.Equal(t, "nothing", describe(nil))
}

func TestFlagsThatAreWrong(t *testing.T) {
	for name, c := range map[string]struct{ args, wrong string }{
		"no key":            {"--key-file=", "--cert-file and --key-file are needed"},
		"no certificate":    {"--cert-file=", "--cert-file and --key-file are needed"},
		"usage":             {"--usages=serverauth", `--usages: "serverauth" is none of server auth, client auth`},
		"signal alone":      {"--reload-signal=SIGHUP", "--reload-signal needs --reload-container"},
		"container alone":   {"--reload-container=web", "--reload-container and --reload-process need --reload-signal"},
		"unknown signal":    {"--reload-signal=HUP --reload-container=web", `--reload-signal: "HUP" is no signal that a program can reload on, such as SIGHUP or SIGUSR1`},
		"URL and signal":    {"--reload-url=http://localhost/ --reload-signal=SIGHUP", "--reload-url excludes --reload-signal, --reload-container and --reload-process"},
		"URL elsewhere":     {"--reload-url=http://example.io/", `--reload-url: the reload URL must be on localhost, not on "example.io"`},
		"no time":           {"--start-timeout=0s", "--start-timeout must be positive, not 0s"},
		"variable of odds":  {"--dns-names=$X.a", ""},
		"names with spaces": {"--dns-names=,a,,b", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(t, strings.Fields(c.args)...)
			if c.wrong == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, c.wrong)
		})
	}
	files := fileFlags{files: agent.Files{Cert: "c", Key: "k", DNSNames: []string{"${POD_NAME}.a"}}, getenv: func(string) string { return "" }}
	_, err := files.complete()
	require.EqualError(t, err, "--dns-names: ${POD_NAME}.a needs the variable POD_NAME, which is not set")
}

func execute(ctx context.Context, args ...string) error {
	cmd := NewCommand("", "mtls-agent", "v1")
	cmd.SetErr(&bytes.Buffer{})
	cmd.SetArgs(args)
	return cmd.ExecuteContext(ctx)
}

func TestCheckCommand(t *testing.T) {
	dir := t.TempDir()
	err := execute(t.Context(), "check", "--cert-file", dir+"/a/tls.crt", "--key-file", dir+"/b/tls.key")
	require.EqualError(t, err, dir+"/a does not exist: mount the volume with the files into this container\n"+
		dir+"/b does not exist: mount the volume with the files into this container")
	require.EqualError(t, execute(t.Context(), "check"), "--cert-file and --key-file are needed")
}

// TestTerminationMessage ends for wrong flags, for want of time, and because it was told to.
func TestTerminationMessage(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "termination-log")
	require.NoError(t, os.WriteFile(log, []byte("an older and longer message that is to go, as it is not of this end"), 0o600))
	message := func() string {
		text, err := os.ReadFile(log)
		require.NoError(t, err)
		return string(text)
	}
	base := []string{"run", "--termination-log", log, "--metrics-address", "", "--key-file", dir + "/none/tls.key"}
	require.Error(t, execute(t.Context(), base...))
	assert.Equal(t, "--cert-file and --key-file are needed", message())

	require.Error(t, execute(t.Context(), append(base, "--cert-file", dir+"/none/tls.crt", "--start-timeout", "1ms")...))
	assert.Equal(t, "the files were not right within 1ms:\n"+dir+"/none does not exist: mount the volume with the files into this container", message())

	long := strings.Repeat("x", 5000)
	require.NoError(t, writeTermination(log, long))
	assert.Equal(t, long[:4096], message())
	require.ErrorIs(t, writeTermination(filepath.Join(dir, "other"), "x"), os.ErrNotExist)

	require.Error(t, execute(t.Context(), "run", "--termination-log", filepath.Join(dir, "other")), "it ends with the reason all the same")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, execute(ctx, append(base, "--cert-file", dir+"/none/tls.crt")...))
}
