package intent

// How a pod template becomes the pod that its controller will create, as far as a decision
// needs it: for the command line, and where workloads are validated.

import (
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Stand-ins for what controllers make up. They only have to have the right form, for the
// workload's name is found by taking them off again.
const (
	standInHash = "5d9c7f8b6d"
	standInTime = "29000000" // minutes since 1970
)

// PodOf returns the pod that the workload's controller would create of the template: with
// the owner reference and the labels from which [WorkloadOf] can tell the workload. It has
// nobody's UID. The template is shared and not changed.
func (w Workload) PodOf(template *Pod) *Pod {
	pod := *template
	owner, labels := w.directOwner()
	pod.Metadata = PodMetadata{
		GenerateName:    owner.Name + "-",
		Annotations:     template.Metadata.Annotations,
		Labels:          maps.Clone(template.Metadata.Labels),
		OwnerReferences: []OwnerReference{owner},
	}
	if w.groupKind() == (schema.GroupKind{Group: appsv1.GroupName, Kind: "StatefulSet"}) {
		pod.Metadata.Name = w.Name + "-0" // the only pods whose names can be written down
	}
	if len(labels) > 0 && pod.Metadata.Labels == nil {
		pod.Metadata.Labels = map[string]string{}
	}
	maps.Copy(pod.Metadata.Labels, labels)
	return &pod
}

// TemplatePath returns where workloads of the kind keep their pod template: custom kinds
// where nearly all built-in ones do.
func (w Workload) TemplatePath() []string {
	if w.groupKind() == (schema.GroupKind{Group: batchv1.GroupName, Kind: "CronJob"}) {
		return []string{"spec", "jobTemplate", "spec", "template"}
	}
	return []string{"spec", "template"}
}

// directOwner returns the controller of the workload's pods, which is not always the
// workload itself, and the labels that it adds to them.
func (w Workload) directOwner() (OwnerReference, map[string]string) {
	owner := OwnerReference{APIVersion: w.APIVersion, Kind: w.Kind, Name: w.Name, Controller: true}
	kind := w.groupKind()
	switch kind.Group + "/" + kind.Kind {
	case "apps/Deployment", "extensions/Deployment":
		owner.APIVersion, owner.Kind, owner.Name = "apps/v1", "ReplicaSet", w.Name+"-"+standInHash
		return owner, map[string]string{appsv1.DefaultDeploymentUniqueLabelKey: standInHash}
	case "argoproj.io/Rollout":
		owner.APIVersion, owner.Kind, owner.Name = "apps/v1", "ReplicaSet", w.Name+"-"+standInHash
		return owner, map[string]string{rolloutsHash: standInHash}
	case "batch/CronJob":
		owner.APIVersion, owner.Kind, owner.Name = "batch/v1", "Job", w.Name+"-"+standInTime
	case "batch/Job":
		return owner, map[string]string{batchv1.JobNameLabel: w.Name, "job-name": w.Name}
	}
	return owner, nil
}
