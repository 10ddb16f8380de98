package main

// How messages are found in Go code: by the syntax alone, so that none can be forgotten.

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// hole stands for what a message says that only the moment knows.
const hole = "…"

// message is a text of the code, with holes.
type message struct {
	at     string
	pieces []string
	// logged says that only the log has it.
	logged bool
}

func (m message) String() string { return strings.Join(m.pieces, hole) }

// pattern matches texts in which the pieces stand in their order.
func (m message) pattern() *regexp.Regexp {
	quoted := make([]string, len(m.pieces))
	for i, piece := range m.pieces {
		quoted[i] = "(" + regexp.QuoteMeta(strings.TrimSpace(piece)) + ")"
	}
	return regexp.MustCompile(strings.Join(quoted, ".*?"))
}

// needsEntry reports whether people see it, and there are three words in a row by which they
// could search.
func (m message) needsEntry() bool { return !m.logged && m.longest() > 2 }

// longest is the number of words of the longest piece.
func (m message) longest() int {
	words := 0
	for _, piece := range m.pieces {
		words = max(words, len(strings.Fields(piece)))
	}
	return words
}

func (m message) matches(text string) bool { return m.pattern().MatchString(text) }

// unsaid returns the parts of a text that are in none of the messages that match it.
func unsaid(text string, all []message) []string {
	said := []byte(text)
	for _, m := range all {
		at := m.pattern().FindStringSubmatchIndex(text)
		for i := 2; i < len(at); i += 2 {
			for j := at[i]; j < at[i+1]; j++ {
				said[j] = 0
			}
		}
	}
	return strings.FieldsFunc(string(said), func(r rune) bool { return r == 0 || r == []rune(hole)[0] })
}

// room is a folder with a package.
type room struct {
	folder string
	// logsErrors says that its errors, where they wrap another one, are for the log.
	logsErrors bool
}

// messagesOf returns the messages of these packages, of which a later one may
// import an earlier one: every text of two words and more in a row that is not for a log, a
// metric or a generated page.
func messagesOf(t *testing.T, root string, rooms []room) []message {
	t.Helper()
	var all []message
	imported := map[string]string{}
	for _, r := range rooms {
		files := parse(t, filepath.Join(root, r.folder, "*.go"))
		s := newScan(r, imported)
		for _, file := range files {
			ast.Inspect(file, s.learn)
		}
		for _, file := range files {
			ast.Inspect(file, s.visit)
		}
		for name, text := range s.constants {
			imported[filepath.Base(r.folder)+"."+name] = text
		}
		all = append(all, s.found...)
	}
	slices.SortFunc(all, func(a, b message) int { return strings.Compare(a.String(), b.String()) })
	return all
}

// parse reads the Go files that are no tests.
func parse(t *testing.T, glob string) []*ast.File {
	t.Helper()
	paths, err := filepath.Glob(glob)
	require.NoError(t, err)
	require.NotEmpty(t, paths, glob)
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		files = append(files, file)
	}
	return files
}

// constantsOf returns the values of a file's constants whose names begin so.
func constantsOf(t *testing.T, path, prefix string) []string {
	t.Helper()
	s := newScan(room{folder: path}, nil)
	for _, file := range parse(t, path) {
		ast.Inspect(file, s.learn)
	}
	var values []string
	for name, value := range s.constants {
		if strings.HasPrefix(name, prefix) {
			values = append(values, value)
		}
	}
	return values
}

// scan goes through the files of a package.
type scan struct {
	room
	// constants are texts by name, of this package and, with its name, of others. What has
	// one name in two functions is a hole.
	constants, imported map[string]string
	function            string
	found               []message
}

func newScan(r room, imported map[string]string) *scan {
	return &scan{room: r, constants: map[string]string{}, imported: imported}
}

// learn takes note of constants.
func (s *scan) learn(n ast.Node) bool {
	spec, ok := n.(*ast.ValueSpec)
	if !ok {
		return true
	}
	for i, value := range spec.Values {
		name := spec.Names[i].Name
		pieces := s.pieces(value, false)
		if have, again := s.constants[name]; len(pieces) > 1 || again && have != pieces[0] {
			s.constants[name] = hole
		} else {
			s.constants[name] = pieces[0]
		}
	}
	return true
}

// visit finds texts, and does not go where those are that are not for people, or are told
// elsewhere.
func (s *scan) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.File:
		s.function = "at the top"
	case *ast.ImportSpec, *ast.Field:
		return false
	case *ast.FuncDecl: // these two are the text of a generated page
		s.function = n.Name.Name
		return s.function != "SkipReasons" && s.function != "Variables"
	case *ast.KeyValueExpr: // of the tables of annotations and variables, and of metrics
		key, ok := n.Key.(*ast.Ident)
		return !ok || !slices.Contains([]string{"Help", "Default", "Type"}, key.Name)
	case *ast.CallExpr:
		return s.call(n)
	case *ast.BinaryExpr:
		return !s.text(n, false)
	case *ast.BasicLit:
		s.text(n, false)
	}
	return true
}

// call looks into a call: not if it writes to a log or makes a metric, and else with its first
// argument as a format, if it has one.
func (s *scan) call(n *ast.CallExpr) bool {
	selector, ok := n.Fun.(*ast.SelectorExpr)
	if !ok || len(n.Args) == 0 {
		return true
	}
	switch name := selector.Sel.Name; {
	case name == "Info" || name == "Error" || name == "NewDesc":
		return false
	case strings.HasSuffix(name, "f"):
		if format, ok := n.Args[0].(*ast.BasicLit); s.text(n.Args[0], true) && ok {
			s.found[len(s.found)-1].logged = s.logsErrors && strings.HasSuffix(format.Value, `: %w"`)
		}
		for _, arg := range n.Args[1:] {
			ast.Inspect(arg, s.visit)
		}
		return false
	}
	return true
}

// text adds the message that an expression is, and reports whether it is one.
func (s *scan) text(e ast.Expr, isFormat bool) bool {
	m := message{at: s.folder + ", " + s.function, pieces: s.pieces(e, isFormat)}
	if m.longest() < 2 {
		return false
	}
	s.found = append(s.found, m)
	return true
}

// pieces returns the parts of a text between its holes, of which there is one less.
func (s *scan) pieces(e ast.Expr, isFormat bool) []string {
	switch e := e.(type) {
	case *ast.BasicLit:
		return literal(e, isFormat)
	case *ast.Ident:
		if text, ok := s.constants[e.Name]; ok && text != hole {
			return []string{text}
		}
	case *ast.SelectorExpr:
		if of, ok := e.X.(*ast.Ident); ok {
			if text, ok := s.imported[of.Name+"."+e.Sel.Name]; ok && text != hole {
				return []string{text}
			}
		}
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			left, right := s.pieces(e.X, isFormat), s.pieces(e.Y, isFormat)
			last := len(left) - 1
			return slices.Concat(left[:last], []string{left[last] + right[0]}, right[1:])
		}
	}
	return []string{"", ""}
}

// literal returns the pieces of a text as it stands, between the verbs if it is a format.
func literal(e *ast.BasicLit, isFormat bool) []string {
	text, err := strconv.Unquote(e.Value)
	if e.Kind != token.STRING || err != nil {
		return []string{"", ""}
	}
	if !isFormat {
		return []string{text}
	}
	pieces := regexp.MustCompile(`%[-+#0-9.]*[a-zA-Z]`).Split(text, -1)
	for i := range pieces {
		pieces[i] = strings.ReplaceAll(pieces[i], "%%", "%")
	}
	return pieces
}
