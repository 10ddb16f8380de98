package manifest

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	sigsyaml "sigs.k8s.io/yaml"
)

// tree returns the root of the only document, as it is when it has been read.
func tree(t *testing.T, text string) *yaml.Node {
	t.Helper()
	docs := read(t, text)
	require.Len(t, docs, 1)
	require.NotNil(t, docs[0].root)
	return docs[0].root.Content[0]
}

func TestMergeKeys(t *testing.T) {
	const base = "a: &a {x: 1, q: 1}\nb: &b {q: 2, z: 2}\nm: "
	for name, c := range map[string]struct{ mapping, want string }{
		"one":                      {"{<<: *a}", `{"x":1,"q":1}`},
		"own key before":           {"{x: 0, <<: *a}", `{"x":1,"q":1}`},
		"own key behind":           {"{<<: *a, x: 0}", `{"x":0,"q":1}`},
		"several, the first wins":  {"{<<: [*a, *b]}", `{"q":1,"z":2,"x":1}`},
		"several, turned around":   {"{<<: [*b, *a]}", `{"x":1,"q":2,"z":2}`},
		"inline":                   {"{<<: {x: 3}, q: 0}", `{"x":3,"q":0}`},
		"inline and alias":         {"{<<: [{x: 3}, *a]}", `{"x":3,"q":1}`},
		"two merge keys":           {"{<<: *a, k: {<<: *b}}", `{"x":1,"q":1,"k":{"q":2,"z":2}}`},
		"null":                     {"{x: {y1: 1}, <<: {x: }}", `{"x":null}`},
		"quoted, so no merge":      {`{"<<": 1}`, `{"<<":1}`},
		"nested":                   {"{k: {<<: *a}}", `{"k":{"x":1,"q":1}}`},
		"mapping that merges":      {"{<<: &c {<<: *a, z: 3}}", `{"x":1,"q":1,"z":3}`},
		"what is merged is copied": {"{<<: *a, o: *a}", `{"x":1,"q":1,"o":{"x":1,"q":1}}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := nodeJSON(lookup(tree(t, base+c.mapping), "m"))
			require.NoError(t, err)
			assert.Equal(t, c.want, string(got))

			kubectl, err := sigsyaml.YAMLToJSON([]byte(base + c.mapping))
			require.NoError(t, err)
			all, err := nodeJSON(tree(t, base+c.mapping))
			require.NoError(t, err)
			assert.JSONEq(t, string(kubectl), string(all))
		})
	}
}

func TestTreesHaveNeitherAliasesNorAnchors(t *testing.T) {
	root := tree(t, "a: &a\n  - &b {c: &c d}\n  - *b # twice\ne: {<<: *b}\n")
	var visit func(node *yaml.Node)
	visit = func(node *yaml.Node) {
		assert.NotEqual(t, yaml.AliasNode, node.Kind)
		assert.Empty(t, node.Anchor)
		assert.Nil(t, node.Alias)
		for _, child := range node.Content {
			visit(child)
		}
	}
	visit(root)
	items := lookup(root, "a").Content
	assert.NotSame(t, items[0], items[1], "a change of one must not be a change of both")
	assert.NotSame(t, items[0].Content[0], items[1].Content[0])
}

func TestLookup(t *testing.T) {
	root := tree(t, "a: {b: {c: 1}}\non: switch\n1.50: number\nlist: [1]\n")
	for name, c := range map[string]struct {
		path []string
		want string
	}{
		"nothing asked":     {nil, "!!map"},
		"deep":              {[]string{"a", "b", "c"}, "1"},
		"a boolean to 1.1":  {[]string{"true"}, "switch"},
		"a number":          {[]string{"1.5"}, "number"},
		"not there":         {[]string{"b"}, ""},
		"below what is not": {[]string{"b", "c"}, ""},
		"below a scalar":    {[]string{"a", "b", "c", "d"}, ""},
		"below a sequence":  {[]string{"list", "0"}, ""},
		"as it is written":  {[]string{"on"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := lookup(root, c.path...)
			if c.want == "" {
				assert.Nil(t, got)
				return
			}
			require.NotNil(t, got)
			if got.Kind == yaml.MappingNode {
				assert.Equal(t, c.want, got.ShortTag())
				return
			}
			assert.Equal(t, c.want, got.Value)
		})
	}
}

func TestTextAt(t *testing.T) {
	root := tree(t, "kind: Pod\nquoted: '1'\nnumber: 1\nmap: {a: b}\ntagged: !!str 1\nnull:\n")
	assert.Equal(t, "Pod", textAt(root, "kind"))
	assert.Equal(t, "1", textAt(root, "quoted"))
	assert.Equal(t, "1", textAt(root, "tagged"))
	assert.Equal(t, "b", textAt(root, "map", "a"))
	for _, key := range []string{"number", "map", "null", "none"} {
		assert.Empty(t, textAt(root, key), key)
	}
}

func TestNumbersKeepTheirForm(t *testing.T) {
	for _, number := range []string{"0", "-1", "1.0", "1.50", "1e3", "1E+3", "0.1e-7", "12345678901234567890123", "-0"} {
		got, err := nodeJSON(tree(t, "[ "+number+" ]"))
		require.NoError(t, err)
		assert.Equal(t, "["+number+"]", string(got))
	}
	for text, want := range map[string]string{"0x10": "16", "010": "8", "1_000": "1000", "+1": "1", ".5": "0.5", "1e400": `"1e400"`, "0b11": "3"} {
		got, err := nodeJSON(tree(t, "[ "+text+" ]"))
		require.NoError(t, err)
		assert.Equal(t, "["+want+"]", string(got), text)
	}
}

func TestSplit(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []chunk
	}{
		"empty":              {"", []chunk{{line: 1}}},
		"one":                {"a\nb\n", []chunk{{text: "a\nb\n", line: 1}}},
		"two":                {"a\n---\nb", []chunk{{text: "a\n", line: 1}, {separator: "---\n", text: "b", line: 3}}},
		"separator at first": {"---\na\n", []chunk{{separator: "---\n", text: "a\n", line: 2}}},
		"comment behind":     {"a\n--- # b\nc\n", []chunk{{text: "a\n", line: 1}, {separator: "--- # b\n", text: "c\n", line: 3}}},
		"spaces behind":      {"a\n---  \r\nc\n", []chunk{{text: "a\n", line: 1}, {separator: "---  \r\n", text: "c\n", line: 3}}},
		"nothing behind":     {"a\n---", []chunk{{text: "a\n", line: 1}, {separator: "---", line: 3}}},
		"text behind":        {"a\n---b\n--- c\n", []chunk{{text: "a\n---b\n--- c\n", line: 1}}},
		"indented":           {"a: |\n ---\n", []chunk{{text: "a: |\n ---\n", line: 1}}},
		"blank line first":   {"\n---\na\n", []chunk{{text: "\n", line: 1}, {separator: "---\n", text: "a\n", line: 3}}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, c.want, split(c.text))
		})
	}
}

func TestMeasure(t *testing.T) {
	for name, c := range map[string]struct {
		text             string
		indent, sequence int
	}{
		"flat":                 {"a: 1\n", 0, -1},
		"two and compact":      {"a:\n  b:\n  - c\n", 2, 0},
		"four and indented":    {"a:\n    b:\n      - c\n", 4, 2},
		"flow says nothing":    {"a: {b: [c]}\n", 0, -1},
		"anchors say nothing":  {"a: &a\n  b: &b\n  - c\n", 0, -1},
		"the first one counts": {"a:\n   b: 1\nc:\n     d: 1\n", 3, -1},
		"below a sequence":     {"- a:\n    b: 1\n", 2, -1},
		"JSON":                 {`{"a": {"b": [1]}}`, 0, -1},
	} {
		t.Run(name, func(t *testing.T) {
			indent, sequence := 0, -1
			measure(read(t, c.text)[0].root, &indent, &sequence)
			assert.Equal(t, [2]int{c.indent, c.sequence}, [2]int{indent, sequence})
		})
	}
}

// The goldens are what they were made from, changed only where the patch says so: lines
// that are not touched stand there letter by letter.
func TestUntouchedLinesStay(t *testing.T) {
	after, err := os.ReadFile("testdata/compact.golden.yaml")
	require.NoError(t, err)
	for _, line := range []string{
		"# About the object.", "  # before labels", "  labels: {app: web}", "  unknownField: {b: 1, a: 2}",
		`    command: ["sh", '-c', "echo $1"]`, "    script: |", "      #!/bin/sh", `      echo "--"`, "    value: yes", "    number: 1.50",
		"    big: 12345678901234567890123", "  # before two", "# The tail.",
	} {
		assert.Contains(t, string(after), "\n"+line+"\n", line)
	}
}
