// Package manifest reads files of Kubernetes objects, changes them by JSON patch and
// writes them back. It is the paper tray of the command line: documents keep their order,
// fields theirs, numbers their form, and whatever was not changed is written byte by byte
// as it was read.
//
// Trees are YAML nodes, for they alone remember order, style and comments. What a scalar
// means is decided as kubectl decides it, by YAML 1.1.
package manifest

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
	"gomodules.xyz/jsonpatch/v2"
)

// Document is one document of a file: an object, a list of objects, or anything else,
// which is only passed on.
type Document struct {
	// Source names the file. Index counts the documents in it from 1, leaving out those
	// that hold nothing but comments. Line is where the document begins, from 1.
	Source      string
	Index, Line int

	separator string     // the line "---" that stood before it
	text      string     // as read; empty if it was JSON
	root      *yaml.Node // nil without content
	changed   bool
}

// String tells people where the document stands.
func (d *Document) String() string {
	return fmt.Sprintf("%s: document %d (line %d)", d.Source, d.Index, d.Line)
}

// Object is one Kubernetes object in a document. Fields that the object lacks are empty.
type Object struct {
	Document *Document
	// Path is where the object stands in its document: empty, or "items[2]" in a list.
	Path                              string
	APIVersion, Kind, Namespace, Name string

	node *yaml.Node
}

// String returns "Kind/name".
func (o *Object) String() string {
	if o.Name == "" {
		return o.Kind
	}
	return o.Kind + "/" + o.Name
}

// Group returns the API group, empty for the core group.
func (o *Object) Group() string {
	group, _, found := strings.Cut(o.APIVersion, "/")
	if !found {
		return ""
	}
	return group
}

// Objects returns the objects of the document: itself, or the items of a list, and of
// lists in it. What has no kind is no object.
func (d *Document) Objects() []*Object {
	if d.root == nil {
		return nil
	}
	return d.objects(d.root.Content[0], "", "", "")
}

// objects takes kind and version of the list around it for items that name none: those of
// a PodList are pods.
func (d *Document) objects(node *yaml.Node, path, apiVersion, kind string) []*Object {
	o := &Object{
		Document:   d,
		Path:       path,
		APIVersion: textAt(node, "apiVersion"),
		Kind:       textAt(node, "kind"),
		Namespace:  textAt(node, "metadata", "namespace"),
		Name:       textAt(node, "metadata", "name"),
		node:       node,
	}
	if o.Kind == "" {
		o.APIVersion, o.Kind = apiVersion, kind
	}
	if o.Kind == "" {
		return nil
	}
	itemKind, isList := strings.CutSuffix(o.Kind, "List")
	items := lookup(node, "items")
	if !isList || items == nil || items.Kind != yaml.SequenceNode {
		return []*Object{o}
	}
	var all []*Object
	for i, item := range items.Content {
		itemPath := fmt.Sprintf("items[%d]", i)
		if path != "" {
			itemPath = path + "." + itemPath
		}
		all = append(all, d.objects(item, itemPath, o.APIVersion, itemKind)...)
	}
	return all
}

// JSON returns what stands at the path of field names, or nil if nothing does.
func (o *Object) JSON(path ...string) ([]byte, error) {
	node := lookup(o.node, path...)
	if node == nil {
		return nil, nil
	}
	return nodeJSON(node)
}

// Patch applies the operations to what stands at the path of field names; the pointers of
// the operations are relative to it. After an error the document is partly changed and
// must not be written.
func (o *Object) Patch(path []string, operations []jsonpatch.Operation) error {
	if len(operations) == 0 {
		return nil
	}
	node := lookup(o.node, path...)
	if node == nil {
		return fmt.Errorf("%s has no %s", o, strings.Join(path, "."))
	}
	o.Document.changed = true
	for i := range operations {
		if err := apply(node, &operations[i]); err != nil {
			return fmt.Errorf("patching %s: %w", o, err)
		}
	}
	return nil
}
