package offline

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/cmd/kubectl-mtls/manifest"
	"example.io/mtls-injector/intent"
)

// templatePath returns where the object keeps its pod or pod template. Any kind, built in
// or not, has one that keeps containers below spec.template, as workloads do.
func templatePath(o *manifest.Object) ([]string, bool) {
	path := workloadOf(o).TemplatePath()
	switch {
	case o.Group() == "" && o.Kind == "Pod":
		path = nil
	case o.Group() == "" && o.Kind == "PodTemplate":
		path = []string{"template"}
	}
	containers, err := o.JSON(append(slices.Clip(path), "spec", "containers")...)
	return path, err != nil || strings.HasPrefix(string(containers), "[{")
}

func workloadOf(o *manifest.Object) intent.Workload {
	return intent.Workload{APIVersion: o.APIVersion, Kind: o.Kind, Name: o.Name}
}

// asCreated returns the pod as the workload's controller would create it. The error is for
// workloads whose name, a part of the identity, is not known yet.
func asCreated(o *manifest.Object, template *intent.Pod) (*intent.Pod, *field.Error) {
	if o.Group() == "" && o.Kind == "Pod" {
		pod := *template
		return &pod, nil
	}
	pod := workloadOf(o).PodOf(template)
	if o.Name == "" {
		return pod, field.Required(fieldPath(o, []string{"metadata", "name"}),
			"the identity depends on the workload's name; let the webhook inject what gets its name in the cluster")
	}
	return pod, nil
}
