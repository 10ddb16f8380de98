package main

import "strings"

// table returns a table in Markdown. Cells are text of one line.
func table(head []string, rows [][]string) string {
	var b strings.Builder
	line := func(cells []string) {
		for _, cell := range cells {
			b.WriteString("| " + strings.ReplaceAll(cell, "|", `\|`) + " ")
		}
		b.WriteString("|\n")
	}
	line(head)
	b.WriteString(strings.Repeat("| --- ", len(head)) + "|\n")
	for _, row := range rows {
		line(row)
	}
	return b.String()
}

// code marks up text as code.
func code(text string) string { return "`" + text + "`" }

// codes marks up each word as code and joins them with commas.
func codes(words []string) string {
	marked := make([]string, len(words))
	for i, word := range words {
		marked[i] = code(word)
	}
	return strings.Join(marked, ", ")
}
