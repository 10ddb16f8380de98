package inject

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"example.io/mtls-injector/cmd/internal/golden"
	"example.io/mtls-injector/cmd/kubectl-mtls/files"
)

// run executes the command line with the standard input given.
func run(stdin string, arguments ...string) (stdout, stderr string, err error) {
	var out, errOut bytes.Buffer
	streams := genericiooptions.IOStreams{In: strings.NewReader(stdin), Out: &out, ErrOut: &errOut}
	cmd := NewCommand("v1.2.3", streams)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetOut(&out)
	cmd.SetErr(&errOut)
	cmd.SetArgs(append([]string{}, arguments...)) // nil would stand for the test's own
	err = cmd.Execute()
	return out.String(), errOut.String(), err
}

// inputs returns the files of a folder that are no goldens.
func inputs(t *testing.T, folder string) []string {
	t.Helper()
	all, err := filepath.Glob("testdata/" + folder + "/*.*")
	require.NoError(t, err)
	var files []string
	for _, file := range all {
		if !strings.Contains(file, ".golden.") {
			files = append(files, file)
		}
	}
	require.NotEmpty(t, files)
	return files
}

func TestInject(t *testing.T) {
	for _, file := range inputs(t, "good") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			stdout, stderr, err := run("", "-f", file)
			require.NoError(t, err)
			golden.Check(t, file+".golden.yaml", stdout)
			golden.Check(t, file+".golden.txt", stderr)

			again, stderr, err := run(stdout, "-f", "-")
			require.NoError(t, err)
			assert.Equal(t, stdout, again, "the second time nothing is left to do")
			assert.NotContains(t, stderr, ": injected")
		})
	}
}

// What kubectl makes of each form is the same.
func TestOutputFormsAgree(t *testing.T) {
	for _, file := range inputs(t, "good") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			asYAML, _, err := run("", "-f", file)
			require.NoError(t, err)
			asJSON, _, err := run("", "-f", file, "-o", "json")
			require.NoError(t, err)
			fromYAML, _, err := run(asYAML, "-f", "-", "-o", "json")
			require.NoError(t, err)
			assert.Equal(t, fromYAML, asJSON)

			fromJSON, stderr, err := run(asJSON, "-f", "-", "-o", "json")
			require.NoError(t, err)
			assert.Equal(t, asJSON, fromJSON)
			assert.NotContains(t, stderr, ": injected")
		})
	}
}

// Nothing to do is nothing printed, but for the documents themselves.
func TestNothingToDo(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "a: 1\n", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a}]}\n"} {
		stdout, _, err := run(text, "-f", "-")
		require.NoError(t, err)
		assert.Equal(t, text, stdout)
		stdout, _, err = run(text, "-f", "-", "-o", "patch")
		require.NoError(t, err)
		assert.Empty(t, stdout)
	}
}

func TestBadInputPrintsNothing(t *testing.T) {
	for _, file := range inputs(t, "bad") {
		for _, output := range []string{"yaml", "json", "patch"} {
			t.Run(filepath.Base(file)+" "+output, func(t *testing.T) {
				stdout, stderr, err := run("", "-f", file, "-f", "testdata/good/pod.yaml", "-q", "-o", output)
				require.EqualError(t, err, "the input is wrong, so nothing was printed")
				assert.Empty(t, stdout)
				golden.Check(t, file+".golden.txt", stderr)
			})
		}
	}
}

func TestNamespace(t *testing.T) {
	const manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: {mtls.example.io/role: client}}\nspec: {containers: [{name: a}]}\n"
	for name, c := range map[string]struct {
		manifest  string
		arguments []string
		want      string
	}{
		"none":           {manifest, nil, "spiffe://cluster.local/ns/default/sa/default"},
		"of the flag":    {manifest, []string{"-n", "shop"}, "spiffe://cluster.local/ns/shop/sa/default"},
		"of the object":  {strings.Replace(manifest, "name: a,", "name: a, namespace: data,", 1), nil, "spiffe://cluster.local/ns/data/sa/default"},
		"of both":        {strings.Replace(manifest, "name: a,", "name: a, namespace: data,", 1), []string{"-n", "data"}, "spiffe://cluster.local/ns/data/sa/default"},
		"trust domain":   {manifest, []string{"--config", "testdata/config.yaml"}, "spiffe://corp.example/ns/default/sa/default"},
		"issuer of file": {manifest, []string{"--config", "testdata/config.yaml"}, "csi.cert-manager.io/issuer-name: corp"},
		"version":        {manifest, nil, `{"version":"v1.2.3",`},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, _, err := run(c.manifest, append(c.arguments, "-f", "-")...)
			require.NoError(t, err)
			assert.Contains(t, stdout, c.want)
		})
	}
}

func TestNamespaceThatDoesNotMatch(t *testing.T) {
	stdout, stderr, err := run("", "-f", "testdata/good/statefulset.yaml", "-n", "data")
	require.EqualError(t, err, "the input is wrong, so nothing was printed")
	assert.Empty(t, stdout)
	assert.Equal(t, "error: testdata/good/statefulset.yaml: document 3 (line 27): Service/db: metadata.namespace: Invalid value: \"elsewhere\": "+
		"does not match the namespace of the command line, data\n"+
		"testdata/good/statefulset.yaml: document 1 (line 1): StatefulSet/db: injected with role both\n", stderr)
}

func TestNamespaceAnnotations(t *testing.T) {
	const manifest = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {mtls.example.io/role: none, mtls.example.io/env: curl}}\n---\n" +
		"apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop}\nspec: {containers: [{name: a}]}\n"

	_, stderr, err := run(manifest, "-f", "-")
	require.NoError(t, err)
	assert.Equal(t, "standard input: document 2 (line 5): Pod/a: left alone: the annotation mtls.example.io/role is \"none\"\n", stderr)

	stdout, _, err := run(manifest, "-f", "-", "--namespace-annotations", "mtls.example.io/role=client", "--namespace-annotations", "mtls.example.io/env=mtls,aws")
	require.NoError(t, err)
	assert.Contains(t, stdout, "AWS_CA_BUNDLE")
	assert.NotContains(t, stdout, "CURL_CA_BUNDLE", "the flag beats the object")

	_, stderr, err = run(manifest, "-f", "-", "--namespace-annotations", "mtls.example.io/role=x")
	require.Error(t, err)
	assert.Equal(t, "error: standard input: document 2 (line 5): Pod/a: namespace.metadata.annotations[mtls.example.io/role]: "+
		"Invalid value: \"x\": must be one of server, client, both, none\n", stderr)
}

func TestFlags(t *testing.T) {
	for name, c := range map[string]struct {
		arguments []string
		want      string
	}{
		"no file":            {nil, "must specify what to inject with -f"},
		"argument":           {[]string{"pod.yaml"}, `unknown command "pod.yaml" for "inject"`},
		"output":             {[]string{"-f", "-", "-o", "xml"}, `--output "xml": must be yaml, json or patch`},
		"namespace":          {[]string{"-f", "-", "-n", "No"}, `--namespace "No": must be the name of a namespace`},
		"annotation":         {[]string{"-f", "-", "--namespace-annotations", "role"}, `--namespace-annotations "role": must be KEY=VALUE`},
		"empty key":          {[]string{"-f", "-", "--namespace-annotations", "=x"}, `--namespace-annotations "=x": must be KEY=VALUE`},
		"several":            {[]string{"-o", "", "-n", "_"}, "must specify what to inject with -f\n--output \"\": must be yaml, json or patch\n--namespace \"_\": must be the name of a namespace"},
		"no version":         {[]string{"-f", "-", "--kubernetes-version", "newest"}, `--kubernetes-version: "newest" is no version of Kubernetes such as 1.29`},
		"configuration gone": {[]string{"-f", "-", "--config", "testdata/none.yaml"}, "configuration: open testdata/none.yaml: no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, err := run("", c.arguments...)
			require.EqualError(t, err, c.want)
			assert.Empty(t, stdout+stderr)
		})
	}
	_, _, err := run("", "-f", "-", "--namespace-annotations", "a b=c")
	require.ErrorContains(t, err, `--namespace-annotations: key "a b": name part must consist of`)
}

func TestFiles(t *testing.T) {
	const folder = "testdata/folder"
	for name, c := range map[string]struct {
		arguments []string
		want      string
	}{
		"file by any name": {[]string{"-f", folder + "/notes.txt"}, "no: manifest\n"},
		"in order given":   {[]string{"-f", folder + "/b.yml", "-f", "-", "-f", folder + "/a.yaml"}, "b: 2\n---\nin: 0\n---\na: 1\n"},
		"folder":           {[]string{"-f", folder}, "a: 1\n---\nb: 2\n"},
		"folders in it":    {[]string{"-R", "-f", folder}, "a: 1\n---\nb: 2\n---\nc: 3\n"},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, err := run("in: 0\n", c.arguments...)
			require.NoError(t, err)
			assert.Equal(t, c.want, stdout)
			assert.Empty(t, stderr)
		})
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	empty := t.TempDir()
	for name, c := range map[string]struct {
		arguments []string
		want      string
	}{
		"gone":        {[]string{"-f", "testdata/gone.yaml"}, "stat testdata/gone.yaml: no such file or directory"},
		"empty":       {[]string{"-f", empty}, empty + ": no files that end with .yaml, .yml, .json"},
		"address":     {[]string{"-f", "https://example.com/a.yaml"}, "https://example.com/a.yaml: addresses are not read; fetch it and give it with -f -"},
		"stdin twice": {[]string{"-f", "-", "-f", "-"}, "the standard input can be given only once"},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, err := run("a: 1\n", c.arguments...)
			require.EqualError(t, err, "the input is wrong, so nothing was printed")
			assert.Equal(t, "error: "+c.want+"\n", stderr)
			assert.Empty(t, stdout)
		})
	}
}

func TestStreamsThatFail(t *testing.T) {
	var stderr bytes.Buffer
	o := &Options{Options: files.Options{Filenames: []string{"-"}}, printer: printer{Output: outputYAML}}
	o.In, o.ErrOut = iotest.ErrReader(errors.New("line is down")), &stderr
	require.NoError(t, o.Complete())
	require.EqualError(t, o.Run(), "the input is wrong, so nothing was printed")
	assert.Equal(t, "error: line is down\n", stderr.String())

	for _, output := range []string{outputYAML, outputJSON, outputPatch} {
		o = &Options{Options: files.Options{Filenames: []string{"testdata/good/pod.yaml"}}, printer: printer{Output: output}}
		o.Out, o.ErrOut = brokenWriter{}, &stderr
		require.NoError(t, o.Complete())
		assert.EqualError(t, o.Run(), "disk full", output)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestCompletion(t *testing.T) {
	for _, c := range [][]string{{"--output", "", "yaml\njson\npatch\n:4\n"}, {"--config", "", "yaml\nyml\njson\n:8\n"}, {"--filename", "", "yaml\nyml\njson\n:8\n"}} {
		stdout, _, err := run("", cobra.ShellCompNoDescRequestCmd, c[0], c[1])
		require.NoError(t, err)
		assert.Equal(t, c[2], stdout, c[0])
	}
}

// What a cluster has decides: sleep actions and native sidecars.
func TestKubernetesVersion(t *testing.T) {
	pod := func(annotation string) string {
		return "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  annotations:\n    mtls.example.io/role: server\n" + annotation +
			"spec:\n  containers:\n    - name: web\n      image: web\n"
	}
	const agent = "    mtls.example.io/agent: \"true\"\n"
	for name, c := range map[string]struct {
		arguments        []string
		manifest         string
		stdout, stderr   string
		refused, warning bool
	}{
		"newest":             {nil, pod(agent), "preStop: sleep: seconds: 10", "", false, false},
		"1.30":               {[]string{"--kubernetes-version", "1.30"}, pod(agent), "preStop: sleep: seconds: 10", "", false, false},
		"before sleep":       {[]string{"--kubernetes-version", "v1.29.6"}, pod(agent), `preStop: exec: command: - sleep - "10"`, "runs the program sleep in the container", false, true},
		"before the sidecar": {[]string{"--kubernetes-version", "1.28"}, pod(agent), "", "needs the agent, a native sidecar, which Kubernetes has from 1.29 on, and this is 1.28", true, false},
		"without an agent":   {[]string{"--kubernetes-version", "1.28"}, pod(""), `preStop: exec: command: - sleep - "10"`, "runs the program sleep in the container", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, err := run(c.manifest, append([]string{"-f", "-"}, c.arguments...)...)
			assert.Equal(t, c.refused, err != nil)
			assert.Contains(t, strings.Join(strings.Fields(stdout), " "), c.stdout)
			assert.Contains(t, stderr, c.stderr)
			assert.Equal(t, c.warning, strings.Contains(stderr, "warning: ") && strings.Contains(stderr, "program sleep"))
		})
	}
}
