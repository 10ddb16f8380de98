package manifest

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gomodules.xyz/jsonpatch/v2"
)

// read returns the documents of a text that has no mistakes.
func read(t *testing.T, text string) []*Document {
	t.Helper()
	docs, errs := Read("in.yaml", []byte(text))
	require.Empty(t, errs)
	return docs
}

func asYAML(t *testing.T, docs []*Document) string {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, WriteYAML(&out, docs))
	return out.String()
}

func asJSON(t *testing.T, docs []*Document) string {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, WriteJSON(&out, docs))
	return out.String()
}

func operation(op, path string, value any) jsonpatch.Operation {
	return jsonpatch.Operation{Operation: op, Path: path, Value: value}
}

func TestUnchangedYAMLIsWrittenAsRead(t *testing.T) {
	for name, text := range map[string]string{
		"one":                    "a: 1\n",
		"no last line end":       "a: 1\n---\nb: 2",
		"comments and anchors":   "# head\na: &x {b: yes}  # tail\nc: *x\n\n\nd:   1.0\n",
		"separators":             "---\n# Source: chart/a.yaml\na: 1\n--- # second\nb: 2\n---\n---\n# nothing\n",
		"Windows line ends":      "a: 1\r\n---\r\nb: 2\r\n",
		"not an object":          "- 1\n---\ntext\n---\nnull\n",
		"a line in a text block": "a: |\n  ---\n  b\n---\nc: 3\n",
		"empty":                  "",
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, text, asYAML(t, read(t, text)))
		})
	}
}

func TestReadTellsWhereDocumentsStand(t *testing.T) {
	docs := read(t, "# only a comment\n---\n# about a\n\na: 1\n---\n{\"b\": 1}\n{\"c\": 1}\n---\n---\nd: 1\n")
	var got []string
	for _, d := range docs {
		if d.root != nil {
			got = append(got, d.String())
		}
	}
	assert.Equal(t, []string{
		"in.yaml: document 1 (line 5)",
		"in.yaml: document 2 (line 7)",
		"in.yaml: document 3 (line 8)",
		"in.yaml: document 4 (line 11)",
	}, got)
}

func TestReadErrors(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"syntax": {
			"a: 1\n---\nb: [1\nc: 2\n",
			`in.yaml: document 2 (line 3): yaml: line 2: did not find expected ',' or ']'`,
		},
		"repeated key": {
			"a: 1\n---\nb: 1\nc: 1\nb: 2\n",
			"in.yaml: document 2 (line 3): yaml: unmarshal errors:\n  line 5: mapping key \"b\" already defined at line 3",
		},
		"repeated key in JSON": {
			`{"a": 1, "a": 2}`,
			"in.yaml: document 1 (line 1): yaml: unmarshal errors:\n  line 1: mapping key \"a\" already defined at line 1",
		},
		"unfinished JSON": {
			`{"a": 1`,
			`in.yaml: document 1 (line 1): yaml: line 1: did not find expected ',' or '}'`,
		},
		"alias to itself": {
			"a: &x\n  b: *x\n",
			"in.yaml: document 1 (line 1): yaml: anchor 'x' value contains itself",
		},
		"unknown alias": {
			"a: *x\n",
			"in.yaml: document 1 (line 1): yaml: unknown anchor 'x' referenced",
		},
		"two documents in one": {
			"a: 1\n--- {b: 2}\n",
			"in.yaml: document 1 (line 1): line 2: a second document without a line \"---\" before it",
		},
		"key that is no text": {
			"[1]: 2\n",
			"in.yaml: document 1 (line 1): yaml: invalid map key: []interface {}{1}",
		},
		"wrong tag": {
			"a: !!bool yes\n",
			"in.yaml: document 1 (line 1): yaml: cannot decode !!str `yes` as a !!bool",
		},
		"rubbish behind the end": {
			"a: 1\n...\nb: 2\n",
			"in.yaml: document 1 (line 1): yaml: line 2: did not find expected <document start>",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, errs := Read("in.yaml", []byte(c.text))
			require.Len(t, errs, 1)
			assert.EqualError(t, errs[0], c.want)
		})
	}
}

func TestReadGoesOnAfterAnError(t *testing.T) {
	docs, errs := Read("in.yaml", []byte("a: [\n---\nb: 1\n---\nc: [\n"))
	require.Len(t, errs, 2)
	assert.Contains(t, errs[1].Error(), "in.yaml: document 3 (line 5): ")
	require.Len(t, docs, 1)
	assert.Equal(t, "in.yaml: document 2 (line 3)", docs[0].String())
}

func TestAliasesThatMultiplyAreRefused(t *testing.T) {
	text := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 9 {
		n := string(rune('0' + i))
		next := string(rune('1' + i))
		text += "a" + next + ": &a" + next + " [" + strings.Repeat("*a"+n+", ", 9) + "*a" + n + "]\n"
	}
	_, errs := Read("in.yaml", []byte(text))
	require.Len(t, errs, 1)
	assert.EqualError(t, errs[0], "in.yaml: document 1 (line 1): yaml: document contains excessive aliasing")
}

func TestObjects(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"object":  {"{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}}", []string{" apps/v1 apps shop Deployment/web"}},
		"unnamed": {"{apiVersion: v1, kind: Pod}", []string{" v1   Pod"}},
		"list of any": {
			"{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Pod, metadata: {name: a}}, {x: 1}, {apiVersion: batch/v1, kind: Job, metadata: {name: b}}]}",
			[]string{"items[0] v1   Pod/a", "items[2] batch/v1 batch  Job/b"},
		},
		"typed list without kinds": {
			"{apiVersion: apps/v1, kind: DeploymentList, items: [{metadata: {name: a}}]}",
			[]string{"items[0] apps/v1 apps  Deployment/a"},
		},
		"list in a list": {
			"{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: PodList, items: [{metadata: {name: a}}]}]}",
			[]string{"items[0].items[0] v1   Pod/a"},
		},
		"empty list":                {"{apiVersion: v1, kind: List, items: []}", nil},
		"kind that ends like lists": {"{apiVersion: x.io/v1, kind: AccessList, metadata: {name: a}}", []string{" x.io/v1 x.io  AccessList/a"}},
		"name that is no text":      {"{apiVersion: v1, kind: Pod, metadata: {name: 1}}", []string{" v1   Pod"}},
		"no kind":                   {"{a: 1}", nil},
		"no mapping":                {"[1]", nil},
		"nothing":                   {"# nothing", nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, d := range read(t, c.text) {
				for _, o := range d.Objects() {
					got = append(got, strings.Join([]string{o.Path, o.APIVersion, o.Group(), o.Namespace, o.String()}, " "))
				}
			}
			assert.Equal(t, c.want, got)
		})
	}
}

func TestObjectJSON(t *testing.T) {
	object := read(t, "kind: X\nb: {d: [1.50, x], c: 1}\n")[0].Objects()[0]

	got, err := object.JSON("b")
	require.NoError(t, err)
	assert.Equal(t, `{"d":[1.50,"x"],"c":1}`, string(got))

	got, err = object.JSON("b", "nothing")
	require.NoError(t, err)
	assert.Nil(t, got)
}

func TestWriteJSON(t *testing.T) {
	docs := read(t, "z: 1\na: <&>\n---\n# nothing\n---\n{\"n\": 1.50, \"b\": [true, null]}\n")
	want := `{
    "z": 1,
    "a": "<&>"
}
{
    "n": 1.50,
    "b": [
        true,
        null
    ]
}
`
	assert.Empty(t, cmp.Diff(want, asJSON(t, docs)))
}

func TestJSONIsWrittenAsYAML(t *testing.T) {
	docs := read(t, "{\"z\": {\"b\": \"on\", \"a\": [1.50, \"1.5\", {}]}}\n{\"t\": \"a\\nb\\n\", \"e\": \"\", \"n\": null}")
	assert.Equal(t, "z:\n  b: \"on\"\n  a:\n  - 1.50\n  - \"1.5\"\n  - {}\n---\nt: |\n  a\n  b\ne: \"\"\n\"n\": null\n", asYAML(t, docs))
}

func TestTabsInJSON(t *testing.T) {
	assert.Equal(t, "{\n    \"a\": [\n        1\n    ]\n}\n", asJSON(t, read(t, "{\n\t\"a\":\t[\n\t\t1\n\t]\n}")))
}

func TestWriteErrors(t *testing.T) {
	docs := read(t, "a: 1\n---\n1: a\n01: b\n---\na: .inf\n")
	var out bytes.Buffer
	assert.EqualError(t, WriteJSON(&out, docs[:2]), `in.yaml: document 2 (line 3): line 2 of the document: jsontext: duplicate object member name "1"`)
	assert.EqualError(t, WriteJSON(&out, docs[2:]), "in.yaml: document 3 (line 6): line 1 of the document: json: unsupported value: +Inf")
	assert.EqualError(t, WriteYAML(brokenWriter{}, docs), "disk full")
	assert.EqualError(t, WriteJSON(brokenWriter{}, docs[:1]), "disk full")
	assert.Empty(t, out.String())
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }
