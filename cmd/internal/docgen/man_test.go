package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestManPages(t *testing.T) {
	pages, err := manPages()
	require.NoError(t, err)
	for name, text := range pages {
		title := strings.ToUpper(strings.TrimSuffix(name, ".1"))
		assert.Contains(t, text, `.TH "`+title+`" "1" "" "mtls-injector" "mtls-injector"`, name)
	}
	require.Contains(t, pages, "kubectl-mtls-inject.1")
	assert.Contains(t, pages["kubectl-mtls-inject.1"], "SH EXAMPLE")
	// Every command of the other reference has a page here.
	cli, err := cliPage()
	require.NoError(t, err)
	for line := range strings.Lines(cli) {
		if command, ok := strings.CutPrefix(strings.TrimSpace(line), "## "); ok {
			assert.Contains(t, pages, strings.ReplaceAll(command, " ", "-")+".1")
		}
	}
}
