package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/webhook"
)

// parse returns the options that the flags make.
func parse(t *testing.T, args ...string) *webhookOptions {
	t.Helper()
	var o webhookOptions
	flags := pflag.NewFlagSet("webhook", pflag.ContinueOnError)
	o.bind(flags)
	require.NoError(t, flags.Parse(args))
	return &o
}

func kubeconfig(t *testing.T, server string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(path, []byte(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "`+server+`"}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {token: t}}]
current-context: c
`), 0o600))
	return path
}

func TestDefaults(t *testing.T) {
	s, err := parse(t, "--kubeconfig", kubeconfig(t, "https://192.0.2.1:6443")).complete()
	require.NoError(t, err)
	assert.Equal(t, webhook.ServerOptions{
		Host: "0.0.0.0", Port: 9443, CertDir: "/etc/mtls-injector/serving-certs", CertName: "tls.crt", KeyName: "tls.key", HTTP2: true,
	}, s.server)
	assert.Empty(t, s.config)
	assert.Equal(t, ":8081", s.healthAddress)
	assert.Equal(t, ":8080", s.metricsAddress)
	assert.False(t, s.leaderElect)
	assert.Equal(t, 5*time.Second, s.drainDelay)
	assert.Equal(t, 30*time.Second, s.shutdownTimeout)
	assert.Equal(t, "https://192.0.2.1:6443", s.rest.Host)
	assert.Negative(t, s.rest.QPS)
	assert.NotEmpty(t, s.rest.UserAgent)
}

func TestFlags(t *testing.T) {
	s, err := parse(t,
		"--config", "/c.yaml", "--kubeconfig", kubeconfig(t, "https://192.0.2.1"), "--bind-address", "::1", "--port", "443",
		"--cert-dir", "/certs", "--cert-name", "a.pem", "--key-name", "b.pem", "--http2=false",
		"--health-probe-bind-address", "127.0.0.1:1", "--metrics-bind-address", "0",
		"--leader-elect", "--leader-elect-namespace", "mtls", "--drain-delay", "0", "--shutdown-timeout", "1m",
	).complete()
	require.NoError(t, err)
	assert.Equal(t, webhook.ServerOptions{Host: "::1", Port: 443, CertDir: "/certs", CertName: "a.pem", KeyName: "b.pem"}, s.server)
	assert.Equal(t, "/c.yaml", s.config)
	assert.Equal(t, "127.0.0.1:1", s.healthAddress)
	assert.Equal(t, "0", s.metricsAddress)
	assert.True(t, s.leaderElect)
	assert.Equal(t, "mtls", s.leaderElectNamespace)
	assert.Zero(t, s.drainDelay)
	assert.Equal(t, time.Minute, s.shutdownTimeout)
}

func TestWrongFlags(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"bind address":         {[]string{"--bind-address", "localhost"}, `--bind-address: "localhost" is not an IP address`},
		"port 0":               {[]string{"--port", "0"}, `--port: must be from 1 to 65535, not 0`},
		"port too large":       {[]string{"--port", "65536"}, `--port: must be from 1 to 65535, not 65536`},
		"no certificates":      {[]string{"--cert-dir", ""}, `--cert-dir: must not be empty`},
		"no certificate":       {[]string{"--cert-name", ""}, `--cert-name: must not be empty`},
		"no key":               {[]string{"--key-name", ""}, `--key-name: must not be empty`},
		"no port":              {[]string{"--metrics-bind-address", "localhost"}, `--metrics-bind-address: "localhost" is neither host:port nor 0`},
		"empty address":        {[]string{"--health-probe-bind-address", ""}, `--health-probe-bind-address: "" is neither host:port nor 0`},
		"a port's name":        {[]string{"--metrics-bind-address", ":http"}, `--metrics-bind-address: the port of ":http" is not from 1 to 65535`},
		"port 0 of address":    {[]string{"--metrics-bind-address", ":0"}, `--metrics-bind-address: the port of ":0" is not from 1 to 65535`},
		"large port's address": {[]string{"--metrics-bind-address", ":99999"}, `--metrics-bind-address: the port of ":99999" is not from 1 to 65535`},
		"negative delay":       {[]string{"--drain-delay", "-1s"}, `--drain-delay: must not be negative, but is -1s`},
		"negative timeout":     {[]string{"--shutdown-timeout", "-1m"}, `--shutdown-timeout: must not be negative, but is -1m0s`},
		"no namespace to lead in": {[]string{"--leader-elect", "--kubeconfig", "/k"},
			`--leader-elect-namespace: is needed with --leader-elect and --kubeconfig, as there is no pod whose namespace it could be`},
		"all at once": {[]string{"--bind-address", "", "--port", "-1", "--cert-dir", "", "--drain-delay", "-1s"},
			`--bind-address: "" is not an IP address
--port: must be from 1 to 65535, not -1
--cert-dir: must not be empty
--drain-delay: must not be negative, but is -1s`},
		"no such kubeconfig": {[]string{"--kubeconfig", "/nowhere/kubeconfig"}, `--kubeconfig: stat /nowhere/kubeconfig: no such file or directory`},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := parse(t, tt.args...).complete()
			assert.EqualError(t, err, tt.want)
			assert.Nil(t, s)
		})
	}
}

// TestOutsideOfACluster: without a kubeconfig there must be a service account.
func TestOutsideOfACluster(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	_, err := parse(t).complete()
	assert.EqualError(t, err, "--kubeconfig: unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined")
}

func TestUnknownFlagsAndArguments(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"unknown command": {[]string{"webhok"}, `unknown command "webhok" for "mtls-injector"`},
		"unknown flag":    {[]string{"webhook", "--prot", "1"}, `unknown flag: --prot`},
		"an argument":     {[]string{"webhook", "now"}, `unknown command "now" for "mtls-injector webhook"`},
		"not a number":    {[]string{"webhook", "--port", "https"}, `invalid argument "https" for "--port" flag: strconv.ParseInt: parsing "https": invalid syntax`},
		"not a log level": {[]string{"webhook", "--zap-log-level", "loud"}, `invalid argument "loud" for "--zap-log-level" flag: invalid log level "loud"`},
		"a wrong value":   {[]string{"webhook", "--port", "0"}, `--port: must be from 1 to 65535, not 0`},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := NewCommand("v1.2.3")
			cmd.SetArgs(tt.args)
			var out strings.Builder
			cmd.SetOut(&out)
			cmd.SetErr(&out)
			err := cmd.ExecuteContext(t.Context())
			require.Error(t, err)
			assert.Equal(t, tt.want, strings.SplitN(err.Error(), "\n", 2)[0])
			assert.Empty(t, out.String(), "main prints the error, and nobody wants the usage with it")
		})
	}
}

func TestHelpAndVersion(t *testing.T) {
	for command, want := range map[string][]string{
		"--help":             {"webhook", "version", "completion", "mutual TLS between pods without a service mesh"},
		"webhook --help":     {"Examples:", "--config file", "--kubeconfig file", "--drain-delay duration", "--zap-log-level", "GOMEMLIMIT"},
		"version":            {"mtls-injector v1.2.3 ("},
		"completion bash -h": {"bash"},
	} {
		t.Run(command, func(t *testing.T) {
			cmd := NewCommand("v1.2.3")
			cmd.SetArgs(strings.Fields(command))
			var out strings.Builder
			cmd.SetOut(&out)
			require.NoError(t, cmd.ExecuteContext(t.Context()))
			for _, text := range want {
				assert.Contains(t, out.String(), text)
			}
		})
	}
}
