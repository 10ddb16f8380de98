package charttest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"example.io/mtls-injector/e2e/cluster/clustertest"
)

// chart is what all tests here render.
var chart *Chart

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	home, err := os.MkdirTemp("", "charttest-")
	if err == nil {
		defer func() { _ = os.RemoveAll(home) }()
		chart, err = New(context.Background(), home, clustertest.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// template renders the chart.
func template(t *testing.T, args ...string) []*unstructured.Unstructured {
	t.Helper()
	objects, err := chart.Template(t.Context(), args...)
	require.NoError(t, err)
	return objects
}

// set are arguments of Helm that set values, as its users write them.
func set(values ...string) []string {
	var args []string
	for _, value := range values {
		args = append(args, "--set", value)
	}
	return args
}

// variations returns the documented variations of the values, by name: the arguments of Helm.
func variations(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(chart.Dir, "ci", "*-values.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	all := map[string][]string{}
	for _, file := range files {
		all[strings.TrimSuffix(filepath.Base(file), "-values.yaml")] = []string{"--values", file}
	}
	return all
}

// must returns the object of the kind and name as its type.
func must[T any](t *testing.T, objects []*unstructured.Unstructured, kind, name string) *T {
	t.Helper()
	into, err := Into[T](Find(objects, kind, name))
	require.NoError(t, err, "%s %s", kind, name)
	return into
}
