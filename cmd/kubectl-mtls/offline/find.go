package offline

import (
	"slices"

	"gomodules.xyz/jsonpatch/v2"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/cmd/kubectl-mtls/manifest"
	"example.io/mtls-injector/intent"
)

// Found is a pod or a pod template in a manifest.
type Found struct {
	Object *manifest.Object
	// Path leads from the object to the pod or template; it is empty for a Pod.
	Path []string
	Pod  *intent.Pod
	// Error is set if that is no pod.
	Error *field.Error
}

// Find returns the pods and pod templates of the documents, in their order.
func Find(docs []*manifest.Document) []Found {
	var all []Found
	for _, d := range docs {
		for _, o := range d.Objects() {
			if path, ok := templatePath(o); ok {
				pod := &intent.Pod{}
				all = append(all, Found{Object: o, Path: path, Pod: pod, Error: read(o, path, pod)})
			}
		}
	}
	return all
}

// WithMetadata puts before the operations what makes the metadata that every pod has and a
// template need not have.
func WithMetadata(d *Decision, operations []jsonpatch.Operation) []jsonpatch.Operation {
	if len(operations) == 0 {
		return nil
	}
	if metadata, err := d.Object.JSON(append(slices.Clip(d.Path), "metadata")...); err == nil && metadata != nil && string(metadata) != "null" {
		return operations
	}
	return append([]jsonpatch.Operation{jsonpatch.NewOperation("add", "/metadata", struct{}{})}, operations...)
}
