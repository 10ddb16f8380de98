package cluster

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// fieldOwner is the manager of the fields that Apply sets.
const fieldOwner = client.FieldOwner("e2e")

// Apply applies a YAML stream, document by document, by server-side apply. A
// namespaced object without a namespace goes into the given one. It returns the
// objects as the API server keeps them, and stops at the first that is refused.
func (c *Cluster) Apply(ctx context.Context, manifests []byte, namespace string) ([]*unstructured.Unstructured, error) {
	objects, err := decode(manifests)
	if err != nil {
		return nil, err
	}
	for i, obj := range objects {
		if err := c.applyOne(ctx, obj, namespace); err != nil {
			return objects[:i], err
		}
	}
	return objects, nil
}

func (c *Cluster) applyOne(ctx context.Context, obj *unstructured.Unstructured, namespace string) error {
	gvk := obj.GroupVersionKind()
	name := fmt.Sprintf("%s %s", gvk.Kind, obj.GetName())
	mapping, err := c.Client.RESTMapper().RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return fmt.Errorf("applying %s: %w", name, err)
	}
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace && obj.GetNamespace() == "" {
		obj.SetNamespace(namespace)
	}
	config := client.ApplyConfigurationFromUnstructured(obj)
	if err := c.Client.Apply(ctx, config, fieldOwner, client.ForceOwnership); err != nil {
		return fmt.Errorf("applying %s: %w", name, err)
	}
	return nil
}

// decode splits a YAML stream into objects. Lists are taken apart and documents
// that are empty or only comments left out.
func decode(manifests []byte) ([]*unstructured.Unstructured, error) {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifests)))
	var objects []*unstructured.Unstructured
	for i := 1; ; i++ {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading document %d: %w", i, err)
		}
		obj := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(doc, &obj.Object); err != nil {
			return nil, fmt.Errorf("parsing document %d: %w", i, err)
		}
		if len(obj.Object) == 0 {
			continue
		}
		if !obj.IsList() {
			objects = append(objects, obj)
			continue
		}
		err = obj.EachListItem(func(item runtime.Object) error {
			one, ok := item.(*unstructured.Unstructured)
			if !ok {
				return fmt.Errorf("unexpected item of type %T", item)
			}
			objects = append(objects, one)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("parsing the list in document %d: %w", i, err)
		}
	}
}
