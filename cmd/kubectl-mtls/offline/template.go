package offline

import (
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/cmd/kubectl-mtls/manifest"
	"example.io/mtls-injector/intent"
)

// Stand-ins for what controllers make up. They only have to have the right form, for the
// workload's name is found by taking them off again.
const (
	templateHash  = "5d9c7f8b6d"
	scheduledTime = "29000000" // minutes since 1970
	rolloutsHash  = "rollouts-pod-template-hash"
)

// templatePath returns where the object keeps its pod or pod template. Any kind, built in
// or not, has one that keeps containers below spec.template, as workloads do.
func templatePath(o *manifest.Object) ([]string, bool) {
	path := []string{"spec", "template"}
	switch {
	case o.Group() == "" && o.Kind == "Pod":
		path = nil
	case o.Group() == "" && o.Kind == "PodTemplate":
		path = []string{"template"}
	case o.Group() == "batch" && o.Kind == "CronJob":
		path = []string{"spec", "jobTemplate", "spec", "template"}
	}
	containers, err := o.JSON(append(slices.Clip(path), "spec", "containers")...)
	return path, err != nil || strings.HasPrefix(string(containers), "[{")
}

// asCreated returns the pod as the workload's controller would create it: with the owner
// and the labels from which its workload can be told. The error is for workloads whose
// name, a part of the identity, is not known yet.
func asCreated(o *manifest.Object, template *intent.Pod) (*intent.Pod, *field.Error) {
	pod := *template
	if o.Group() == "" && o.Kind == "Pod" {
		return &pod, nil
	}
	owner, labels := ownerOf(o)
	pod.Metadata = intent.PodMetadata{
		GenerateName:    owner.Name + "-",
		Annotations:     template.Metadata.Annotations,
		Labels:          maps.Clone(template.Metadata.Labels),
		OwnerReferences: []intent.OwnerReference{owner},
	}
	if len(labels) > 0 && pod.Metadata.Labels == nil {
		pod.Metadata.Labels = map[string]string{}
	}
	maps.Copy(pod.Metadata.Labels, labels)
	if o.Name == "" {
		return &pod, field.Required(fieldPath(o, []string{"metadata", "name"}),
			"the identity depends on the workload's name; let the webhook inject what gets its name in the cluster")
	}
	return &pod, nil
}

// ownerOf returns the controller of the workload's pods, which is not always the workload
// itself, and the labels that it adds to them.
func ownerOf(o *manifest.Object) (intent.OwnerReference, map[string]string) {
	owner := intent.OwnerReference{APIVersion: o.APIVersion, Kind: o.Kind, Name: o.Name, Controller: true}
	switch o.Group() + "/" + o.Kind {
	case "apps/Deployment", "extensions/Deployment":
		owner.APIVersion, owner.Kind, owner.Name = "apps/v1", "ReplicaSet", o.Name+"-"+templateHash
		return owner, map[string]string{appsv1.DefaultDeploymentUniqueLabelKey: templateHash}
	case "argoproj.io/Rollout":
		owner.APIVersion, owner.Kind, owner.Name = "apps/v1", "ReplicaSet", o.Name+"-"+templateHash
		return owner, map[string]string{rolloutsHash: templateHash}
	case "batch/CronJob":
		owner.APIVersion, owner.Kind, owner.Name = "batch/v1", "Job", o.Name+"-"+scheduledTime
	case "batch/Job":
		return owner, map[string]string{batchv1.JobNameLabel: o.Name, "job-name": o.Name}
	}
	return owner, nil
}
