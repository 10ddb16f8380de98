package manifest

import (
	"bytes"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gomodules.xyz/jsonpatch/v2"
	evanphx "gopkg.in/evanphx/json-patch.v4"
	sigsyaml "sigs.k8s.io/yaml"
)

// patchedByLibrary is the oracle of our own patching.
func patchedByLibrary(t *testing.T, document []byte, operations []jsonpatch.Operation) string {
	t.Helper()
	data, err := json.Marshal(operations)
	require.NoError(t, err)
	patch, err := evanphx.DecodePatch(data)
	require.NoError(t, err)
	patched, err := patch.Apply(document)
	require.NoError(t, err)
	return string(patched)
}

// value decodes JSON for comparison: numbers by what they are, not how they are written.
func value(t *testing.T, data []byte) any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var v any
	require.NoError(t, decoder.Decode(&v), "%s", data)
	return v
}

// sameNumbers compares as kubectl does, which reads very long numbers as floats.
func sameNumbers() cmp.Option {
	return cmp.Comparer(func(a, b json.Number) bool {
		x, errX := strconv.ParseFloat(a.String(), 64)
		y, errY := strconv.ParseFloat(b.String(), 64)
		return errX == nil && errY == nil && x == y
	})
}

// meanings are scalars and documents that YAML 1.1 and 1.2 read differently, or that
// lose their form on the way through Go's types.
func meanings() []string {
	return []string{
		"yes", "No", "on", "y", "n", "~", "null", "", "true", "TRUE", "1", "1.50", "0777", "0o17", "0x1F", "0b11",
		"1_000", "1e3", "-0", ".5", "5.", "12:30:45", "1:20", "2001-01-01", "2001-01-01T00:00:00Z", "=", "'on'", `"1"`,
		"!!str 1", "!!int \"3\"", "!!float 1", "!!binary aGk=", "12345678901234567890123", "18446744073709551615",
		"|\n  two\n  lines\n", ">\n  folded\n  line\n", "[a, {b: c}]", "{<<: {a: 1}, b: 2}", "text with: colon", "0.1e-7", "+1", "1E400",
		"a\n\n  b", "!custom x", "&a x", "{b: , c: ~}", "[a, ]", "{? , b: 1}",
	}
}

// Whatever we read means the same to kubectl, and writing does not change it. The oracle
// is kubectl's own sigs.k8s.io/yaml.
func FuzzRead(f *testing.F) {
	for _, m := range meanings() {
		f.Add([]byte("a: " + m))
		f.Add([]byte(m + ": a"))
		f.Add([]byte(m))
	}
	for _, name := range []string{"compact", "indented", "wide", "flow", "aliases"} {
		text, err := os.ReadFile("testdata/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("a: &x {b: 1}\nc: {<<: *x, d: 2}\ne: {<<: [*x, {b: 3, f: 4}], b: 5}\n"))
	f.Add([]byte(`{"<<": {"a": "<<"}, "on": "off"}`))
	f.Add([]byte("{\"a\": [1, \"x\"]}\n{\"b\": null}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, errs := Read("f", data)
		if len(errs) > 0 {
			return
		}
		for _, d := range docs {
			checkMeaning(t, d)
			checkWritten(t, d)
		}
	})
}

func checkMeaning(t *testing.T, d *Document) {
	t.Helper()
	if d.root == nil || d.text == "" || strings.Contains(d.text, "!") {
		return // yaml.v3 forgets the tag "!"; the other tags are in a test of their own
	}
	want, wantErr := sigsyaml.YAMLToJSON([]byte(d.text))
	got, err := nodeJSON(d.root.Content[0])
	if err != nil || wantErr != nil {
		return // either refuses; never a wrong meaning
	}
	if diff := cmp.Diff(value(t, want), value(t, got), sameNumbers()); diff != "" {
		t.Fatalf("kubectl reads %q differently (-kubectl +ours):\n%s", d.text, diff)
	}
}

func checkWritten(t *testing.T, d *Document) {
	t.Helper()
	if d.root == nil {
		return
	}
	before, err := nodeJSON(d.root.Content[0])
	if err != nil {
		return
	}
	d.changed = true
	var out bytes.Buffer
	require.NoError(t, WriteYAML(&out, []*Document{d}))
	docs, errs := Read("again", out.Bytes())
	require.Empty(t, errs, "%s", out.String())
	require.Len(t, docs, 1, "%s", out.String())
	require.NotNil(t, docs[0].root, "%s", out.String())
	after, err := nodeJSON(docs[0].root.Content[0])
	require.NoError(t, err)
	require.Equal(t, string(before), string(after), "written as %s", out.String())
}

func TestScalarsMeanWhatKubectlReads(t *testing.T) {
	for _, m := range meanings() {
		t.Run(m, func(t *testing.T) {
			docs, errs := Read("f", []byte("a: "+m))
			want, wantErr := sigsyaml.YAMLToJSON([]byte("a: " + m))
			if len(errs) > 0 {
				require.Error(t, wantErr, "we refuse: %v", errs)
				return
			}
			got, err := nodeJSON(docs[0].root.Content[0])
			if wantErr != nil {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			assert.Empty(t, cmp.Diff(value(t, want), value(t, got), sameNumbers()))
			checkWritten(t, docs[0])
		})
	}
}

// Our patch of the tree does to its JSON what the library does.
func FuzzPatch(f *testing.F) {
	f.Add("a: {b: [1, 2]}\n", "add", "/a/b/-", `{"x": "y"}`)
	f.Add("a: {b: [1, 2]}\n", "add", "/a/b/1", `"on"`)
	f.Add("a: {b: [1, 2]}\n", "replace", "/a/b/0", "null")
	f.Add("a: {b: [1, 2]}\n", "remove", "/a", "1")
	f.Add("a~b: {c/d: 1}\n", "add", "/a~0b/c~1d", "[]")
	f.Add("\"\": 1\n", "replace", "/", "{}")
	f.Add("a: &x {b: 1}\nc: *x\n", "add", "/c/b", "2")
	f.Fuzz(func(t *testing.T, text, op, path, raw string) {
		docs, errs := Read("f", []byte(text))
		if len(errs) > 0 || len(docs) != 1 || docs[0].root == nil || !json.Valid([]byte(raw)) {
			return
		}
		if op != "add" && op != "replace" && op != "remove" {
			return
		}
		root := docs[0].root.Content[0]
		before, err := nodeJSON(root)
		if err != nil {
			return
		}
		operations := []jsonpatch.Operation{operation(op, path, json.RawMessage(raw))}
		if err := apply(root, &operations[0]); err != nil {
			return // the library also takes what RFC 6902 refuses
		}
		after, err := nodeJSON(root)
		require.NoError(t, err)
		require.JSONEq(t, patchedByLibrary(t, before, operations), string(after))
	})
}
