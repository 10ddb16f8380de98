package manifest

import (
	"bytes"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
)

// WriteYAML writes the documents as one YAML stream. A document that was read as YAML and
// not changed is written as it was read; a changed one keeps its comments and its manner
// of indenting, but neither blank lines nor anchors.
func WriteYAML(w io.Writer, docs []*Document) error {
	var out bytes.Buffer
	for i, d := range docs {
		separator := d.separator
		if separator == "" && i > 0 {
			separator = "---\n"
		}
		endLine(&out)
		out.WriteString(separator)
		endLine(&out)
		if !d.changed && d.text != "" || d.root == nil {
			out.WriteString(d.text)
			continue
		}
		encoder := yaml.NewEncoder(&out)
		setLayout(encoder, d.root)
		if err := encoder.Encode(d.root); err != nil {
			return fmt.Errorf("%s: %w", d, err)
		}
		if err := encoder.Close(); err != nil {
			return fmt.Errorf("%s: %w", d, err)
		}
	}
	_, err := w.Write(out.Bytes())
	return err
}

// endLine ends a last line that has no end.
func endLine(out *bytes.Buffer) {
	if text := out.Bytes(); len(text) > 0 && text[len(text)-1] != '\n' {
		out.WriteByte('\n')
	}
}

// WriteJSON writes the documents as JSON values, one after the other, as kubectl reads
// them. Documents without content are left out.
func WriteJSON(w io.Writer, docs []*Document) error {
	var out bytes.Buffer
	encoder := jsontext.NewEncoder(&out, jsontext.WithIndent("    "))
	for _, d := range docs {
		if d.root == nil {
			continue
		}
		if err := encodeJSON(encoder, d.root.Content[0]); err != nil {
			return fmt.Errorf("%s: %w", d, err)
		}
	}
	_, err := w.Write(out.Bytes())
	return err
}

// setLayout makes the encoder indent as the document does. By default it writes like
// kubectl: two spaces, and sequences no deeper than their key.
func setLayout(encoder *yaml.Encoder, root *yaml.Node) {
	indent, sequence := 0, -1
	measure(root, &indent, &sequence)
	if indent < 2 || indent > 8 {
		indent = 2
	}
	encoder.SetIndent(indent)
	if sequence <= 0 {
		encoder.CompactSeqIndent()
	}
}

// measure finds how much deeper than their keys the first nested block mapping and the
// first nested block sequence stand. Nodes that were not read from YAML have no place, and
// those that begin on the line of their key are in flow style or have an anchor there.
func measure(node *yaml.Node, indent, sequence *int) {
	for i, child := range node.Content {
		if node.Kind == yaml.MappingNode && i%2 == 1 && child.Line > node.Content[i-1].Line {
			deeper := child.Column - node.Content[i-1].Column
			switch {
			case child.Kind == yaml.MappingNode && *indent == 0:
				*indent = deeper
			case child.Kind == yaml.SequenceNode && *sequence < 0:
				*sequence = deeper
			}
		}
		measure(child, indent, sequence)
	}
}
