package manifest

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
	"gomodules.xyz/jsonpatch/v2"
)

// Place names the object for people, with the file in which it stands.
func (o *Object) Place() string {
	if o.Path == "" {
		return o.Document.String() + ": " + o.String()
	}
	return o.Document.String() + ": " + o.Path + ": " + o.String()
}

// Text returns the document as [WriteYAML] writes one that was changed, be it changed or
// not: so that the texts before and after differ by the change alone.
func (d *Document) Text() (string, error) {
	if d.root == nil {
		return d.text, nil
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	setLayout(encoder, d.root)
	if err := encoder.Encode(d.root); err != nil {
		return "", err
	}
	err := encoder.Close()
	return out.String(), err
}

// Prune takes away what the removals, which [Object.Patch] has applied to the same path, have
// left empty, and returns the operations that did it. An item of a list stays.
func (o *Object) Prune(path []string, removals []jsonpatch.Operation) ([]jsonpatch.Operation, error) {
	root := lookup(o.node, path...)
	var pruned []jsonpatch.Operation
	for i := range removals {
		if removals[i].Operation != "remove" || root == nil {
			continue
		}
		for at := jsontext.Pointer(removals[i].Path).Parent(); at != "" && isEmptyField(root, at); at = at.Parent() {
			op := jsonpatch.Operation{Operation: "remove", Path: string(at)}
			if err := apply(root, &op); err != nil {
				return nil, err
			}
			pruned = append(pruned, op)
		}
	}
	return pruned, nil
}

// isEmptyField reports whether the pointer names a field that holds an empty object or list.
func isEmptyField(root *yaml.Node, at jsontext.Pointer) bool {
	node, err := find(root, at)
	if err != nil || len(node.Content) > 0 || node.Kind == yaml.ScalarNode {
		return false
	}
	parent, err := find(root, at.Parent())
	return err == nil && parent.Kind == yaml.MappingNode
}
