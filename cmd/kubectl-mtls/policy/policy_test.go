package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"example.io/mtls-injector/cmd/internal/golden"
)

func run(arguments ...string) (stdout, stderr string, err error) {
	var out, errOut bytes.Buffer
	cmd := NewCommand(genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errOut})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetOut(&out)
	cmd.SetErr(&errOut)
	cmd.SetArgs(append([]string{}, arguments...)) // nil would stand for the test's own
	err = cmd.Execute()
	return out.String(), errOut.String(), err
}

func TestPolicy(t *testing.T) {
	for name, arguments := range map[string][]string{
		"defaults":      nil,
		"token-request": {"--use-token-request"},
		"rules":         {"--config", "testdata/rules.yaml"},
		"elsewhere":     {"--csi-driver-service-account", "pki/driver", "--cert-manager-service-account", "pki/cert-manager.v1"},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, err := run(arguments...)
			require.NoError(t, err)
			golden.Check(t, "testdata/"+name+".golden.yaml", stdout)
			assert.Equal(t, "warning: these policies decide nothing unless cert-manager's own approver is off: disableAutoApproval in its "+
				"Helm chart,\n  or --controllers=*,-certificaterequests-approver for its controller\n", stderr)
		})
	}
}

func TestExampleCanBeSaid(t *testing.T) {
	stdout, _, err := run("--config", "../../../examples/config.yaml")
	require.NoError(t, err)
	assert.Contains(t, stdout, "payments-ca")
}

func TestOutputFormsAgree(t *testing.T) {
	asYAML, _, err := run("--config", "testdata/rules.yaml")
	require.NoError(t, err)
	asJSON, stderr, err := run("--config", "testdata/rules.yaml", "-o", "json", "-q")
	require.NoError(t, err)
	assert.Empty(t, stderr)

	var fromYAML, fromJSON []any
	for document := range strings.SplitSeq(asYAML, "\n---\n") {
		var object any
		require.NoError(t, yaml.UnmarshalStrict([]byte(document), &object))
		fromYAML = append(fromYAML, object)
	}
	for decoder := json.NewDecoder(strings.NewReader(asJSON)); ; {
		var object any
		err := decoder.Decode(&object)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		fromJSON = append(fromJSON, object)
	}
	assert.Len(t, fromYAML, 2*8*2+4, "requesters, namespaces with issuers, keys; and RBAC")
	assert.Equal(t, fromYAML, fromJSON)
	assert.Contains(t, asJSON, `cr.namespace in [\"gateway\"] && (`, "people read it, too")
}

func TestWhatCannotBeSaid(t *testing.T) {
	for _, output := range []string{"yaml", "json"} {
		stdout, stderr, err := run("--config", "testdata/unsayable.yaml", "-o", output, "-q")
		require.EqualError(t, err, "the configuration cannot be said in policies, so nothing was printed")
		assert.Empty(t, stdout)
		golden.Check(t, "testdata/unsayable.golden.txt", stderr)
	}
}

func TestFlags(t *testing.T) {
	for name, tc := range map[string]struct {
		arguments []string
		want      string
	}{
		"argument":           {[]string{"all"}, `unknown command "all" for "policy"`},
		"output":             {[]string{"-o", "xml"}, `--output "xml": must be yaml or json`},
		"no namespace":       {[]string{"--csi-driver-service-account", "driver"}, `--csi-driver-service-account "driver": must be NAMESPACE/NAME of a service account`},
		"no name":            {[]string{"--cert-manager-service-account", "pki/"}, `--cert-manager-service-account "pki/": must be NAMESPACE/NAME of a service account`},
		"too much":           {[]string{"--cert-manager-service-account", "a/b/c"}, `--cert-manager-service-account "a/b/c": must be NAMESPACE/NAME of a service account`},
		"no name at all":     {[]string{"--csi-driver-service-account", `a/b" || "`}, `--csi-driver-service-account "a/b\" || \"": must be NAMESPACE/NAME of a service account`},
		"several":            {[]string{"-o", "", "--csi-driver-service-account", ""}, "--csi-driver-service-account \"\": must be NAMESPACE/NAME of a service account\n--output \"\": must be yaml or json"},
		"no effect":          {[]string{"--use-token-request", "--csi-driver-service-account", "a/b"}, "if any flags in the group [csi-driver-service-account use-token-request] are set none of the others can be; [csi-driver-service-account use-token-request] were all set"},
		"configuration gone": {[]string{"--config", "testdata/none.yaml"}, "configuration: open testdata/none.yaml: no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, err := run(tc.arguments...)
			require.EqualError(t, err, tc.want)
			assert.Empty(t, stdout+stderr)
		})
	}
}

func TestHelp(t *testing.T) {
	stdout, _, err := run("--help")
	require.NoError(t, err)
	for _, text := range []string{"disableAutoApproval", "kubectl mtls policy --config injector.yaml | kubectl apply -f - --prune", "They cannot know"} {
		assert.Contains(t, stdout, text)
	}
	for line := range strings.Lines(stdout) {
		if !strings.Contains(line, "--") {
			assert.LessOrEqual(t, len(line), 122, line)
		}
	}
}

func TestCompletion(t *testing.T) {
	for flag, want := range map[string]string{
		"--output":                       "yaml\njson\n:4\n",
		"--csi-driver-service-account":   ":4\n",
		"--cert-manager-service-account": ":4\n",
	} {
		stdout, _, err := run(cobra.ShellCompRequestCmd, flag, "")
		require.NoError(t, err)
		assert.Equal(t, want, stdout, flag)
	}
}

type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, errors.New("it is closed") }

func TestOutputThatFails(t *testing.T) {
	cmd := NewCommand(genericiooptions.IOStreams{Out: closed{}, ErrOut: io.Discard})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs([]string{})
	require.EqualError(t, cmd.Execute(), "it is closed")
}
