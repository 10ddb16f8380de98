package manifest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gomodules.xyz/jsonpatch/v2"
)

// add sets the field "new" of the object to 1.
func add(t *testing.T, o *Object) {
	t.Helper()
	require.NoError(t, o.Patch(nil, []jsonpatch.Operation{operation("add", "/new", 1)}))
}

// Separators, comments between documents and their order stay, whichever documents change.
func TestWriteSomeChanged(t *testing.T) {
	const text = "# file\n---\n# one\nkind:   A\n--- # two\nkind:   B # b\n---\n# nothing\n---\nkind:   C"
	for name, c := range map[string]struct {
		changed []int
		want    string
	}{
		"none":   {nil, text},
		"first":  {[]int{0}, "# file\n---\n# one\nkind: A\nnew: 1\n--- # two\nkind:   B # b\n---\n# nothing\n---\nkind:   C"},
		"middle": {[]int{1}, "# file\n---\n# one\nkind:   A\n--- # two\nkind: B # b\nnew: 1\n---\n# nothing\n---\nkind:   C"},
		"last":   {[]int{2}, "# file\n---\n# one\nkind:   A\n--- # two\nkind:   B # b\n---\n# nothing\n---\nkind: C\nnew: 1\n"},
		"all":    {[]int{0, 1, 2}, "# file\n---\n# one\nkind: A\nnew: 1\n--- # two\nkind: B # b\nnew: 1\n---\n# nothing\n---\nkind: C\nnew: 1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			docs := read(t, text)
			var all []*Object
			for _, d := range docs {
				all = append(all, d.Objects()...)
			}
			require.Len(t, all, 3)
			for _, i := range c.changed {
				add(t, all[i])
			}
			assert.Equal(t, c.want, asYAML(t, docs))
		})
	}
}

func TestWriteSeveralFiles(t *testing.T) {
	for name, c := range map[string]struct {
		files []string
		want  string
	}{
		"separator between":        {[]string{"a: 1\n", "b: 2\n"}, "a: 1\n---\nb: 2\n"},
		"line end between":         {[]string{"a: 1", "b: 2"}, "a: 1\n---\nb: 2"},
		"separator is there":       {[]string{"a: 1\n", "---\nb: 2\n"}, "a: 1\n---\nb: 2\n"},
		"separator at the end":     {[]string{"a: 1\n---\n", "b: 2\n"}, "a: 1\n---\n---\nb: 2\n"},
		"separator without end":    {[]string{"a: 1\n---", "b: 2\n"}, "a: 1\n---\n---\nb: 2\n"},
		"JSON and YAML":            {[]string{`{"a": 1}`, "b: 2\n", "{\"c\": 3}\n{\"d\": 4}"}, "a: 1\n---\nb: 2\n---\nc: 3\n---\nd: 4\n"},
		"a file of nothing":        {[]string{"a: 1\n", "", "b: 2\n"}, "a: 1\n---\n---\nb: 2\n"},
		"JSON with a separator":    {[]string{"---\n{\"a\": 1}\n---\n{\"b\": 2}\n"}, "---\na: 1\n---\nb: 2\n"},
		"comments that end a file": {[]string{"a: 1\n# end", "b: 2\n"}, "a: 1\n# end\n---\nb: 2\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var docs []*Document
			for _, file := range c.files {
				docs = append(docs, read(t, file)...)
			}
			got := asYAML(t, docs)
			assert.Equal(t, c.want, got)
			assert.Equal(t, asJSON(t, docs), asJSON(t, read(t, got)), "it means the same when it is read again")
		})
	}
}

// Some text is easily damaged on the way through YAML.
func TestTextsSurviveAChange(t *testing.T) {
	for name, scalar := range map[string]string{
		"block":                   "|\n  a\n\n  b\n",
		"block that keeps":        "|+\n  a\n\n",
		"block that strips":       "|-\n  a\n  b\n",
		"block, indented deeper":  "|2\n    a\n  b\n",
		"folded":                  ">\n  a\n  b\n\n  c\n",
		"folded, indented deeper": ">\n  a\n\n    b\n  c\n",
		"single quotes":           "'it''s # no comment'\n",
		"double quotes":           `"tab\there \u263a \\ \"x\""` + "\n",
		"plain over lines":        "a\n  b\n\n  c\n",
		"trailing spaces":         "\"a  \"\n",
		"looks like a number":     "'1e3'\n",
		"looks like a boolean":    "\"no\"\n",
		"looks like null":         "'~'\n",
		"looks like a date":       "2001-01-01\n",
		"looks like a comment":    "'# a'\n",
		"looks like a mapping":    "'a: b'\n",
		"looks like a separator":  "|\n  a\n  ---\n  b\n",
		"empty":                   "''\n",
		"only a line end":         "\"\\n\"\n",
		"carriage return":         "\"a\\r\\nb\"\n",
		"wide characters":         "日本語 ☺\n",
		"byte order mark":         "\"\\ufeffa\"\n",
		"very long":               "'" + strings.Repeat("word ", 200) + "'\n",
	} {
		t.Run(name, func(t *testing.T) {
			docs := read(t, "kind: X\ntext: "+scalar)
			object := docs[0].Objects()[0]
			before, err := object.JSON("text")
			require.NoError(t, err)
			add(t, object)
			written := asYAML(t, docs)
			after, err := read(t, written)[0].Objects()[0].JSON("text")
			require.NoError(t, err)
			assert.Equal(t, string(before), string(after), "written as %s", written)
		})
	}
}

// Texts that a patch brings in are texts to every reader, also to one of YAML 1.1.
func TestTextsOfPatches(t *testing.T) {
	for _, text := range []string{
		"on", "No", "y", "~", "null", "true", "1", "1.5", "0x1", "0777", "1_000", "1e3", ".inf", "12:30:45", "2001-01-01", "=", "<<", "", " a", "a ",
		"# a", "a: b", "- a", "a\nb\n", "\t", "{a}", "[a]", "&a", "*a", "!a", "|", ">", "%a", "@a", "`a`", `"a"`, "'a'", `{"a":"b"}`, "a,b", "\u2028", "\x00",
	} {
		docs := read(t, "kind: X\n")
		object := docs[0].Objects()[0]
		require.NoError(t, object.Patch(nil, []jsonpatch.Operation{operation("add", "/text", text)}))
		data, err := read(t, asYAML(t, docs))[0].Objects()[0].JSON("text")
		require.NoError(t, err)
		want := asText(t, text)
		assert.Equal(t, want, string(data), "written as %s", asYAML(t, docs))
	}
}

// asText returns the text in JSON as kubectl reads it from our output.
func asText(t *testing.T, text string) string {
	t.Helper()
	node, err := valueNode(text)
	require.NoError(t, err)
	assert.Equal(t, "!!str", node.ShortTag(), text)
	data, err := meaning(node)
	require.NoError(t, err)
	unquoted := value(t, data)
	require.IsType(t, "", unquoted, text)
	require.Equal(t, text, unquoted)
	data, err = nodeJSON(node)
	require.NoError(t, err)
	return string(data)
}

// A key of JSON that YAML would take for a merge stays a key.
func TestMergeKeyOfJSON(t *testing.T) {
	docs := read(t, `{"kind": "X", "<<": {"a": "<<"}}`)
	assert.Equal(t, "kind: X\n\"<<\":\n  a: \"<<\"\n", asYAML(t, docs))
	assert.Equal(t, asJSON(t, docs), asJSON(t, read(t, asYAML(t, docs))))
}
