package webhook

// What is read of a workload: its metadata, and the pod template where its kind keeps it.

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/intent"
)

// workload is the part of a Deployment, a CronJob and the like that a decision needs.
type workload struct {
	metadata intent.PodMetadata
	// path leads from the object to the template, which is nil when there is none.
	path     []string
	template *intent.Pod
}

// readWorkload reads an object of any kind.
func readWorkload(kind groupVersionKind, object jsontext.Value) (workload, error) {
	w := workload{path: kind.workload("").TemplatePath()}
	if err := decodeMember(object, &w.metadata, "metadata"); err != nil {
		return w, err
	}
	if !hasContainers(object, w.path) {
		return w, nil
	}
	w.template = new(intent.Pod)
	return w, decodeMember(object, w.template, w.path...)
}

// workload is one of the kind.
func (g groupVersionKind) workload(name string) intent.Workload {
	apiVersion := schema.GroupVersion{Group: g.Group, Version: g.Version}.String()
	return intent.Workload{APIVersion: apiVersion, Kind: g.Kind, Name: name}
}

// hasContainers tells a pod template from whatever else a custom kind may keep there.
func hasContainers(object jsontext.Value, path []string) bool {
	var containers []jsontext.Value
	value := member(member(object, path...), "spec", "containers")
	return json.Unmarshal(value, &containers) == nil && len(containers) > 0 && containers[0].Kind() == jsontext.KindBeginObject
}

// name is the workload's name. While that is to be generated it is what it begins with, as
// it is for pods; at validation the API server has generated it.
func (w *workload) name() string {
	if w.metadata.Name != "" {
		return w.metadata.Name
	}
	return strings.TrimRight(w.metadata.GenerateName, "-.")
}

// isOwned reports whether another object's controller made it.
func (w *workload) isOwned() bool {
	for i := range w.metadata.OwnerReferences {
		if w.metadata.OwnerReferences[i].Controller {
			return true
		}
	}
	return false
}

// place makes the paths of a pod's problems begin at the workload. Those of its namespace
// stay as they are.
func (w *workload) place(errs field.ErrorList) {
	for _, err := range errs {
		if !strings.HasPrefix(err.Field, "namespace.") {
			err.Field = strings.Join(w.path, ".") + "." + err.Field
		}
	}
}

// member returns the value at the path below a JSON object, or nil when there is none.
func member(object jsontext.Value, path ...string) jsontext.Value {
	for _, name := range path {
		var members map[string]jsontext.Value
		if json.Unmarshal(object, &members) != nil {
			return nil
		}
		object = members[name]
	}
	return object
}

// decodeMember decodes the value at the path, if there is one.
func decodeMember(object jsontext.Value, into any, path ...string) error {
	value := member(object, path...)
	if value == nil {
		return nil
	}
	if err := json.Unmarshal(value, into); err != nil {
		return fmt.Errorf("reading %s: %w", strings.Join(path, "."), err)
	}
	return nil
}
