package inject

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"example.io/mtls-injector/cmd/internal/golden"
	"example.io/mtls-injector/cmd/kubectl-mtls/manifest"
)

func uninject(stdin string, arguments ...string) (stdout, stderr string, err error) {
	var out, errOut bytes.Buffer
	cmd := NewUninjectCommand(genericiooptions.IOStreams{In: strings.NewReader(stdin), Out: &out, ErrOut: &errOut})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetOut(&out)
	cmd.SetErr(&errOut)
	cmd.SetArgs(append([]string{}, arguments...))
	err = cmd.Execute()
	return out.String(), errOut.String(), err
}

// rewritten returns the documents as they are written when they are changed. Two things are
// written another way afterwards: an empty list is gone, for nobody knows who made it, and a
// probe that was turned and turned back is in block style.
func rewritten(t *testing.T, source, text string) []string {
	t.Helper()
	docs, errs := manifest.Read(source, []byte(text))
	require.Empty(t, errs)
	var texts []string
	for _, d := range docs {
		text, err := d.Text()
		require.NoError(t, err)
		text = strings.ReplaceAll(text, "    volumeMounts: []\n", "")
		text = strings.ReplaceAll(text, "          httpGet: {port: https, scheme: HTTPS}\n", "          httpGet:\n            port: https\n            scheme: HTTPS\n")
		texts = append(texts, text)
	}
	return texts
}

// TestRoundTrip: inject and uninject change nothing in the manifests that people wrote: not a
// field, not a comment, not the indenting.
func TestRoundTrip(t *testing.T) {
	files := inputs(t, "good")
	more, err := filepath.Glob(examplesFolder + "/[0-2]*.yaml")
	require.NoError(t, err)
	people, err := filepath.Glob("testdata/people/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, people)
	for _, file := range append(append(files, more...), people...) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			injected, stderr, err := run("", "-f", file, "--config", examplesFolder+"/config.yaml")
			require.NoError(t, err, stderr)
			back, stderr, err := uninject(injected, "-f", "-")
			require.NoError(t, err)
			assert.NotContains(t, stderr, "warning")
			assert.Equal(t, strings.Join(rewritten(t, file, string(text)), "---\n"), strings.Join(rewritten(t, file, back), "---\n"))

			again, _, err := uninject(back, "-f", "-")
			require.NoError(t, err)
			assert.Equal(t, back, again)
		})
	}
}

func TestUninjectOutputs(t *testing.T) {
	injected, _, err := run("", "-f", "testdata/good/deployment.yaml")
	require.NoError(t, err)
	difference, stderr, err := uninject(injected, "-f", "-", "--diff")
	require.NoError(t, err)
	golden.Check(t, "testdata/uninject.golden.diff", difference)
	assert.Equal(t, "standard input: document 2 (line 9): Deployment/web: taken out\n", stderr)

	asJSON, _, err := uninject(injected, "-f", "-", "-o", "json", "-q")
	require.NoError(t, err)
	assert.NotContains(t, asJSON, "mtls-certs")
	decoder := json.NewDecoder(strings.NewReader(asJSON))
	require.NoError(t, decoder.Decode(&map[string]any{}))

	patch, _, err := uninject(injected, "-f", "-", "-o", "patch", "-q")
	require.NoError(t, err)
	assert.Contains(t, patch, `{"op":"remove","path":"/spec/template/spec/volumes"}`)
}

func TestInjectDiff(t *testing.T) {
	difference, _, err := run("", "-f", "testdata/good/deployment.yaml", "--diff")
	require.NoError(t, err)
	golden.Check(t, "testdata/inject.golden.diff", difference)

	injected, _, err := run("", "-f", "testdata/good/deployment.yaml")
	require.NoError(t, err)
	difference, _, err = run(injected, "-f", "-", "--diff")
	require.NoError(t, err)
	assert.Empty(t, difference, "nothing is left to do")

	_, _, err = run("", "-f", "testdata/good/deployment.yaml", "--diff", "-o", "json")
	require.EqualError(t, err, "if any flags in the group [diff output] are set none of the others can be; [diff output] were all set")
}

// TestUninjectKeepsWhatWasChanged has a line changed by hand since.
func TestUninjectKeepsWhatWasChanged(t *testing.T) {
	injected, _, err := run("", "-f", "testdata/good/deployment.yaml")
	require.NoError(t, err)
	changed := strings.Replace(injected, "csi.cert-manager.io/duration: 2160h", "csi.cert-manager.io/duration: 48h", 1)
	require.NotEqual(t, injected, changed)
	stdout, stderr, err := uninject(changed, "-f", "-")
	require.NoError(t, err)
	assert.Contains(t, stdout, "csi.cert-manager.io/duration: 48h")
	assert.NotContains(t, stdout, "configMap")
	assert.Contains(t, stderr, `Deployment/web: volume "mtls-certs" was changed since it was injected, and stays`)
}

func TestUninjectFlags(t *testing.T) {
	for name, c := range map[string]struct {
		arguments []string
		want      string
	}{
		"no file":  {nil, "must specify with -f where to take it out"},
		"argument": {[]string{"pod.yaml"}, `unknown command "pod.yaml" for "uninject"`},
		"output":   {[]string{"-f", "-", "-o", "xml"}, `--output "xml": must be yaml, json or patch`},
		"input":    {[]string{"-f", "testdata/bad/syntax.yaml"}, "the input is wrong, so nothing was printed"},
		"types":    {[]string{"-f", "testdata/bad/types.yaml"}, "the input is wrong, so nothing was printed"},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, _, err := uninject("", c.arguments...)
			require.EqualError(t, err, c.want)
			assert.Empty(t, stdout)
		})
	}
	stdout, _, err := uninject("", cobra.ShellCompNoDescRequestCmd, "--output", "")
	require.NoError(t, err)
	assert.Equal(t, "yaml\njson\npatch\n:4\n", stdout)
}
