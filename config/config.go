package config

// The ways in and out: bytes or a file to intent.Defaults, and back.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/intent"
)

// Load reads the configuration file at the path; an empty path gives the builtin
// defaults. The error names the file and holds every problem in it.
func Load(path string) (*intent.Defaults, error) {
	if path == "" {
		return intent.BuiltinDefaults(), nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	defaults, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	return defaults, nil
}

// Parse reads a configuration file's content. Version is not in the file: it stays
// that of [intent.BuiltinDefaults]. Problems with fields are a [field.ErrorList] made
// an aggregate.
func Parse(data []byte) (*intent.Defaults, error) {
	builtin, err := fromDefaults(intent.BuiltinDefaults())
	if err != nil {
		return nil, err
	}
	c := unset(builtin)
	errs, err := decode(data, c)
	if err != nil {
		return nil, err
	}
	complete(c, builtin)
	if err := join(errs, validate(c)).ToAggregate(); err != nil {
		return nil, err
	}
	return c.toDefaults()
}

// join adds the problems of values to those of form, but for fields that were not
// decoded and so have no value that anybody wrote.
func join(form, values field.ErrorList) field.ErrorList {
	malformed := make([]string, len(form))
	for i, err := range form {
		malformed[i] = err.Field
	}
	for _, err := range values {
		missing := func(path string) bool {
			return path == err.Field || err.Type == field.ErrorTypeRequired && strings.HasPrefix(path, err.Field+".")
		}
		if !slices.ContainsFunc(malformed, missing) {
			form = append(form, err)
		}
	}
	return form
}

// Encode writes the defaults as a complete file, in the order of InjectorConfiguration.
// [Parse] of it gives the same defaults. It fails only for selectors that no file can
// have produced.
func Encode(defaults *intent.Defaults) ([]byte, error) {
	c, err := fromDefaults(defaults)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	// JSON is YAML, and its nodes keep the order of the fields.
	var document yaml.Node
	if err := yaml.Unmarshal(raw, &document); err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	if err := blockStyle(&document); err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&document); err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	return out.Bytes(), nil
}

// blockStyle writes on lines of their own what JSON has in brackets, unless it is empty,
// and puts only those texts in quotes that some YAML reader takes for something else.
func blockStyle(n *yaml.Node) error {
	switch {
	case n.ShortTag() == "!!str":
		return n.Encode(n.Value)
	case len(n.Content) > 0:
		n.Style = 0
	}
	for _, child := range n.Content {
		if err := blockStyle(child); err != nil {
			return err
		}
	}
	return nil
}
