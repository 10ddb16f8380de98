package inject

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	evanphx "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"example.io/mtls-injector/cmd/kubectl-mtls/manifest"
)

// patchLine is a line of -o patch.
type patchLine struct {
	File     string
	Document int
	Target   target
	Patch    evanphx.Patch
}

func patchLines(t *testing.T, arguments ...string) []patchLine {
	t.Helper()
	stdout, _, err := run("", append(arguments, "-o", "patch", "-q")...)
	require.NoError(t, err)
	var lines []patchLine
	for line := range strings.Lines(stdout) {
		var p patchLine
		require.NoError(t, json.Unmarshal([]byte(line), &p))
		lines = append(lines, p)
	}
	return lines
}

// The printed patches, applied by somebody else, do what -o yaml does.
func TestPatchOutput(t *testing.T) {
	for _, file := range inputs(t, "good") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			patches := map[target]evanphx.Patch{}
			for _, line := range patchLines(t, "-f", file) {
				assert.Equal(t, file, line.File)
				assert.Positive(t, line.Document)
				patches[line.Target] = line.Patch
			}
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			injected, _, err := run("", "-f", file, "-q")
			require.NoError(t, err)
			before, after := objects(t, string(text)), objects(t, injected)
			require.Len(t, after, len(before))
			for i, o := range before {
				data, err := o.JSON()
				require.NoError(t, err)
				version := schema.FromAPIVersionAndKind(o.APIVersion, o.Kind)
				key := target{Group: version.Group, Version: version.Version, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}
				if patch, found := patches[key]; found {
					data, err = patch.Apply(data)
					require.NoError(t, err)
					delete(patches, key)
				}
				want, err := after[i].JSON()
				require.NoError(t, err)
				assert.JSONEq(t, string(want), string(data), o.String())
			}
			assert.Empty(t, patches, "every patch has its object")
		})
	}
}

func objects(t *testing.T, text string) []*manifest.Object {
	t.Helper()
	docs, errs := manifest.Read("text", []byte(text))
	require.Empty(t, errs)
	var all []*manifest.Object
	for _, d := range docs {
		all = append(all, d.Objects()...)
	}
	return all
}

func TestPatchOutputIsALineForEachObject(t *testing.T) {
	var got []string
	for _, line := range patchLines(t, "-f", "testdata/good/list.yaml", "-f", "testdata/good/statefulset.yaml", "-f", "testdata/good/pod.yaml") {
		path, err := line.Patch[0].Path()
		require.NoError(t, err)
		got = append(got, fmt.Sprintf("%s %d %v %s", filepath.Base(line.File), line.Document, line.Target, path))
	}
	assert.Equal(t, []string{
		"list.yaml 1 {apps v1 Deployment shop cart} /spec/template/metadata",
		"list.yaml 1 { v1 Pod shop loud} /spec/volumes",
		"statefulset.yaml 1 {apps v1 StatefulSet data db} /spec/template/spec/volumes",
		"pod.yaml 1 { v1 Pod  debug} /spec/volumes",
	}, got)
}
