//go:build node

package nodetest

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var updateMatrix = flag.Bool("update", false, "write docs/compatibility.md's matrix")

// The columns of the matrix. Four of them are the calls.
var (
	callColumns   = [...]string{"handshake", "no certificate", "another CA", "wrong name"}
	serverColumns = [...]string{"reload: none", "reload: restart", "reload: signal"}
	clientColumns = [...]string{"reload: none"}
)

// matrix is what the tests have found, for docs/compatibility.md.
type matrix struct {
	versions map[string]string // of Debian's packages

	mu    sync.Mutex
	cells map[cell]string
}

type cell struct{ software, delivery, column string }

func (m *matrix) set(software, delivery, column, value string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cells[cell{software, delivery, column}] = value
}

// setCalls notes that the four calls came to what they should.
func (s *software) setCalls(software string) {
	for i, column := range callColumns {
		s.set(software, s.delivery, column, [...]string{"works", "refused", "refused", "refused"}[i])
	}
}

// version is what stands behind a name: releases of a distribution change but the last part.
func (m *matrix) version(debian string) string {
	version := strings.TrimPrefix(runtime.Version(), "go")
	if debian != "" {
		version = m.versions[debian]
	}
	if _, without, found := strings.Cut(version, ":"); found {
		version = without // of its epoch
	}
	parts := strings.SplitN(version, ".", 3)
	if strings.HasPrefix(debian, "postgresql") {
		return parts[0]
	}
	return strings.Join(parts[:2], ".")
}

// table writes rows, a delivery each. What was not found, as not all tests ran, is left out.
func (m *matrix) table(head string, columns []string, rows [][2]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s | delivery | %s |\n|---%s|\n", head, strings.Join(columns, " | "), strings.Repeat("|---", len(columns)+1))
	for _, row := range rows {
		name, suffix, _ := strings.Cut(row[0], " as ")
		if suffix != "" {
			suffix = " as " + suffix
		}
		for _, delivery := range deliveries {
			fmt.Fprintf(&b, "| %s %s | `%s` |", name, m.version(row[1]), delivery)
			for _, column := range columns {
				fmt.Fprintf(&b, " %s |", m.cells[cell{name + suffix, delivery, column}])
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// text is the block of the page.
func (m *matrix) text() string {
	var serving, calling [][2]string
	for _, one := range servers() {
		serving = append(serving, [2]string{one.name, one.debian})
	}
	for _, one := range clients() {
		calling = append(calling, [2]string{one.name + " as client", one.debian})
	}
	return m.table("server", append(callColumns[:], serverColumns[:]...), serving) + "\n" +
		m.table("client", append(callColumns[:], clientColumns[:]...), calling)
}

const (
	matrixBegins = "<!-- matrix: written by TestSoftware, with -update -->\n"
	matrixEnds   = "<!-- end of the matrix -->"
)

// check compares the page with what was found.
func (m *matrix) check(t *testing.T) {
	t.Helper()
	page := filepath.Join("..", "..", "docs", "compatibility.md")
	data, err := os.ReadFile(page)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(data), matrixBegins)
	require.True(t, found, "the page has the matrix's beginning")
	written, after, found := strings.Cut(rest, matrixEnds)
	require.True(t, found, "the page has the matrix's end")
	if *updateMatrix {
		require.NoError(t, os.WriteFile(page, []byte(before+matrixBegins+m.text()+matrixEnds+after), 0o644))
		return
	}
	// Debian brings newer versions at its own time. The page names those that -update saw.
	versions := regexp.MustCompile(`(?m)^(\| [^|]*?) [0-9.]+ \|`)
	assert.Equal(t, versions.ReplaceAllString(m.text(), "$1 |"), versions.ReplaceAllString(written, "$1 |"),
		"docs/compatibility.md; -update writes it")
}
