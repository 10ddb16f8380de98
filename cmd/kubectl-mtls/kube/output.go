package kube

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// The formats that most commands have. The empty one is text for people.
const (
	OutputText = ""
	OutputWide = "wide"
	OutputJSON = "json"
	OutputYAML = "yaml"
)

// CheckOutput refuses a format that is none of these.
func CheckOutput(output string, formats ...string) error {
	if output == OutputText || slices.Contains(formats, output) {
		return nil
	}
	return fmt.Errorf("--output %q: must be %s", output, strings.Join(formats, ", "))
}

// Print writes the value as JSON or YAML.
func Print(out io.Writer, output string, value any) error {
	if output == OutputYAML {
		raw, err := yaml.Marshal(value)
		if err != nil {
			return err
		}
		_, err = out.Write(raw)
		return err
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "    ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}
