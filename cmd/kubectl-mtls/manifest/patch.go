package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
	"gomodules.xyz/jsonpatch/v2"
)

// apply carries out one operation of a JSON patch (RFC 6902): add, replace or remove,
// which are all that the injector writes.
func apply(root *yaml.Node, op *jsonpatch.Operation) error {
	if err := applyAt(root, op); err != nil {
		return fmt.Errorf("%s %s: %w", op.Operation, op.Path, err)
	}
	return nil
}

func applyAt(root *yaml.Node, op *jsonpatch.Operation) error {
	pointer := jsontext.Pointer(op.Path)
	if pointer == "" || !pointer.IsValid() {
		return errors.New("must be a JSON pointer below the root")
	}
	parent, err := find(root, pointer.Parent())
	if err != nil {
		return err
	}
	var value *yaml.Node
	switch op.Operation {
	case "add", "replace":
		if value, err = valueNode(op.Value); err != nil {
			return err
		}
	case "remove":
	default:
		return errors.New("unknown operation")
	}
	switch parent.Kind {
	case yaml.MappingNode:
		return applyToMapping(parent, pointer.LastToken(), op.Operation, value)
	case yaml.SequenceNode:
		return applyToSequence(parent, pointer.LastToken(), op.Operation, value)
	default:
		return errors.New("the parent is neither an object nor an array")
	}
}

// find returns the node that the pointer names.
func find(node *yaml.Node, pointer jsontext.Pointer) (*yaml.Node, error) {
	for token := range pointer.Tokens() {
		if node.Kind == yaml.SequenceNode {
			i, err := position(token, len(node.Content)-1)
			if err != nil {
				return nil, err
			}
			node = node.Content[i]
			continue
		}
		i := indexOf(node, token)
		if i < 0 {
			return nil, fmt.Errorf("%q does not exist", token)
		}
		node = node.Content[i+1]
	}
	return node, nil
}

// position parses an array index from 0 to highest.
func position(token string, highest int) (int, error) {
	i, err := strconv.Atoi(token)
	if err != nil || i < 0 || i > highest || strconv.Itoa(i) != token {
		return 0, fmt.Errorf("%q is no index of the array", token)
	}
	return i, nil
}

func applyToMapping(mapping *yaml.Node, key, operation string, value *yaml.Node) error {
	i := indexOf(mapping, key)
	switch {
	case i < 0 && operation == "add":
		name, err := textNode(key)
		if err != nil {
			return err
		}
		grow(mapping)
		mapping.Content = append(mapping.Content, name, value)
	case i < 0:
		return fmt.Errorf("%q does not exist", key)
	case operation == "remove":
		mapping.Content = slices.Delete(mapping.Content, i, i+2)
	default:
		if old := mapping.Content[i+1]; old.Kind == yaml.ScalarNode && value.Kind == yaml.ScalarNode {
			value.HeadComment, value.LineComment, value.FootComment = old.HeadComment, old.LineComment, old.FootComment
		}
		mapping.Content[i+1] = value
	}
	return nil
}

func applyToSequence(sequence *yaml.Node, token, operation string, value *yaml.Node) error {
	if operation == "add" {
		i := len(sequence.Content)
		if token != "-" {
			var err error
			if i, err = position(token, i); err != nil {
				return err
			}
		}
		grow(sequence)
		sequence.Content = slices.Insert(sequence.Content, i, value)
		return nil
	}
	i, err := position(token, len(sequence.Content)-1)
	if err != nil {
		return err
	}
	if operation == "remove" {
		sequence.Content = slices.Delete(sequence.Content, i, i+1)
		return nil
	}
	sequence.Content[i] = value
	return nil
}

// grow makes what was written as {} or [] a block, before something is put into it.
func grow(node *yaml.Node) {
	if len(node.Content) == 0 {
		node.Style &^= yaml.FlowStyle
	}
}

// valueNode returns the tree of an operation's value.
func valueNode(value any) (*yaml.Node, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return jsonNode(data)
}
