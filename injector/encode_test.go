package injector_test

import (
	stdjson "encoding/json"
	"math"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gomodules.xyz/jsonpatch/v2"

	"example.io/mtls-injector/injector"
)

func TestAppendJSON(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		ops  []jsonpatch.Operation
		want string
	}{
		"nothing":        {want: `[]`},
		"text":           {ops: []jsonpatch.Operation{{Operation: "add", Path: `/a~1b/"`, Value: "<é>\n"}}, want: `[{"op":"add","path":"/a~1b/\"","value":"<é>\n"}]`},
		"null":           {ops: []jsonpatch.Operation{{Operation: "add", Path: "/a"}, {Operation: "replace", Path: "/a"}}, want: `[{"op":"add","path":"/a","value":null},{"op":"replace","path":"/a","value":null}]`},
		"remove":         {ops: []jsonpatch.Operation{{Operation: "remove", Path: "/a"}}, want: `[{"op":"remove","path":"/a"}]`},
		"any other type": {ops: []jsonpatch.Operation{{Operation: "add", Path: "/a", Value: map[string]any{"b": []int{1}}}}, want: `[{"op":"add","path":"/a","value":{"b":[1]}}]`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := injector.AppendJSON([]byte("before "), c.ops)
			require.NoError(t, err)
			assert.Equal(t, "before "+c.want, string(got))
			usual, err := stdjson.Marshal(append([]jsonpatch.Operation{}, c.ops...))
			require.NoError(t, err)
			assert.JSONEq(t, c.want, string(usual))
		})
	}
}

func TestAppendJSONReportsValues(t *testing.T) {
	t.Parallel()
	_, err := injector.AppendJSON(nil, []jsonpatch.Operation{{Operation: "add", Path: "/a", Value: math.NaN()}})
	require.EqualError(t, err, "add /a: json: unsupported value: NaN")
}

// FuzzAppendJSON holds the encoder against encoding/json, for texts of all kinds.
func FuzzAppendJSON(f *testing.F) {
	f.Add("add", "/spec/volumes/-", "x")
	f.Add("replace", "/metadata/annotations/a~1b", "\"\\\u2028<&>\x00\x7f")
	f.Add("remove", "", "")
	f.Add("\xff", "\xed\xa0\x80", "é\xf0")
	f.Fuzz(func(t *testing.T, op, path, text string) {
		ops := []jsonpatch.Operation{{Operation: op, Path: path, Value: text}, {Operation: op, Path: path, Value: []string{text}}, {Operation: op, Path: path}}
		got, err := injector.AppendJSON(nil, ops)
		require.NoError(t, err)
		require.True(t, utf8.Valid(got))
		want, err := stdjson.Marshal(ops)
		require.NoError(t, err)
		require.Equal(t, tree(t, want), tree(t, got))
	})
}
