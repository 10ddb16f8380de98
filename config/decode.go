package config

// From bytes to InjectorConfiguration. A decoder over YAML nodes rather than one of the
// libraries': those stop at the first problem and tell an unknown field without path.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/intent"
)

const smallest = "apiVersion: " + APIVersion + "\\nkind: " + Kind

// decode fills c from the file; fields that the file leaves out stay as they are. The
// error is about the file as a whole, the list about its fields.
func decode(data []byte, c *InjectorConfiguration) (field.ErrorList, error) {
	root, err := document(data)
	if err != nil {
		return nil, err
	}
	var d decoder
	// A file of another kind or version would be wrong in every field.
	if d.header(root); len(d.errs) == 0 {
		d.value(root, reflect.ValueOf(c).Elem(), nil)
	}
	return d.errs, nil
}

// document returns the mapping that the file consists of. An empty file is an error: it
// is more often a template gone wrong or a half-written file than a wish for the defaults.
func document(data []byte) (*yaml.Node, error) {
	var root *yaml.Node
	for decoder := yaml.NewDecoder(bytes.NewReader(data)); ; {
		doc := &yaml.Node{}
		err := decoder.Decode(doc)
		switch {
		case errors.Is(err, io.EOF) && root == nil:
			return nil, fmt.Errorf(`the file is empty; for the defaults write "%s"`, smallest)
		case errors.Is(err, io.EOF) && root.Kind != yaml.MappingNode:
			return nil, fmt.Errorf(`must be a mapping that begins with "%s"`, smallest)
		case errors.Is(err, io.EOF):
			return root, nil
		case err != nil:
			return nil, fmt.Errorf("not valid YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
		}
		content := doc.Content[0]
		switch {
		case content.ShortTag() == "!!null": // nothing between two separators
		case root != nil:
			return nil, fmt.Errorf("line %d: a second YAML document; the file must hold one", content.Line)
		default:
			root = content
		}
	}
}

// decoder collects the problems of a file's form.
type decoder struct {
	errs field.ErrorList
}

func (d *decoder) forbid(path *field.Path, n *yaml.Node, format string, args ...any) {
	d.errs = append(d.errs, field.Forbidden(path, fmt.Sprintf("line %d: ", n.Line)+fmt.Sprintf(format, args...)))
}

func (d *decoder) mistyped(path *field.Path, n *yaml.Node, must string) {
	if path == nil {
		path = field.NewPath("(top)")
	}
	var value any = field.OmitValueType{}
	if n.Kind == yaml.ScalarNode {
		value = n.Value
	}
	d.errs = append(d.errs, field.TypeInvalid(path, value, fmt.Sprintf("line %d: must be %s", n.Line, must)))
}

// header checks apiVersion and kind.
func (d *decoder) header(root *yaml.Node) {
	for _, want := range [][2]string{{"apiVersion", APIVersion}, {"kind", Kind}} {
		path := field.NewPath(want[0])
		value := ""
		for i := 0; i+1 < len(root.Content); i += 2 {
			if root.Content[i].Value == want[0] {
				value = root.Content[i+1].Value
				break
			}
		}
		switch value {
		case want[1]:
		case "":
			d.errs = append(d.errs, field.Required(path, "must be "+want[1]))
		default:
			d.errs = append(d.errs, field.NotSupported(path, value, []string{want[1]}))
		}
	}
}

// value decodes n into the settable value, whose type decides what n may be.
func (d *decoder) value(n *yaml.Node, into reflect.Value, path *field.Path) {
	switch {
	case n.Kind == yaml.AliasNode:
		d.forbid(path, n, "aliases are not supported, write the value out")
		return
	case n.ShortTag() == "!!null":
		return // as everywhere in Kubernetes: the same as left out
	}
	switch into.Kind() {
	case reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		d.value(n, into.Elem(), path)
	case reflect.Struct:
		d.fields(n, into, path)
	case reflect.Slice:
		d.items(n, into, path)
	case reflect.Map:
		d.entries(n, path, func(key, value *yaml.Node) {
			if into.IsNil() {
				into.Set(reflect.MakeMap(into.Type()))
			}
			element := reflect.New(into.Type().Elem()).Elem()
			d.value(value, element, path.Key(key.Value))
			into.SetMapIndex(reflect.ValueOf(key.Value), element)
		}, path.Key)
	default:
		d.scalar(n, into, path)
	}
}

// entries calls each for every pair of the mapping. child makes the path of a key.
func (d *decoder) entries(n *yaml.Node, path *field.Path, each func(key, value *yaml.Node), child func(string) *field.Path) {
	if n.Kind != yaml.MappingNode {
		d.mistyped(path, n, "a mapping (key: value)")
		return
	}
	lines := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode {
			d.mistyped(path, key, "text as a key")
			continue
		}
		if first, twice := lines[key.Value]; twice {
			d.forbid(child(key.Value), key, "already set in line %d", first)
			continue
		}
		lines[key.Value] = key.Line
		each(key, n.Content[i+1])
	}
}

// fields decodes a mapping into a struct by its JSON names.
func (d *decoder) fields(n *yaml.Node, into reflect.Value, path *field.Path) {
	child := func(name string) *field.Path { return path.Child(name) }
	names := make([]string, into.NumField())
	for i := range names {
		names[i], _, _ = strings.Cut(into.Type().Field(i).Tag.Get("json"), ",")
	}
	d.entries(n, path, func(key, value *yaml.Node) {
		for i, name := range names {
			if name == key.Value {
				d.value(value, into.Field(i), path.Child(name))
				return
			}
		}
		hint := intent.DidYouMean(key.Value, names)
		if hint == "" {
			hint = "; known here: " + strings.Join(names, ", ")
		}
		d.forbid(path.Child(key.Value), key, "unknown field%s", hint)
	}, child)
}

// items decodes a sequence into a slice, in place of the default.
func (d *decoder) items(n *yaml.Node, into reflect.Value, path *field.Path) {
	if n.Kind != yaml.SequenceNode {
		d.mistyped(path, n, "a list")
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		d.value(item, into.Index(i), path.Index(i))
	}
}

// scalar decodes text, numbers and booleans, each only from its own YAML type: a plain
// 1.20 or yes meant as text has already lost what the user wrote.
func (d *decoder) scalar(n *yaml.Node, into reflect.Value, path *field.Path) {
	if _, ok := reflect.TypeAssert[Duration](into); ok {
		d.duration(n, into, path)
		return
	}
	want, must := "!!str", "text; put it in quotes"
	switch into.Kind() {
	case reflect.Bool:
		want, must = "!!bool", "true or false"
	case reflect.Int, reflect.Int64:
		want, must = "!!int", "a whole number"
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() != want || n.Decode(into.Addr().Interface()) != nil {
		d.mistyped(path, n, must)
	}
}

func (d *decoder) duration(n *yaml.Node, into reflect.Value, path *field.Path) {
	parsed, err := time.ParseDuration(n.Value)
	if err != nil || parsed%time.Second != 0 {
		d.mistyped(path, n, "a Go duration of whole seconds such as 720h or 90m")
		return
	}
	into.SetInt(int64(parsed))
}
