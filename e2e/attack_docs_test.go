package e2e

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAttackDocs: docs/security.md lists the attacks that are tests, and no others.
func TestAttackDocs(t *testing.T) {
	for heading, attacks := range map[string][]attack{
		"Attacks at admission": admissionAttacks(), "Attacks at the controller": controllerAttacks(), "What nobody can prevent": attackLimits(),
	} {
		t.Run(heading, func(t *testing.T) {
			names := make([]string, len(attacks))
			for i := range attacks {
				names[i] = attacks[i].name
			}
			assert.Equal(t, names, documented(t, heading))
		})
	}
	t.Run("Attacks at signing", func(t *testing.T) {
		assert.Equal(t, subtests(t, "TestAttackAtSigning"), documented(t, "Attacks at signing"))
	})
}

// documented returns the first column of the first table below a heading.
func documented(t *testing.T, heading string) []string {
	t.Helper()
	page, err := os.ReadFile("../docs/security.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(page), "\n## "+heading+"\n")
	require.True(t, found)
	_, table, found := strings.Cut(section, "\n|---")
	require.True(t, found)
	var names []string
	for i, line := range strings.Split(table, "\n") {
		if i == 0 { // what is left of the line below the header
			continue
		}
		if !strings.HasPrefix(line, "| ") {
			break
		}
		names = append(names, strings.TrimSpace(strings.Split(line, "|")[1]))
	}
	return names
}

// subtests returns the names of a test's subtests, as far as they are written in it.
func subtests(t *testing.T, test string) []string {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	var names []string
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, declaration := range parsed.Decls {
			if function, ok := declaration.(*ast.FuncDecl); !ok || function.Name.Name != test {
				continue
			}
			ast.Inspect(declaration, func(node ast.Node) bool {
				names = append(names, runName(node)...)
				return true
			})
		}
	}
	return names
}

// runName returns the name in t.Run("name", ...).
func runName(node ast.Node) []string {
	call, ok := node.(*ast.CallExpr)
	if !ok || len(call.Args) != 2 {
		return nil
	}
	function, isSelector := call.Fun.(*ast.SelectorExpr)
	text, isLiteral := call.Args[0].(*ast.BasicLit)
	if !isSelector || function.Sel.Name != "Run" || !isLiteral {
		return nil
	}
	name, err := strconv.Unquote(text.Value)
	if err != nil {
		return nil
	}
	return []string{name}
}
