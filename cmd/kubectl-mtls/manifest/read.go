package manifest

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
)

// Read takes a file apart into its documents: YAML separated by lines "---", or JSON
// values one after the other. It returns the documents that can be read, in their order,
// and an error for each that cannot, which names source, document and line.
func Read(source string, data []byte) ([]*Document, []error) {
	var docs []*Document
	var errs []error
	index := 0
	for _, c := range split(string(data)) {
		found, err := c.parse()
		if err != nil {
			index++
			errs = append(errs, fmt.Errorf("%s: document %d (line %d): %w", source, index, c.line, err))
			continue
		}
		for _, d := range found {
			if d.root != nil {
				index++
			}
			d.Source, d.Index = source, index
			docs = append(docs, d)
		}
	}
	return docs, errs
}

// chunk is the text between two separators.
type chunk struct {
	separator string
	text      string
	line      int // of the text's first line, from 1
}

// split cuts where kubectl does. A line that begins with "---" ends a document even
// inside a block scalar (YAML 1.2.2, section 9.1.2), so no parser is needed.
func split(data string) []chunk {
	chunks := []chunk{{line: 1}}
	line := 0
	for text := range strings.Lines(data) {
		line++
		current := &chunks[len(chunks)-1]
		if isSeparator(text) {
			chunks = append(chunks, chunk{separator: text, line: line + 1})
			continue
		}
		current.text += text
	}
	if chunks[0].text == "" && len(chunks) > 1 {
		chunks = chunks[1:]
	}
	return chunks
}

func isSeparator(line string) bool {
	rest, found := strings.CutPrefix(line, "---")
	rest = strings.TrimSpace(rest)
	return found && (rest == "" || rest[0] == '#')
}

// parse returns the chunk's documents: one, or several of JSON.
func (c *chunk) parse() ([]*Document, error) {
	if strings.HasPrefix(strings.TrimSpace(c.text), "{") {
		// What is not JSON can still be YAML in flow style.
		if docs, err := c.parseJSON(); err == nil {
			return docs, nil
		}
	}
	root, err := parseYAML(c.text)
	if err != nil {
		// Once more, so that the message counts lines from the beginning of the file.
		if _, placed := parseYAML(strings.Repeat("\n", c.line-1) + c.text); placed != nil {
			err = placed
		}
		return nil, err
	}
	line := c.line
	if root != nil {
		line += root.Content[0].Line - 1
	}
	return []*Document{{Line: line, separator: c.separator, text: c.text, root: root}}, nil
}

func (c *chunk) parseJSON() ([]*Document, error) {
	var docs []*Document
	decoder := jsontext.NewDecoder(strings.NewReader(c.text))
	separator := c.separator
	for {
		if decoder.PeekKind() == 0 {
			if _, err := decoder.ReadToken(); !errors.Is(err, io.EOF) {
				return nil, err
			}
			return docs, nil
		}
		value, err := decoder.ReadValue()
		if err != nil {
			return nil, err
		}
		start := int(decoder.InputOffset()) - len(value)
		line := c.line + strings.Count(c.text[:start], "\n")
		node, err := jsonNode(value)
		if err != nil {
			return nil, err
		}
		root := &yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{node}}
		docs = append(docs, &Document{Line: line, separator: separator, root: root})
		separator = ""
	}
}

// parseYAML returns the document node of the text, without aliases, or nil if nothing but
// comments stands in it.
func parseYAML(text string) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(strings.NewReader(text))
	var root yaml.Node
	if err := decoder.Decode(&root); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var more yaml.Node
	if err := decoder.Decode(&more); err == nil {
		return nil, fmt.Errorf("line %d: a second document without a line \"---\" before it", more.Line)
	} else if !errors.Is(err, io.EOF) {
		return nil, err
	}
	// Decoding finds what parsing does not: repeated keys, aliases to themselves and
	// aliases that multiply without end.
	var value any
	if err := root.Decode(&value); err != nil {
		return nil, err
	}
	if value == nil {
		return nil, nil
	}
	return plain(&root), nil
}
