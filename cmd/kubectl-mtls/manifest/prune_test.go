package manifest

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gomodules.xyz/jsonpatch/v2"
)

func TestPrune(t *testing.T) {
	for name, c := range map[string]struct {
		text   string
		remove []string
		want   string
		pruned []string
	}{
		"a list":          {"kind: X\nspec: {a: [1], b: 2}\n", []string{"/spec/a/0"}, "kind: X\nspec: {b: 2}\n", []string{"/spec/a"}},
		"all above":       {"kind: X\nspec: {a: {b: {c: 1}}}\n", []string{"/spec/a/b/c"}, "kind: X\n", []string{"/spec/a/b", "/spec/a", "/spec"}},
		"not all":         {"kind: X\nspec: {a: [1, 2]}\n", []string{"/spec/a/0"}, "kind: X\nspec: {a: [2]}\n", nil},
		"an item":         {"kind: X\nlist: [{a: 1}]\n", []string{"/list/0/a"}, "kind: X\nlist: [{}]\n", nil},
		"with another":    {"kind: X\nspec: {a: [1, 2]}\n", []string{"/spec/a/1", "/spec/a/0"}, "kind: X\n", []string{"/spec/a", "/spec"}},
		"empty and own":   {"kind: X\nspec: {own: [], a: 1}\n", []string{"/spec/a"}, "kind: X\nspec: {own: []}\n", nil},
		"a comment stays": {"kind: X\nspec:\n  # why\n  keep: 1\n  a: [1]\n", []string{"/spec/a/0"}, "kind: X\nspec:\n  # why\n  keep: 1\n", []string{"/spec/a"}},
	} {
		t.Run(name, func(t *testing.T) {
			docs := read(t, c.text)
			object := docs[0].Objects()[0]
			var removals []jsonpatch.Operation
			for _, path := range c.remove {
				removals = append(removals, operation("remove", path, nil))
			}
			require.NoError(t, object.Patch(nil, removals))
			pruned, err := object.Prune(nil, removals)
			require.NoError(t, err)
			var paths []string
			for _, op := range pruned {
				assert.Equal(t, "remove", op.Operation)
				paths = append(paths, op.Path)
			}
			assert.Equal(t, c.pruned, paths)
			assert.Equal(t, c.want, asYAML(t, docs))
		})
	}
}

func TestTextAndPlace(t *testing.T) {
	docs, errs := Read("f.yaml", []byte("kind: List\nitems:\n- kind: A\n\n  metadata: {name: a}\n---\n# only\n"))
	require.Empty(t, errs)
	text, err := docs[0].Text()
	require.NoError(t, err)
	assert.Equal(t, "kind: List\nitems:\n- kind: A\n  metadata: {name: a}\n", text)
	assert.Equal(t, "f.yaml: document 1 (line 1): items[0]: A/a", docs[0].Objects()[0].Place())
	text, err = docs[1].Text()
	require.NoError(t, err)
	assert.Equal(t, "# only\n", text)
}
