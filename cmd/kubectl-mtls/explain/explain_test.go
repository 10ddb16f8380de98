package explain

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"example.io/mtls-injector/cmd/internal/golden"
	"example.io/mtls-injector/cmd/kubectl-mtls/inject"
	"example.io/mtls-injector/cmd/kubectl-mtls/steps"
	"example.io/mtls-injector/intent"
)

func execute(cmd func(genericiooptions.IOStreams) *cobra.Command, stdin string, arguments ...string) (stdout, stderr string, err error) {
	var out, errOut bytes.Buffer
	c := cmd(genericiooptions.IOStreams{In: strings.NewReader(stdin), Out: &out, ErrOut: &errOut})
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetOut(&out)
	c.SetErr(&errOut)
	c.SetArgs(append([]string{}, arguments...))
	err = c.Execute()
	return out.String(), errOut.String(), err
}

func run(stdin string, arguments ...string) (stdout, stderr string, err error) {
	return execute(func(s genericiooptions.IOStreams) *cobra.Command { return NewCommand("v1.2.3", s) }, stdin, arguments...)
}

// injected returns what inject makes of a file.
func injected(t *testing.T, file string) string {
	t.Helper()
	stdout, stderr, err := execute(func(s genericiooptions.IOStreams) *cobra.Command { return inject.NewCommand("v1.0.0", s) }, "", "-q", "-f", file)
	require.NoError(t, err, stderr)
	return stdout
}

func TestExplain(t *testing.T) {
	then := strings.Replace(injected(t, "testdata/web.yaml"), "mtls.example.io/duration: 48h", "mtls.example.io/duration: 72h", 1)
	byHand := strings.Replace(injected(t, "testdata/web.yaml"), "value: both", "value: everything", 1)
	for name, c := range map[string]struct {
		stdin     string
		arguments []string
		code      int
	}{
		"web":            {arguments: []string{"-f", "testdata/web.yaml"}},
		"configured":     {arguments: []string{"-f", "testdata/web.yaml", "--config", "testdata/config.yaml"}},
		"others":         {arguments: []string{"-f", "testdata/others.yaml"}},
		"refused":        {arguments: []string{"-f", "testdata/refused.yaml"}, code: steps.ExitNo},
		"conflict":       {arguments: []string{"-f", "testdata/conflict.yaml"}, code: steps.ExitNo},
		"the same":       {stdin: injected(t, "testdata/web.yaml"), arguments: []string{"-f", "-"}},
		"then and now":   {stdin: then, arguments: []string{"-f", "-"}},
		"changed since":  {stdin: byHand, arguments: []string{"-f", "-"}},
		"older cluster":  {arguments: []string{"-f", "testdata/web.yaml", "--kubernetes-version", "1.29"}},
		"of a namespace": {arguments: []string{"-f", "testdata/others.yaml", "--namespace-annotations", "mtls.example.io/role=server"}},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, err := run(c.stdin, c.arguments...)
			code := 0
			if err != nil {
				var exit *steps.ExitError
				require.ErrorAs(t, err, &exit)
				assert.Equal(t, "1 of 1 would be refused", exit.Message)
				code = exit.Code
			}
			assert.Equal(t, c.code, code)
			assert.Empty(t, stderr)
			golden.Check(t, "testdata/golden/"+strings.ReplaceAll(name, " ", "-")+".txt", stdout)
		})
	}
}

func TestOutputFormats(t *testing.T) {
	asJSON, _, err := run(injected(t, "testdata/web.yaml"), "-f", "-", "-o", "json")
	require.NoError(t, err)
	golden.Check(t, "testdata/golden/web.json", asJSON)
	asYAML, _, err := run(injected(t, "testdata/web.yaml"), "-f", "-", "-o", "yaml")
	require.NoError(t, err)
	var a, b any
	require.NoError(t, json.Unmarshal([]byte(asJSON), &a))
	require.NoError(t, yaml.Unmarshal([]byte(asYAML), &b))
	assert.Equal(t, a, b)
}

// TestNothingIsLeftOut: what is told of the decisions is what the core told.
func TestNothingIsLeftOut(t *testing.T) {
	stdout, _, err := run("", "-f", "testdata/web.yaml", "-o", "json")
	require.NoError(t, err)
	var report Report
	require.NoError(t, json.Unmarshal([]byte(stdout), &report))
	told := map[string]bool{}
	for _, d := range report.Pods[0].Decisions {
		told[d.Key] = true
	}
	for _, key := range intent.Keys() {
		assert.Equal(t, key.Scope != intent.ScopeStatus, told[key.Name], key.Name)
	}
}

// TestRemedies: every entry of the catalogue is found again by its own message.
func TestRemedies(t *testing.T) {
	all := remedies()
	require.Greater(t, len(all), 60)
	for _, r := range all {
		message := strings.Join(r.pieces, "x")
		if len(strings.Join(r.pieces, "")) > 12 {
			assert.NotEmpty(t, remedyOf(all, message), message)
		}
	}
	assert.Empty(t, remedyOf(all, "nothing that anybody says"))
	assert.Equal(t, "there is no unit for days: `720h`, not `30d`", remedyOf(all, "must be a Go duration of whole seconds such as 720h or 90m"))
}

func TestFlags(t *testing.T) {
	for name, c := range map[string]struct {
		arguments []string
		want      string
	}{
		"nothing":       {nil, "must name a POD or KIND/NAME, or manifests with -f"},
		"both":          {[]string{"web", "-f", "-"}, "names are of the cluster and -f is without one: give either"},
		"output":        {[]string{"web", "-o", "xml"}, `--output "xml": must be json, yaml`},
		"annotation":    {[]string{"-f", "-", "--namespace-annotations", "role"}, `--namespace-annotations "role": must be KEY=VALUE`},
		"version":       {[]string{"web", "--kubernetes-version", "1.29"}, "--kubernetes-version goes with -f only: the cluster is asked for its version"},
		"not of a file": {[]string{"web", "--namespace-annotations", "a=b"}, "--namespace-annotations goes with -f only: those of the cluster are read"},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, err := run("", c.arguments...)
			require.EqualError(t, err, c.want)
			assert.Empty(t, stdout+stderr)
		})
	}
}

func TestBadInput(t *testing.T) {
	for name, c := range map[string]struct {
		stdin     string
		arguments []string
		want      string
	}{
		"syntax":        {"a: [\n", nil, "error: standard input: document 1 (line 1): yaml: line 1: did not find expected node content\n"},
		"no pod":        {"a: 1\n", nil, "error: there is no pod and no pod template in the input\n"},
		"configuration": {"a: 1\n", []string{"--config", "gone.yaml"}, "error: configuration: open gone.yaml: no such file or directory\n"},
		"version":       {"a: 1\n", []string{"--kubernetes-version", "new"}, "error: --kubernetes-version: \"new\" is no version of Kubernetes such as 1.29\n"},
		"a Service": {"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selector: 1}\n", nil,
			"error: standard input: document 1 (line 1): Service/a: spec.selector: Invalid value: a JSON number does not fit Go's map[string]string\n"},
	} {
		t.Run(name, func(t *testing.T) {
			_, stderr, err := run(c.stdin, append(c.arguments, "-f", "-")...)
			require.EqualError(t, err, "not everything could be explained")
			assert.Equal(t, c.want, stderr)
		})
	}
}

func TestExamplesAreExplained(t *testing.T) {
	const folder = "../../../examples"
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	arguments := []string{"--config", folder + "/config.yaml"}
	for _, entry := range entries {
		if name := entry.Name(); strings.HasSuffix(name, ".yaml") && name[0] >= '0' && name[0] <= '2' {
			arguments = append(arguments, "-f", folder+"/"+name)
		}
	}
	stdout, stderr, err := run("", arguments...)
	require.NoError(t, err, stderr)
	assert.Contains(t, stdout, "Deployment/orders in namespace shop: would be injected\n")
	assert.Contains(t, stdout, "Pod/debug in namespace ")
}
