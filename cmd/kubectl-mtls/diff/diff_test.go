package diff

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gomodules.xyz/jsonpatch/v2"

	"example.io/mtls-injector/cmd/kubectl-mtls/manifest"
)

func TestUnified(t *testing.T) {
	text, err := Unified("a", "b", "1\n2\n3\n4\n5\n6\n7\n8\n", "1\n2\n3\n4\nfive\n6\n7\n8\n")
	require.NoError(t, err)
	assert.Equal(t, "--- a\n+++ b\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n", text)
	text, err = Unified("a", "b", "same\n", "same\n")
	require.NoError(t, err)
	assert.Empty(t, text)
}

func TestDocuments(t *testing.T) {
	docs, errs := manifest.Read("f.yaml", []byte("kind: A\n\n\na: {b: 1}\n---\nkind: B\n---\n# nothing\n"))
	require.Empty(t, errs)
	before, err := Texts(docs)
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, Documents(&out, docs, before))
	assert.Empty(t, out.String(), "blank lines are no difference")

	require.NoError(t, docs[0].Objects()[0].Patch(nil, []jsonpatch.Operation{{Operation: "replace", Path: "/a/b", Value: 2}}))
	require.NoError(t, Documents(&out, docs, before))
	assert.Equal(t, "--- f.yaml: document 1 (line 1)\n+++ f.yaml: document 1 (line 1), changed\n@@ -1,2 +1,2 @@\n kind: A\n-a: {b: 1}\n+a: {b: 2}\n", out.String())
	require.EqualError(t, Documents(full{}, docs, before), "disk full")
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }
