package e2e

import (
	"maps"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// What controllers put into the names of what they make.
const (
	templateHash    = "7d9c5b8f64"
	scheduledMinute = 29_386_980 // 2025-11-15
	ownerUID        = types.UID("6f6c3d86-6d7e-4b8a-9f2a-000000000000")
)

// podOf returns the pod that the workload's controller would make, as it sends it to the
// API server: no name yet but for StatefulSets, and an owner. It is nil for other objects.
func podOf(obj client.Object) *corev1.Pod {
	switch o := obj.(type) {
	case *corev1.Pod:
		return o.DeepCopy()
	case *appsv1.Deployment:
		name := o.Name + "-" + templateHash
		return madeBy("apps/v1", "ReplicaSet", name, &o.Spec.Template, map[string]string{appsv1.DefaultDeploymentUniqueLabelKey: templateHash})
	case *appsv1.ReplicaSet:
		return madeBy("apps/v1", "ReplicaSet", o.Name, &o.Spec.Template, nil)
	case *corev1.ReplicationController:
		return madeBy("v1", "ReplicationController", o.Name, o.Spec.Template, nil)
	case *appsv1.DaemonSet:
		return madeBy("apps/v1", "DaemonSet", o.Name, &o.Spec.Template, map[string]string{appsv1.DefaultDaemonSetUniqueLabelKey: templateHash})
	case *appsv1.StatefulSet:
		return statefulPod(o)
	case *batchv1.Job:
		return jobPod(o.Name, &o.Spec)
	case *batchv1.CronJob:
		return jobPod(o.Name+"-"+strconv.Itoa(scheduledMinute), &o.Spec.JobTemplate.Spec)
	default:
		return nil
	}
}

func madeBy(apiVersion, kind, owner string, template *corev1.PodTemplateSpec, labels map[string]string) *corev1.Pod {
	prefix := owner + "-"
	if len(prefix) > validation.DNS1123SubdomainMaxLength {
		prefix = owner // as the controllers do
	}
	isController := true
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: prefix,
			Labels:       copyOf(template.Labels),
			Annotations:  copyOf(template.Annotations),
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: apiVersion, Kind: kind, Name: owner, UID: ownerUID,
				Controller: &isController, BlockOwnerDeletion: &isController,
			}},
		},
		Spec: *template.Spec.DeepCopy(),
	}
	maps.Copy(pod.Labels, labels)
	return pod
}

func jobPod(name string, spec *batchv1.JobSpec) *corev1.Pod {
	pod := madeBy("batch/v1", "Job", name, &spec.Template, map[string]string{
		batchv1.JobNameLabel: name, batchv1.ControllerUidLabel: string(ownerUID), "job-name": name, "controller-uid": string(ownerUID),
	})
	pod.Finalizers = []string{batchv1.JobTrackingFinalizer}
	if spec.CompletionMode == nil || *spec.CompletionMode != batchv1.IndexedCompletion {
		return pod
	}
	pod.GenerateName = name + "-0-"
	pod.Annotations[batchv1.JobCompletionIndexAnnotation] = "0"
	pod.Labels[batchv1.JobCompletionIndexAnnotation] = "0"
	if pod.Spec.Hostname == "" {
		pod.Spec.Hostname = name + "-0"
	}
	path := "metadata.labels['" + batchv1.JobCompletionIndexAnnotation + "']"
	for i := range pod.Spec.Containers {
		pod.Spec.Containers[i].Env = append(pod.Spec.Containers[i].Env, corev1.EnvVar{
			Name:      "JOB_COMPLETION_INDEX",
			ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}},
		})
	}
	return pod
}

func statefulPod(set *appsv1.StatefulSet) *corev1.Pod {
	name := set.Name + "-0"
	pod := madeBy("apps/v1", "StatefulSet", set.Name, &set.Spec.Template, map[string]string{
		appsv1.StatefulSetPodNameLabel: name, appsv1.PodIndexLabel: "0", appsv1.StatefulSetRevisionLabel: set.Name + "-" + templateHash,
	})
	pod.GenerateName, pod.Name = set.Name+"-", name
	pod.Spec.Hostname, pod.Spec.Subdomain = name, set.Spec.ServiceName
	volumes := make([]corev1.Volume, 0, len(set.Spec.VolumeClaimTemplates)+len(pod.Spec.Volumes))
	claimed := map[string]bool{}
	for i := range set.Spec.VolumeClaimTemplates {
		claim := set.Spec.VolumeClaimTemplates[i].Name
		claimed[claim] = true
		source := &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim + "-" + name}
		volumes = append(volumes, corev1.Volume{Name: claim, VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: source}})
	}
	for _, volume := range pod.Spec.Volumes {
		if !claimed[volume.Name] {
			volumes = append(volumes, volume)
		}
	}
	pod.Spec.Volumes = volumes
	return pod
}

// templateLabels are those by which the workload's real pods are found: the template's,
// without what podOf had to invent, or the Job's name where there are none.
func templateLabels(obj client.Object, labels map[string]string) map[string]string {
	found := map[string]string{}
	if _, ok := obj.(*batchv1.Job); ok {
		return map[string]string{batchv1.JobNameLabel: obj.GetName()}
	}
	for _, invented := range []string{
		appsv1.DefaultDeploymentUniqueLabelKey, appsv1.StatefulSetPodNameLabel, appsv1.PodIndexLabel, appsv1.StatefulSetRevisionLabel,
	} {
		delete(labels, invented)
	}
	maps.Copy(found, labels)
	return found
}
