package webhook

// How warnings are made to arrive.

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The API server cuts warnings longer than 256 runes once all of them together have
// more than 4096, and drops what comes after (k8s.io/apiserver,
// pkg/endpoints/filters/warning.go).
const (
	warningRunes     = 256
	allWarningsRunes = 4096
)

// limitWarnings prepares warnings for the API server: as header text without control
// characters, long ones divided between words, and no more than it keeps. Where some
// have to go, the last one says so.
func limitWarnings(warnings []string) []string {
	if !needLimit(warnings) {
		return warnings
	}
	var lines []string
	for _, w := range warnings {
		lines = append(lines, divide(strings.Map(printable, w))...)
	}
	total := 0
	for i, line := range lines {
		total += utf8.RuneCountInString(line)
		if total > allWarningsRunes-warningRunes && i < len(lines)-1 {
			return append(lines[:i:i], fmt.Sprintf("… and %d more lines of warnings", len(lines)-i))
		}
	}
	return lines
}

// needLimit lets the usual case, a few short lines, pass without a copy.
func needLimit(warnings []string) bool {
	total := 0
	for _, w := range warnings {
		total += len(w)
		if len(w) > warningRunes || strings.IndexFunc(w, unicode.IsControl) >= 0 || !utf8.ValidString(w) {
			return true
		}
	}
	return total > allWarningsRunes-warningRunes
}

// printable maps control characters, which a header may not hold, to spaces.
func printable(r rune) rune {
	if unicode.IsControl(r) {
		return ' '
	}
	return r
}

// divide cuts a text into lines of at most warningRunes, at a space where there is one.
func divide(text string) []string {
	const more = "…"
	var lines []string
	for utf8.RuneCountInString(text) > warningRunes {
		end := byteIndex(text, warningRunes-utf8.RuneCountInString(more))
		if space := strings.LastIndexByte(text[:end], ' '); space > 0 {
			end = space
		}
		lines = append(lines, text[:end]+more)
		text = more + strings.TrimLeft(text[end:], " ")
	}
	return append(lines, text)
}

// byteIndex returns where the rune of that number starts.
func byteIndex(text string, runes int) int {
	for i := range text {
		if runes == 0 {
			return i
		}
		runes--
	}
	return len(text)
}
