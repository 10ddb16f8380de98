package main

// The chart's README and the schema of its values.

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// longestDefault is what a table can hold; who wants more reads values.yaml.
const longestDefault = 60

// chartPages returns the generated files of the chart in the folder, by name.
func chartPages(folder string) (map[string]string, error) {
	values, err := readValues(filepath.Join(folder, "values.yaml"))
	if err != nil {
		return nil, err
	}
	validation, err := valuesSchema(values)
	if err != nil {
		return nil, err
	}
	readme, err := chartReadme(filepath.Join(folder, "README.md.gotmpl"), values)
	if err != nil {
		return nil, err
	}
	return map[string]string{"README.md": readme, "values.schema.json": validation}, nil
}

// chartReadme fills the template with the tables of values.
func chartReadme(file string, values []chartValue) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	tables, err := valueTables(values)
	if err != nil {
		return "", err
	}
	page, err := template.New(filepath.Base(file)).Option("missingkey=error").Parse(string(text))
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	var b strings.Builder
	b.WriteString(generated)
	if err := page.Execute(&b, map[string]string{"Values": tables}); err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	return strings.TrimRight(b.String(), "\n") + "\n", nil
}

// valueTables documents values, a table for each section.
func valueTables(values []chartValue) (string, error) {
	var b strings.Builder
	var rows [][]string
	flush := func() {
		if len(rows) > 0 {
			b.WriteString(table([]string{"value", "default", "meaning"}, rows) + "\n")
		}
		rows = nil
	}
	for i := range values {
		if section := values[i].section; section != "" {
			flush()
			b.WriteString("### " + section + "\n\n")
		}
		more, err := valueRows(&values[i])
		if err != nil {
			return "", err
		}
		rows = append(rows, more...)
	}
	flush()
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// valueRows documents a value and those below it. A mapping has a row of its own only if
// there is something to say about it.
func valueRows(v *chartValue) ([][]string, error) {
	if v.isWhole() {
		text, err := v.defaultText()
		if err != nil {
			return nil, err
		}
		if len(text) > longestDefault {
			text = "values.yaml"
		} else {
			text = code(text)
		}
		return [][]string{{code(v.path), text, v.help}}, nil
	}
	var rows [][]string
	if v.help != "" {
		rows = append(rows, []string{code(v.path), "", v.help})
	}
	for i := range v.values {
		more, err := valueRows(&v.values[i])
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}
