package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"example.io/mtls-injector/cmd/internal/golden"
	"example.io/mtls-injector/config"
)

// chartOf writes a chart with these values.
func chartOf(t *testing.T, values, readme string) string {
	t.Helper()
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "values.yaml"), []byte(values), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "README.md.gotmpl"), []byte(readme), 0o600))
	return folder
}

// TestChartPages: every kind of value, in the README and in the schema.
func TestChartPages(t *testing.T) {
	values, err := os.ReadFile("testdata/values.yaml")
	require.NoError(t, err)
	pages, err := chartPages(chartOf(t, string(values), "# Chart\n\n{{ .Values }}\n"))
	require.NoError(t, err)
	golden.Check(t, "testdata/README.md", pages["README.md"])
	golden.Check(t, "testdata/values.schema.json", pages["values.schema.json"])
}

func TestChartPagesRefuse(t *testing.T) {
	const readme = "# Chart\n\n{{ .Values }}\n"
	for name, tt := range map[string]struct{ values, readme, want string }{
		"not YAML":       {"a: [", readme, "values.yaml: yaml: line 1: did not find expected node content"},
		"empty":          {"", readme, "values.yaml: must be a mapping"},
		"a list":         {"- a", readme, "values.yaml: must be a mapping"},
		"a wrong schema": {"a:\n  # @schema {\"type\": }\n  b: 1\n", readme, "values.yaml: line 3: a.b: @schema: invalid character '}' looking for beginning of value"},
		"no such schema": {"# @schema selektor\na: {}\n", readme, `a: line 2: there is no schema "selektor"`},
		"null":           {"a:\n  b: null\n", readme, `a.b: line 2: a default of null needs a type: # @schema {"type": …}`},
		"no template":    {"a: 1\n", "{{ .Values", "README.md.gotmpl: template: README.md.gotmpl:1: unclosed action"},
		"another field":  {"a: 1\n", "{{ .Version }}", `README.md.gotmpl: template: README.md.gotmpl:1:3: executing "README.md.gotmpl" at <.Version>: map has no entry for key "Version"`},
	} {
		t.Run(name, func(t *testing.T) {
			folder := chartOf(t, tt.values, tt.readme)
			_, err := chartPages(folder)
			require.Error(t, err)
			assert.Equal(t, tt.want, strings.ReplaceAll(err.Error(), folder+"/", ""))
		})
	}
	folder := chartOf(t, "a: 1\n", "")
	require.NoError(t, os.Remove(filepath.Join(folder, "README.md.gotmpl")))
	_, err := chartPages(folder)
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// TestEveryValueIsDescribed: nobody has to guess.
func TestEveryValueIsDescribed(t *testing.T) {
	values, err := readValues(filepath.Join(chartFolder, "values.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, values[0].section, "the first value is in a section")
	for i := range values {
		rows, err := valueRows(&values[i])
		require.NoError(t, err)
		for _, row := range rows {
			assert.NotEmpty(t, row[2], "%s has no description", row[0])
		}
	}
}

// TestConfigurationSchema: it knows every field of the documented configuration, and what
// the chart's values have of it is the default.
func TestConfigurationSchema(t *testing.T) {
	text, err := os.ReadFile(example)
	require.NoError(t, err)
	var documented map[string]any
	require.NoError(t, yaml.Unmarshal(text, &documented))
	for _, ours := range []string{"apiVersion", "kind", "namespaceSelector"} {
		require.Contains(t, documented, ours)
		delete(documented, ours)
	}
	knows(t, configSchema(), documented, "config")

	var values struct {
		NamespaceSelector map[string]any `yaml:"namespaceSelector"`
		Config            map[string]any
	}
	text, err = os.ReadFile(filepath.Join(chartFolder, "values.yaml"))
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(text, &values))
	agrees(t, documented, values.Config, "config")
}

// agrees asserts that what is said is what is documented, at every depth; not all of it need be.
func agrees(t *testing.T, documented, said map[string]any, path string) {
	t.Helper()
	for field, value := range said {
		below, isObject := value.(map[string]any)
		whole, ok := documented[field].(map[string]any)
		if isObject && ok {
			agrees(t, whole, below, path+"."+field)
			continue
		}
		assert.Equal(t, documented[field], value, "%s.%s", path, field)
	}
}

// knows asserts that a schema has the same fields as a value, at every depth.
func knows(t *testing.T, s schema, value map[string]any, path string) {
	t.Helper()
	properties, ok := s["properties"].(schema)
	require.True(t, ok, path)
	assert.Equal(t, false, s["additionalProperties"], path)
	assert.Len(t, properties, len(value), path)
	for field, child := range value {
		property, ok := properties[field].(schema)
		require.True(t, ok, "%s.%s", path, field)
		if below, ok := child.(map[string]any); ok {
			knows(t, property, below, path+"."+field)
		}
	}
}

// TestEnumerations: each word of a type is in the schema, wherever the type is used.
func TestEnumerations(t *testing.T) {
	for kind, words := range enumerations() {
		assert.NotEmpty(t, words, kind)
		assert.Equal(t, reflect.String, kind.Kind())
	}
	text, err := json.Marshal(configSchema())
	require.NoError(t, err)
	assert.NotContains(t, string(text), `"enum":null`)
	assert.Contains(t, string(text), `{"enum":["csi","secret"]}`)
	assert.Equal(t, "string", typeSchema(reflect.TypeFor[config.Issuer](), nil)["properties"].(schema)["name"].(schema)["type"])
}

// TestEveryVariationIsListed: the README has them all.
func TestEveryVariationIsListed(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(chartFolder, "ci", "*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	readme, err := os.ReadFile(filepath.Join(chartFolder, "README.md"))
	require.NoError(t, err)
	for _, file := range files {
		assert.Contains(t, string(readme), "](ci/"+filepath.Base(file)+") |")
	}
}
