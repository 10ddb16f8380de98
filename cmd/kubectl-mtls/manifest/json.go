package manifest

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
	sigsyaml "sigs.k8s.io/yaml"
)

// nodeJSON returns the tree as compact JSON, fields in their order.
func nodeJSON(node *yaml.Node) ([]byte, error) {
	var buffer bytes.Buffer
	if err := encodeJSON(jsontext.NewEncoder(&buffer), node); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buffer.Bytes(), []byte("\n")), nil
}

func encodeJSON(encoder *jsontext.Encoder, node *yaml.Node) error {
	switch node.Kind {
	case yaml.MappingNode:
		return encodeContent(encoder, node, jsontext.BeginObject, jsontext.EndObject)
	case yaml.SequenceNode:
		return encodeContent(encoder, node, jsontext.BeginArray, jsontext.EndArray)
	default:
		value, err := scalarJSON(node)
		if err != nil {
			return err
		}
		return encoder.WriteValue(value)
	}
}

func encodeContent(encoder *jsontext.Encoder, node *yaml.Node, begin, end jsontext.Token) error {
	if err := encoder.WriteToken(begin); err != nil {
		return err
	}
	for i, child := range node.Content {
		if node.Kind == yaml.MappingNode && i%2 == 0 {
			key, err := keyText(child)
			if err != nil {
				return err
			}
			if err := encoder.WriteToken(jsontext.String(key)); err != nil {
				return fmt.Errorf("line %d of the document: %w", child.Line, err)
			}
			continue
		}
		if err := encodeJSON(encoder, child); err != nil {
			return err
		}
	}
	return encoder.WriteToken(end)
}

// keyText returns a mapping's key as the name of a JSON object's member. Kubectl turns
// numbers and booleans into text here.
func keyText(node *yaml.Node) (string, error) {
	if isText(node) {
		return node.Value, nil
	}
	// The key of a mapping, for what kubectl makes of a number depends on where it stands.
	zero := &yaml.Node{Kind: yaml.ScalarNode, Value: "0"}
	object, err := meaning(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{bare(node), zero}})
	if err != nil {
		return "", fmt.Errorf("line %d of the document: %w", node.Line, err)
	}
	decoder := jsontext.NewDecoder(bytes.NewReader(object))
	if _, err := decoder.ReadToken(); err != nil {
		return "", err
	}
	name, err := decoder.ReadToken()
	return name.String(), err
}

// isText reports whether a scalar is text in YAML 1.1 and 1.2 alike. The words for
// booleans that 1.2 did away with are not.
func isText(node *yaml.Node) bool {
	const quoted = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	switch {
	case node.Style&yaml.TaggedStyle != 0:
		return false
	case node.Style&quoted != 0:
		return true
	case node.ShortTag() != "!!str":
		return false
	}
	switch strings.ToLower(node.Value) {
	case "y", "n", "yes", "no", "on", "off":
		return false
	}
	return true
}

// scalarJSON returns what a scalar means. A number stays as it is written; where kubectl
// may see something other than we do, it decides.
func scalarJSON(node *yaml.Node) (jsontext.Value, error) {
	switch {
	case isText(node):
		return jsontext.AppendQuote(nil, node.Value)
	case node.Style&yaml.TaggedStyle == 0 && isNumber(node.Value):
		return jsontext.Value(node.Value), nil
	}
	value, err := meaning(bare(node))
	if err != nil {
		return nil, fmt.Errorf("line %d of the document: %w", node.Line, err)
	}
	return value, nil
}

// isNumber reports whether the text is a number of JSON that kubectl takes for one, too:
// past the range of floats it sees text.
func isNumber(text string) bool {
	value := jsontext.Value(text)
	if value.Kind() != '0' || !value.IsValid() {
		return false
	}
	_, err := strconv.ParseFloat(text, 64)
	return err == nil
}

// bare returns the scalar without comments and place.
func bare(node *yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: node.Kind, Style: node.Style, Tag: node.Tag, Value: node.Value}
}

// meaning returns the JSON that kubectl makes of the tree.
func meaning(node *yaml.Node) (jsontext.Value, error) {
	text, err := yaml.Marshal(node)
	if err != nil {
		return nil, err
	}
	return sigsyaml.YAMLToJSON(text)
}

// jsonNode returns the tree of a JSON value, in block style.
func jsonNode(value []byte) (*yaml.Node, error) {
	return decodeJSON(jsontext.NewDecoder(bytes.NewReader(value)))
}

func decodeJSON(decoder *jsontext.Decoder) (*yaml.Node, error) {
	token, err := decoder.ReadToken()
	if err != nil {
		return nil, err
	}
	node := &yaml.Node{Kind: yaml.ScalarNode}
	switch token.Kind() {
	case '{':
		node.Kind = yaml.MappingNode
	case '[':
		node.Kind = yaml.SequenceNode
	case '"':
		return textNode(token.String())
	default:
		node.Value = token.String()
		return node, nil
	}
	for kind := decoder.PeekKind(); kind != '}' && kind != ']'; kind = decoder.PeekKind() {
		child, err := decodeJSON(decoder)
		if err != nil {
			return nil, err
		}
		node.Content = append(node.Content, child)
	}
	_, err = decoder.ReadToken()
	return node, err
}

// textNode returns a scalar that is text to every reader: the encoder quotes what YAML 1.1
// or 1.2 would take for anything else, but for the merge key.
func textNode(text string) (*yaml.Node, error) {
	node := &yaml.Node{}
	err := node.Encode(text)
	if node.Tag == "!!merge" {
		node.Tag, node.Style = "!!str", yaml.DoubleQuotedStyle
	}
	return node, err
}
