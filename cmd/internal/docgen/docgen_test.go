package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

const (
	example     = "../../../config/example.yaml"
	chartFolder = "../../../charts/mtls-injector"
)

// here are the options with which everything is found, and written to a folder of the test's.
func here(t *testing.T) options {
	t.Helper()
	out := t.TempDir()
	return options{out: out + "/new/folder", example: example, chart: chartFolder, chartOut: out + "/chart"}
}

func TestWrite(t *testing.T) {
	o := here(t)
	require.NoError(t, write(o))
	assert.Equal(t, []string{"annotations.md", "cli.md", "configuration.md"}, pagesIn(t, o.out, "annotations.md", "cli.md", "configuration.md"))
	assert.Equal(t, []string{"README.md", "values.schema.json"}, pagesIn(t, o.chartOut, "README.md"))
}

// pagesIn returns the names of the files in the folder, and looks at the pages among them.
func pagesIn(t *testing.T, folder string, pages ...string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	for _, page := range pages {
		text, err := os.ReadFile(folder + "/" + page)
		require.NoError(t, err)
		assert.True(t, strings.HasPrefix(string(text), generated+"# "), page)
		assert.False(t, strings.HasSuffix(string(text), "\n\n"), page)
	}
	return names
}

func TestEveryRowIsDocumented(t *testing.T) {
	page := annotationsPage()
	for _, key := range intent.Keys() {
		assert.Contains(t, page, "| `"+key.Name+"` |")
		assert.Contains(t, page, key.Help)
	}
	for reason, meaning := range intent.SkipReasons() {
		assert.Contains(t, page, "| `"+string(reason)+"` | "+meaning+" |")
	}
	for _, variable := range injector.Variables() {
		assert.Contains(t, page, "| `"+string(variable.Profile)+"` | `"+variable.Name+"` | ")
	}
	assert.NotContains(t, page, "|  | `", "every variable says who gets it")
}

func TestScopes(t *testing.T) {
	rows := map[string]string{}
	for line := range strings.Lines(annotationTable()) {
		cells := strings.Split(line, " | ")
		rows[strings.Trim(cells[0], "| `")] = strings.Join(cells[3:5], "|")
	}
	assert.Equal(t, "✓|✓", rows["role"])
	assert.Equal(t, "✓|", rows["service"])
	assert.Equal(t, "|", rows["status"])
}

func TestEveryCommandIsDocumented(t *testing.T) {
	page, err := cliPage()
	require.NoError(t, err)
	var headings []string
	anchors := map[string]bool{}
	for line := range strings.Lines(page) {
		if heading, found := strings.CutPrefix(line, "## "); found {
			heading = strings.TrimSpace(heading)
			headings = append(headings, heading)
			anchors[strings.ReplaceAll(heading, " ", "-")] = true
		}
	}
	assert.Equal(t, []string{
		"kubectl mtls", "kubectl mtls explain", "kubectl mtls inject", "kubectl mtls migrate", "kubectl mtls policy", "kubectl mtls status",
		"kubectl mtls uninject", "kubectl mtls version",
		"mtls-injector", "mtls-injector agent", "mtls-injector agent check", "mtls-injector agent run",
		"mtls-injector smoke-test", "mtls-injector version", "mtls-injector webhook",
	}, headings)
	links := regexp.MustCompile(`\]\((.*?)\)`).FindAllStringSubmatch(page, -1)
	assert.Len(t, links, 27)
	for _, link := range links {
		if link[1] == "../agent.md" {
			continue // another page
		}
		assert.True(t, anchors[strings.TrimPrefix(link[1], "#")], "%s leads nowhere", link[1])
	}
}

func TestConfigurationPage(t *testing.T) {
	page, err := configurationPage(example)
	require.NoError(t, err)
	text, err := os.ReadFile(example)
	require.NoError(t, err)
	assert.Contains(t, page, "```yaml\n"+string(text)+"```\n")

	_, err = configurationPage("none.yaml")
	require.EqualError(t, err, "configuration: open none.yaml: no such file or directory")
}

func TestWriteErrors(t *testing.T) {
	file := t.TempDir() + "/file"
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	blocked := t.TempDir()
	require.NoError(t, os.Mkdir(blocked+"/cli.md", 0o700))
	require.NoError(t, os.Mkdir(blocked+"/README.md", 0o700))
	for want, change := range map[string]func(*options){
		"not a directory":                func(o *options) { o.out = file },
		"configuration " + file + ": ":   func(o *options) { o.example = file },
		"cli.md: is a directory":         func(o *options) { o.out = blocked },
		"README.md: is a directory":      func(o *options) { o.chartOut = blocked },
		"values.yaml: no such file or d": func(o *options) { o.chart = blocked },
	} {
		o := here(t)
		change(&o)
		assert.ErrorContains(t, write(o), want)
	}
}

func TestTable(t *testing.T) {
	assert.Equal(t, "| a | b |\n| --- | --- |\n| x\\|y | `1`, `2` |\n",
		table([]string{"a", "b"}, [][]string{{"x|y", codes([]string{"1", "2"})}}))
}
