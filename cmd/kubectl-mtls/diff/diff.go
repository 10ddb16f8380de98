// Package diff shows people what changes in manifests, as unified diffs.
package diff

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pmezard/go-difflib/difflib"

	"example.io/mtls-injector/cmd/kubectl-mtls/manifest"
)

// context is the number of lines around a change.
const context = 3

// Unified returns the difference, or "" if there is none. Both names head it.
func Unified(from, to, before, after string) (string, error) {
	if before == after {
		return "", nil
	}
	return difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
		A: slices.Collect(strings.Lines(before)), FromFile: from, B: slices.Collect(strings.Lines(after)), ToFile: to, Context: context,
	})
}

// Texts returns the texts of the documents, for [Documents] to compare.
func Texts(docs []*manifest.Document) ([]string, error) {
	texts := make([]string, len(docs))
	for i, d := range docs {
		var err error
		if texts[i], err = d.Text(); err != nil {
			return nil, fmt.Errorf("%s: %w", d, err)
		}
	}
	return texts, nil
}

// Documents prints what has changed since the texts were taken, document by document.
func Documents(out io.Writer, docs []*manifest.Document, before []string) error {
	after, err := Texts(docs)
	if err != nil {
		return err
	}
	for i, d := range docs {
		text, err := Unified(d.String(), d.String()+", changed", before[i], after[i])
		if err != nil {
			return fmt.Errorf("%s: %w", d, err)
		}
		if _, err := io.WriteString(out, text); err != nil {
			return err
		}
	}
	return nil
}
