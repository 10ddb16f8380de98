package page

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSteps(t *testing.T) {
	steps, err := Steps(write(t, "# Page\n\n<!-- sh: second -->\n```sh\necho 1\n```\n\n```text\none\ntwo\n```\n\n<!-- sh: first -->\n```sh\necho 3\n```\n\nText.\n\n```text\nnot its\n```\n"))
	require.NoError(t, err)
	assert.Equal(t, []Step{{Name: "second", Script: "echo 1", Output: []string{"one", "two"}}, {Name: "first", Script: "echo 3"}}, steps)
	assert.Equal(t, []string{"two"}, steps[0].Missing("this one\n"))
	assert.Empty(t, steps[1].Missing(""))

	empty := write(t, "# Page\n")
	_, err = Steps(empty)
	require.EqualError(t, err, "there are no named blocks of commands in "+empty)
}

func TestUnnamed(t *testing.T) {
	unnamed, err := Unnamed(write(t, "<!-- sh: a -->\n```sh\nnamed\n```\n\n```sh\nforgotten\nmore\n```\n\n```yaml\na: b\n```\n"))
	require.NoError(t, err)
	assert.Equal(t, []string{"forgotten"}, unnamed)
	_, err = Unnamed("/nowhere/page.md")
	require.EqualError(t, err, "reading the page: open /nowhere/page.md: no such file or directory")
}
