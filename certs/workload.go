package certs

// What a workload without injected pods says itself, by its pod template: it may be scaled
// to zero, between two Jobs, or opted out.

import (
	"context"
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/intent"
)

// getWorkload reads the owner whole; an object of that name with another UID is not found.
func getWorkload(ctx context.Context, reader client.Reader, namespace string, ref *metav1.OwnerReference) (*unstructured.Unstructured, error) {
	workload, err := getObject(ctx, reader, namespace, ref)
	if err != nil {
		return nil, err
	}
	if workload.GetUID() != ref.UID {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: ref.Kind}, ref.Name)
	}
	return workload, nil
}

// getObject reads the object that has the reference's kind and name, be it the one that is
// meant or another.
func getObject(ctx context.Context, reader client.Reader, namespace string, ref *metav1.OwnerReference) (*unstructured.Unstructured, error) {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind))
	if err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: ref.Name}, object); err != nil {
		return nil, fmt.Errorf("get %s %s: %w", ref.Kind, ref.Name, err)
	}
	return object, nil
}

// workloadWants reports whether the workload that owns the companion still wants one. What
// cannot be known counts as yes.
func (r *reconciler) workloadWants(ctx context.Context, l *look) (bool, error) {
	ref := metav1.GetControllerOfNoCopy(l.cert)
	if ref == nil {
		return false, nil // orphaned, and nobody left that uses it
	}
	workload, err := getWorkload(ctx, r.live, l.key.Namespace, ref)
	switch {
	case apierrors.IsNotFound(err), meta.IsNoMatchError(err):
		return false, nil
	case apierrors.IsForbidden(err) && !isBuiltin(ref):
		return true, nil
	case err != nil:
		return false, err
	case workload.GetDeletionTimestamp() != nil || hasFinished(ref, workload):
		return false, nil
	}
	template, ok, err := templateOf(ref, workload)
	if err != nil || !ok {
		return true, err
	}
	_, result, err := r.resolveFor(ctx, l, template)
	if err != nil || result == notWanted {
		return false, err
	}
	optedOut, err := r.runsWithoutUs(ctx, l.key.Namespace, workload)
	return !optedOut, err
}

// hasFinished reports whether the workload is a Job that will run no more pods.
func hasFinished(ref *metav1.OwnerReference, workload *unstructured.Unstructured) bool {
	if group(ref.APIVersion) != batchv1.GroupName || ref.Kind != "Job" {
		return false
	}
	conditions, _, _ := unstructured.NestedSlice(workload.Object, "status", "conditions")
	for i := range conditions {
		c, ok := conditions[i].(map[string]any)
		finished := ok && (c["type"] == string(batchv1.JobComplete) || c["type"] == string(batchv1.JobFailed))
		if finished && c["status"] == string(corev1.ConditionTrue) {
			return true
		}
	}
	return false
}

// templateOf returns a pod as the workload would make it, for the built-in kinds.
func templateOf(ref *metav1.OwnerReference, workload *unstructured.Unstructured) (*corev1.Pod, bool, error) {
	if !isBuiltin(ref) || ref.Kind == "Pod" {
		return nil, false, nil
	}
	raw, found, err := unstructured.NestedMap(workload.Object, workloadOf(ref).TemplatePath()...)
	if err != nil || !found {
		return nil, false, err
	}
	var template corev1.PodTemplateSpec
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &template); err != nil {
		return nil, false, fmt.Errorf("pod template of %s %s: %w", ref.Kind, ref.Name, err)
	}
	pod := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
	pod.Namespace, pod.Name = workload.GetNamespace(), ""
	pod.OwnerReferences = []metav1.OwnerReference{*ref}
	return pod, true, nil
}

// asTemplate returns the pod as its owner's template says it, of the built-in kinds: who may
// change pods, or make doubles of them, has no say in the companion of their workload. The
// labels are the pod's own, for they decide which Services select it. Where neither
// template nor namespace says anything of ours, another webhook has, and the pod decides.
func (r *reconciler) asTemplate(ctx context.Context, l *look, d *decider) (*corev1.Pod, error) {
	pod := d.pod
	if d.direct == nil {
		return pod, nil
	}
	template, ok, err := templateOf(&d.owners[0], d.direct)
	if err != nil || !ok {
		return pod, err
	}
	if err := r.learn(ctx, l, pod.Namespace); err != nil || l.namespace == nil {
		return pod, err
	}
	if !intent.Concerns(template.Annotations) && !intent.Concerns(l.namespace.Annotations) {
		return pod, nil
	}
	said := *pod
	said.Annotations, said.Spec = template.Annotations, template.Spec
	return &said, nil
}

// runsWithoutUs reports whether the workload has pods, and they are not injected: its
// namespace or its pods were opted out by label, which no template tells.
func (r *reconciler) runsWithoutUs(ctx context.Context, namespace string, workload *unstructured.Unstructured) (bool, error) {
	raw, found, err := unstructured.NestedMap(workload.Object, "spec", "selector")
	if err != nil || !found {
		return false, err
	}
	selector, err := selectorOf(raw)
	if err != nil || selector.Empty() {
		return false, err
	}
	var pods corev1.PodList
	if err := r.live.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return false, fmt.Errorf("list pods: %w", err)
	}
	others := 0
	for i := range pods.Items {
		switch {
		case pods.Items[i].DeletionTimestamp != nil:
		case pods.Items[i].Labels[intent.LabelInjected] == "true", hasVolume(&pods.Items[i]):
			return false, nil // made since, or somebody took the label away
		default:
			others++
		}
	}
	return others > 0, nil
}

// hasVolume reports whether the pod was injected when it was made: volumes stay as they are.
func hasVolume(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == intent.CertificateVolume })
}
