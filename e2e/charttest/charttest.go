// Package charttest renders the Helm chart as its users do, with Helm's own command line. Its
// tests hold the chart to what it promises without a cluster.
package charttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	"example.io/mtls-injector/e2e/helm"
	"example.io/mtls-injector/e2e/internal/binaries"
)

// Release and Namespace are those of the installation that the documentation speaks of.
const (
	Release   = "mtls-injector"
	Namespace = "mtls-injector"
)

// Chart is the chart of the working tree, and Helm, which renders it.
type Chart struct {
	*helm.CLI
	// Dir is the chart's folder.
	Dir string
}

// New finds the chart and provides Helm, which keeps what it keeps in home. progress may be
// nil.
func New(ctx context.Context, home string, progress binaries.Progress) (*Chart, error) {
	cli, err := helm.New(ctx, "", home, progress)
	if err != nil {
		return nil, err
	}
	root, err := binaries.ModuleDir(ctx, "example.io/mtls-injector")
	if err != nil {
		return nil, err
	}
	return &Chart{CLI: cli, Dir: filepath.Join(root, "charts", "mtls-injector")}, nil
}

// Manifests renders the chart for [Release] in [Namespace]. args are further ones of `helm
// template`, such as --set a=b.
func (c *Chart) Manifests(ctx context.Context, args ...string) (string, error) {
	return c.Run(ctx, append([]string{"template", Release, c.Dir, "--namespace", Namespace}, args...)...)
}

// Template renders the chart as Manifests does, and returns the objects.
func (c *Chart) Template(ctx context.Context, args ...string) ([]*unstructured.Unstructured, error) {
	manifests, err := c.Manifests(ctx, args...)
	if err != nil {
		return nil, err
	}
	return decode(manifests)
}

// decode reads YAML documents. A key that stands twice is an error.
func decode(manifests string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	reader := yaml.NewDocumentDecoder(io.NopCloser(strings.NewReader(manifests)))
	defer func() { _ = reader.Close() }()
	buffer := make([]byte, len(manifests)+1)
	for {
		n, err := reader.Read(buffer)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading manifests: %w", err)
		}
		object := &unstructured.Unstructured{}
		if err := sigsyaml.UnmarshalStrict(buffer[:n], &object.Object); err != nil {
			return nil, fmt.Errorf("reading manifests: %w\n%s", err, buffer[:n])
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}

// Find returns the object of the kind and name, or nil.
func Find(objects []*unstructured.Unstructured, kind, name string) *unstructured.Unstructured {
	for _, object := range objects {
		if object.GetKind() == kind && object.GetName() == name {
			return object
		}
	}
	return nil
}

// Into converts an object into its type. A field that the type does not know is an error.
func Into[T any](object *unstructured.Unstructured) (*T, error) {
	if object == nil {
		return nil, errors.New("there is no such object")
	}
	into := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, into, true); err != nil {
		return nil, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
	}
	return into, nil
}
