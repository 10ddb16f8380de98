package main

// How the chart's values.yaml is read: it is the only definition of the values, and its
// comments are their description.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	sectionMark = "##@ "
	schemaMark  = "# @schema "
)

// chartValue is a value of the chart, or a mapping of values.
type chartValue struct {
	// section is the heading under which this value and those after it stand; empty for the
	// same as before.
	section string
	// path is as `helm --set` has it.
	path, name, help string
	// schema is what stands behind @schema; named is the name of a schema in its place.
	schema map[string]any
	named  string
	node   *yaml.Node
	// values are in the order of the file.
	values []chartValue
}

// readValues reads a values.yaml.
func readValues(file string) ([]chartValue, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(document.Content) == 0 || document.Content[0].Kind != yaml.MappingNode || len(document.Content[0].Content) == 0 {
		return nil, fmt.Errorf("%s: must be a mapping", file)
	}
	root := document.Content[0]
	// The parser takes what stands above the first key for the file's.
	root.Content[0].HeadComment = strings.Join([]string{document.HeadComment, root.HeadComment, root.Content[0].HeadComment}, "\n\n")
	values, err := valuesOf(root, "")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return values, nil
}

func valuesOf(mapping *yaml.Node, above string) ([]chartValue, error) {
	var values []chartValue
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, node := mapping.Content[i], mapping.Content[i+1]
		v := chartValue{path: above + key.Value, name: key.Value, node: node}
		if err := v.read(key.HeadComment); err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", key.Line, v.path, err)
		}
		if node.Kind == yaml.MappingNode {
			var err error
			if v.values, err = valuesOf(node, v.path+"."); err != nil {
				return nil, err
			}
		}
		values = append(values, v)
	}
	return values, nil
}

// read takes a comment apart. Of paragraphs, the last one describes the value.
func (v *chartValue) read(comment string) error {
	var help []string
	for line := range strings.SplitSeq(comment, "\n") {
		switch {
		case strings.HasPrefix(line, sectionMark):
			v.section = strings.TrimPrefix(line, sectionMark)
		case strings.HasPrefix(line, schemaMark):
			if err := v.readSchema(strings.TrimPrefix(line, schemaMark)); err != nil {
				return err
			}
		case line == "":
			help = nil
		default:
			help = append(help, strings.TrimSpace(strings.TrimPrefix(line, "#")))
		}
	}
	v.help = strings.Join(help, " ")
	return nil
}

func (v *chartValue) readSchema(text string) error {
	if !strings.HasPrefix(text, "{") {
		v.named = text
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.UseNumber()
	if err := decoder.Decode(&v.schema); err != nil {
		return fmt.Errorf("@schema: %w", err)
	}
	return nil
}

// isWhole reports whether a mapping is one value rather than a folder of values.
func (v *chartValue) isWhole() bool {
	_, properties := v.schema["properties"]
	_, others := v.schema["additionalProperties"]
	return len(v.values) == 0 || properties || others || v.named == schemaSelector
}

// isNeeded reports whether templates cannot do without the value. With null, Helm takes a
// value away: fine for what is added to objects, and for what may be empty.
func (v *chartValue) isNeeded() bool {
	if types, ok := v.schema["type"].([]any); ok && slices.Contains(types, any("null")) {
		return false
	}
	if v.node.Kind == yaml.ScalarNode {
		return v.node.Value != "" && v.node.ShortTag() != "!!null"
	}
	return !v.isWhole() || v.named == schemaSelector
}

// defaultText is the default as JSON.
func (v *chartValue) defaultText() (string, error) {
	var value any
	if err := v.node.Decode(&value); err != nil {
		return "", fmt.Errorf("%s: %w", v.path, err)
	}
	text, err := json.Marshal(value)
	if err != nil {
		return "", fmt.Errorf("%s: %w", v.path, err)
	}
	return string(text), nil
}
