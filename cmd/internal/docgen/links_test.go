package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const root = "../../.."

// pages returns every page that people read, by path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && path != root:
			return fs.SkipDir
		case filepath.Ext(path) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		texts[path] = string(text)
		return err
	}))
	return texts
}

// Links to files of the repository lead somewhere, and to a heading if they name one.
func TestLinks(t *testing.T) {
	texts := pages(t)
	require.Contains(t, texts, root+"/CONTRIBUTING.md")
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for path, text := range texts {
		for _, found := range link.FindAllStringSubmatch(text, -1) {
			target, heading, _ := strings.Cut(found[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			file := filepath.Join(filepath.Dir(path), target)
			if target == "" {
				file = path
			}
			if _, err := os.Stat(file); !assert.NoError(t, err, "%s links to %s", path, found[1]) {
				continue
			}
			assert.True(t, heading == "" || slices.Contains(headings(texts[file]), heading), "%s links to %s", path, found[1])
		}
	}
}

// headings returns what a page's headings are called in links, as GitHub makes it of their text.
func headings(text string) []string {
	var slugs []string
	for _, found := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(text, -1) {
		slug := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(found[1]), "")
		slugs = append(slugs, strings.ReplaceAll(slug, " ", "-"))
	}
	return slugs
}

// Every make target that the pages speak of is in the Makefile.
func TestMakeTargets(t *testing.T) {
	makefile, err := os.ReadFile(root + "/Makefile")
	require.NoError(t, err)
	targets := map[string]bool{}
	for _, found := range regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*):`).FindAllStringSubmatch(string(makefile), -1) {
		targets[found[1]] = true
	}
	require.True(t, targets["help"])
	spoken := regexp.MustCompile("(?m)(?:`|^)make ([a-z][a-z0-9 -]*[a-z0-9])")
	for path, text := range pages(t) {
		for _, found := range spoken.FindAllStringSubmatch(text, -1) {
			for target := range strings.FieldsSeq(found[1]) {
				assert.True(t, targets[target], "%s speaks of make %s", path, target)
			}
		}
	}
}

// All rows of a table have as many cells as its head.
func TestTablesAreEven(t *testing.T) {
	for path, text := range pages(t) {
		cells := 0
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, "|") {
				cells = 0
				continue
			}
			here := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
			if cells != 0 {
				assert.Equal(t, cells, here, "%s: %s", path, line)
			}
			cells = here
		}
	}
}

func TestAnchor(t *testing.T) {
	assert.Equal(t, "#kubectl-mtls-inject", anchor("kubectl_mtls_inject.md"))
	assert.Equal(t, "#mtls-injector", anchor("mtls-injector.md"))
}
