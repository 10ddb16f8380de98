package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// width is that of a terminal window that shows two of them side by side.
const width = 100

// printer writes what a person reads: plain text, at most width wide where it can be.
type printer struct {
	mu    sync.Mutex
	out   io.Writer
	start time.Time
}

func newPrinter(out io.Writer) *printer { return &printer{out: out, start: time.Now()} }

func (p *printer) line(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// Who closes the terminal no longer reads.
	_, _ = io.WriteString(p.out, strings.TrimRight(text, " ")+"\n")
}

// heading starts a chapter.
func (p *printer) heading(title string) {
	p.line("")
	p.line(strings.ToUpper(title))
}

// step tells of progress, with the time since the start.
func (p *printer) step(format string, args ...any) {
	p.labelled(0, 9, p.elapsed(), fmt.Sprintf(format, args...))
}

// file is a step that is about a file of examples/.
func (p *printer) file(name, text string) {
	p.labelled(0, 38, p.elapsed()+name, text)
}

func (p *printer) elapsed() string { return fmt.Sprintf("%6.1fs  ", time.Since(p.start).Seconds()) }

// note explains.
func (p *printer) note(indent int, text string) {
	for _, part := range wrap(text, width-indent) {
		p.line(strings.Repeat(" ", indent) + part)
	}
}

// detail is a labelled text below a row of a table.
func (p *printer) detail(label, text string) { p.labelled(4, 10, label, text) }

func (p *printer) labelled(indent, labels int, label, text string) {
	for i, part := range wrap(text, width-indent-labels) {
		if i > 0 {
			label = ""
		}
		p.line(fmt.Sprintf("%*s%-*s%s", indent, "", labels, label, part))
	}
}

// answer is a labelled text below a handshake.
func (p *printer) answer(label, text string) { p.labelled(11, 12, label, text) }

// row is a line of a table, with what is printed below it.
type row struct {
	cells   []string
	details [][2]string // label and text
}

// table prints rows in columns that are as wide as they must be.
func (p *printer) table(header []string, rows []row) {
	widths := make([]int, len(header))
	for _, r := range append([]row{{cells: header}}, rows...) {
		for i, cell := range r.cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	write := func(cells []string) {
		var text strings.Builder
		for i, cell := range cells {
			fmt.Fprintf(&text, "  %-*s", widths[i], cell)
		}
		p.line(text.String())
	}
	write(header)
	for _, r := range rows {
		write(r.cells)
		for _, d := range r.details {
			p.detail(d[0], d[1])
		}
		if len(r.details) > 0 {
			p.line("")
		}
	}
}

// wrap breaks a text into lines between words; a word that is too long has a line of
// its own.
func wrap(text string, limit int) []string {
	var lines []string
	current := ""
	for word := range strings.FieldsSeq(text) {
		if current != "" && utf8.RuneCountInString(current)+1+utf8.RuneCountInString(word) > limit {
			lines = append(lines, current)
			current = ""
		}
		if current != "" {
			current += " "
		}
		current += word
	}
	return append(lines, current)
}
