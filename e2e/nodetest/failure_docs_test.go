//go:build node

package nodetest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestFailuresAreTold: what docs/reliability.md says that one sees is what the tests here look
// for, to the letter.
func TestFailuresAreTold(t *testing.T) {
	page, err := os.ReadFile("../../docs/reliability.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(page), "\n## What breaks, what you see, what to do\n")
	require.True(t, found)
	files, err := filepath.Glob("failure_*_test.go")
	require.NoError(t, err)
	var tests strings.Builder
	for _, file := range files {
		if file == "failure_docs_test.go" {
			continue
		}
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		tests.Write(source)
	}
	// In Go's strings quotation marks may be escaped.
	source := strings.ReplaceAll(tests.String(), `\"`, `"`)
	quoted := regexp.MustCompile("`[^`]+`")
	rows := 0
	for line := range strings.Lines(section) {
		cells := strings.Split(line, " | ")
		if !strings.HasPrefix(line, "| ") || len(cells) != 3 || strings.HasPrefix(line, "| ---") || strings.HasPrefix(line, "| what breaks") {
			continue
		}
		rows++
		for _, text := range quoted.FindAllString(cells[1], -1) {
			text = strings.Trim(text, "`")
			if text == "delivery: csi" { // an annotation
				continue
			}
			assert.Contains(t, source, text)
		}
	}
	assert.GreaterOrEqual(t, rows, 12)
}
