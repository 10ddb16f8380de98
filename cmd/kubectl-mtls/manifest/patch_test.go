package manifest

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gomodules.xyz/jsonpatch/v2"

	"example.io/mtls-injector/cmd/internal/golden"
)

// The goldens show what a change does to the text around it.
func TestPatchedYAML(t *testing.T) {
	operations := []jsonpatch.Operation{
		operation("add", "/metadata/annotations", map[string]string{"json": `{"a":"b"}`, "looks/like": "on", "n": "010"}),
		operation("add", "/spec/list/-", struct {
			Name  string `json:"name"`
			Value any    `json:"value"`
		}{"last", []any{true, nil, 1.5, "two\nlines\n"}}),
		operation("add", "/spec/list/0", map[string]any{"name": "first"}),
		operation("replace", "/spec/replicas", 2),
		operation("remove", "/spec/old", nil),
		operation("add", "/spec/empty/now", "filled"),
	}
	for _, name := range []string{"compact", "indented", "wide", "flow", "aliases"} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile("testdata/" + name + ".yaml")
			require.NoError(t, err)
			docs := read(t, string(text))
			object := docs[0].Objects()[0]
			before, err := object.JSON()
			require.NoError(t, err)
			require.NoError(t, object.Patch(nil, operations))

			after, err := object.JSON()
			require.NoError(t, err)
			assert.JSONEq(t, patchedByLibrary(t, before, operations), string(after))
			golden.Check(t, "testdata/"+name+".golden.yaml", asYAML(t, docs))
			again, err := read(t, asYAML(t, docs))[0].Objects()[0].JSON()
			require.NoError(t, err)
			assert.Equal(t, string(after), string(again), "what was written means the same")
		})
	}
}

func TestPatchBelowAPath(t *testing.T) {
	docs := read(t, "kind: X\nspec: {template: {a: 1}}\n---\nkind: Y\nb:   2\n")
	object := docs[0].Objects()[0]

	require.NoError(t, object.Patch([]string{"spec", "template"}, []jsonpatch.Operation{operation("add", "/b~1c", 2)}))
	assert.Equal(t, "kind: X\nspec: {template: {a: 1, b/c: 2}}\n---\nkind: Y\nb:   2\n", asYAML(t, docs))

	err := object.Patch([]string{"spec", "other"}, []jsonpatch.Operation{operation("add", "/b", 2)})
	assert.EqualError(t, err, "X has no spec.other")
	require.NoError(t, object.Patch([]string{"spec", "other"}, nil), "nothing to do is no error")
}

func TestPatchErrors(t *testing.T) {
	for name, c := range map[string]struct {
		op   jsonpatch.Operation
		want string
	}{
		"root":             {operation("replace", "", 1), "replace : must be a JSON pointer below the root"},
		"no pointer":       {operation("add", "list", 1), "add list: must be a JSON pointer below the root"},
		"no parent":        {operation("add", "/no/x", 1), `add /no/x: "no" does not exist`},
		"no such field":    {operation("replace", "/no", 1), `replace /no: "no" does not exist`},
		"nothing there":    {operation("remove", "/no", nil), `remove /no: "no" does not exist`},
		"past the end":     {operation("add", "/list/3", 1), `add /list/3: "3" is no index of the array`},
		"replace past":     {operation("replace", "/list/2", 1), `replace /list/2: "2" is no index of the array`},
		"leading zero":     {operation("remove", "/list/01", nil), `remove /list/01: "01" is no index of the array`},
		"below past":       {operation("add", "/list/2/x", 1), `add /list/2/x: "2" is no index of the array`},
		"below a scalar":   {operation("add", "/kind/x", 1), "add /kind/x: the parent is neither an object nor an array"},
		"through a scalar": {operation("add", "/kind/x/y", 1), `add /kind/x/y: "x" does not exist`},
		"unknown":          {operation("move", "/list/0", nil), "move /list/0: unknown operation"},
		"unfit value":      {operation("add", "/x", func() {}), "add /x: json: unsupported type: func()"},
	} {
		t.Run(name, func(t *testing.T) {
			object := read(t, "kind: X\nlist: [1, 2]\n")[0].Objects()[0]
			err := object.Patch(nil, []jsonpatch.Operation{c.op})
			assert.EqualError(t, err, "patching X: "+c.want)
		})
	}
}
