package status

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/cmd/internal/fakecluster"
	"example.io/mtls-injector/cmd/internal/golden"
	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
	"example.io/mtls-injector/cmd/kubectl-mtls/steps"
)

// now is when the scene is looked at.
var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// stand is a command that looks at the scene.
type stand struct {
	*Options
	client      client.WithWatch
	out, errOut bytes.Buffer
}

func newStand(t *testing.T, deny ...string) *stand {
	t.Helper()
	scheme, err := kube.Scheme()
	require.NoError(t, err)
	s := &stand{client: fakecluster.New(t, scheme, "testdata/scene.yaml", deny...)}
	s.Options = &Options{
		Interval:  time.Millisecond,
		IOStreams: genericiooptions.IOStreams{Out: &s.out, ErrOut: &s.errOut},
		cluster:   &kube.Cluster{Client: s.client, Namespace: "shop", Gaps: &kube.Gaps{}},
		now:       func() time.Time { return now },
	}
	return s
}

func TestStatus(t *testing.T) {
	for name, set := range map[string]func(*Options){
		"namespace.txt":      func(*Options) {},
		"all-namespaces.txt": func(o *Options) { o.AllNamespaces = true },
		"wide.txt":           func(o *Options) { o.Output = "wide" },
		"bank.json":          func(o *Options) { o.cluster.Namespace, o.Output = "bank", "json" },
		"legacy.yaml":        func(o *Options) { o.cluster.Namespace, o.Output = "legacy", "yaml" },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			set(s.Options)
			require.NoError(t, s.Validate())
			require.NoError(t, s.Run(t.Context()))
			golden.Check(t, "testdata/"+name, s.out.String())
			assert.Empty(t, s.errOut.String())
		})
	}
}

// An ordinary user of the namespace sees less, and is told what.
func TestWithFewRights(t *testing.T) {
	for name, tc := range map[string]struct {
		deny []string
		all  bool
	}{
		"few-rights.txt": {deny: []string{
			"get namespaces", "list configmaps -", "get configmaps", "list certificates", "list services", "list jobs", "list cronjobs",
			"list mutatingwebhookconfigurations", "get certificaterequests",
		}},
		"few-rights-all.txt": {all: true, deny: []string{"list namespaces", "list deployments", "get certificaterequests"}},
		"only-templates.txt": {deny: []string{"list pods"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, tc.deny...)
			s.AllNamespaces = tc.all
			require.NoError(t, s.Run(t.Context()))
			golden.Check(t, "testdata/"+name, s.out.String()+"--- standard error\n"+s.errOut.String())
		})
	}
}

func TestWithNoRights(t *testing.T) {
	s := newStand(t, "list pods", "list deployments", "list statefulsets", "list daemonsets", "list jobs", "list cronjobs")
	require.EqualError(t, s.Run(t.Context()), "you may see neither pods nor workloads there")
	assert.Empty(t, s.out.String())
	assert.Contains(t, s.errOut.String(), `not known: which pods there are, and whether they are injected (you may not list pods in namespace "shop")`)
}

func TestNotKnownInJSON(t *testing.T) {
	s := newStand(t, "list certificates")
	s.Output = "json"
	require.NoError(t, s.Run(t.Context()))
	var r Report
	require.NoError(t, json.Unmarshal(s.out.Bytes(), &r))
	assert.Equal(t, []kube.Gap{{
		Verb: "list", Group: "cert-manager.io", Resource: "certificates", Namespace: "shop",
		For: "the companion Certificates: whether they are ready, and when they end",
	}}, r.NotKnown)
	assert.Empty(t, s.errOut.String())
}

func TestNothingToShow(t *testing.T) {
	s := newStand(t)
	s.cluster.Namespace = "quiet"
	require.NoError(t, s.Run(t.Context()))
	assert.Empty(t, s.out.String())
	assert.Equal(t, "no workload is to speak mutual TLS in namespace quiet\n", s.errOut.String())

	s = newStand(t)
	s.cluster.Namespace = "nowhere"
	require.EqualError(t, s.Run(t.Context()), `namespace "nowhere" does not exist`)
}

func TestExitCode(t *testing.T) {
	s := newStand(t)
	s.ExitCode = true
	exit, ok := errors.AsType[*steps.ExitError](s.Run(t.Context()))
	require.True(t, ok)
	assert.Equal(t, 2, exit.Code)
	assert.Empty(t, exit.Error())
	assert.NotEmpty(t, s.out.String())

	s = newStand(t)
	s.ExitCode, s.cluster.Namespace = true, "bank"
	require.NoError(t, s.Run(t.Context()))
}

// written tells of each time that something is written.
type written struct {
	bytes.Buffer
	times chan string
}

func (w *written) Write(p []byte) (int, error) {
	w.times <- string(p)
	return len(p), nil
}

func TestWatch(t *testing.T) {
	s := newStand(t)
	s.Watch, s.cluster.Namespace = true, "bank"
	out := &written{times: make(chan string)}
	s.Out = out
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	assert.Contains(t, <-out.times, "Deployment/teller")

	var teller appsv1.Deployment
	require.NoError(t, s.client.Get(ctx, client.ObjectKey{Namespace: "bank", Name: "teller"}, &teller))
	teller.Spec.Template.Annotations = map[string]string{"mtls.example.io/role": "both"}
	require.NoError(t, s.client.Update(ctx, &teller))
	assert.Contains(t, <-out.times, "both", "nothing is shown in between, for nothing has changed")
	cancel()
	require.NoError(t, <-ended)
}

func TestWatchGoesOnAfterAnError(t *testing.T) {
	s := newStand(t)
	s.Watch, s.cluster.Namespace = true, "nowhere"
	told := &written{times: make(chan string)}
	s.ErrOut = told
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	assert.Equal(t, "error: namespace \"nowhere\" does not exist\n", <-told.times)
	cancel()
	require.NoError(t, <-ended)
}

func execute(arguments ...string) (stdout string, err error) {
	var out bytes.Buffer
	cmd := NewCommand(genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: io.Discard})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(arguments)
	err = cmd.Execute()
	return out.String(), err
}

func TestFlags(t *testing.T) {
	t.Setenv("KUBECONFIG", "testdata/kubeconfig.yaml")
	for name, tc := range map[string]struct {
		arguments []string
		want      string
	}{
		"argument": {[]string{"web"}, `unknown command "web" for "status"`},
		"output":   {[]string{"-o", "xml"}, `--output "xml": must be wide, json, yaml`},
		"interval": {[]string{"--interval", "0s"}, "--interval 0s: must be more than nothing"},
		"both":     {[]string{"-w", "--exit-code"}, "--exit-code says how it is now: it does not go with --watch"},
		"context":  {[]string{"--context", "other"}, `context "other" does not exist`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := execute(tc.arguments...)
			require.EqualError(t, err, tc.want)
		})
	}
}

func TestHelp(t *testing.T) {
	stdout, err := execute("--help")
	require.NoError(t, err)
	for _, text := range []string{"kubectl mtls status -A --watch", "--kubeconfig", "--context", "--as ", "-n, --namespace", "-o, --output"} {
		assert.Contains(t, stdout, text)
	}
	assert.NotContains(t, stdout, "--insecure-skip-tls-verify", "it works, and few need it")
}

func TestCompletion(t *testing.T) {
	t.Setenv("KUBECONFIG", "testdata/kubeconfig.yaml")
	for flag, want := range map[string]string{
		"--output":  "wide\njson\nyaml\n:4\n",
		"--context": "dev\nprod\n:4\n",
		"--cluster": "here\n:4\n",
		"--user":    "jane\n:4\n",
		"--config":  "yaml\nyml\njson\n:8\n",
	} {
		stdout, err := execute(cobra.ShellCompRequestCmd, flag, "")
		require.NoError(t, err)
		assert.Contains(t, stdout, want, flag)
	}
}
