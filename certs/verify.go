package certs

// Whether a pod is of the workload whose name it would get: the same question at admission
// and for companions.

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/intent"
)

// WorkloadVerifier asks the API server whether pods are of the workloads that they say
// they are of. Its reader must not be backed by a cache: pods are made right after their
// owners.
type WorkloadVerifier struct {
	Reader client.Reader
}

// Verify returns what is wrong with a pod that is to get its workload's Secret, or with
// named its name, or nil; and an error when that cannot be told. A pod's owners are real
// when they exist with these UIDs, select the pod, and lead to the workload that its direct
// owner's name tells. A pod with a name by its own word, a bare one or a custom resource's,
// must not have the name of a workload of Kubernetes' own kinds.
func (v WorkloadVerifier) Verify(ctx context.Context, pod *intent.Pod, named bool) (*field.Error, error) {
	meta := &pod.Metadata
	object := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: meta.Namespace, Name: meta.Name, GenerateName: meta.GenerateName, Labels: meta.Labels,
	}}
	for _, o := range meta.OwnerReferences {
		object.OwnerReferences = append(object.OwnerReferences, metav1.OwnerReference{
			APIVersion: o.APIVersion, Kind: o.Kind, Name: o.Name, UID: types.UID(o.UID), Controller: &o.Controller,
		})
	}
	owners, _, err := verifiedChain(ctx, v.Reader, object)
	if err == nil && named {
		err = checkName(ctx, v.Reader, object, owners)
	}
	if !errors.Is(err, errUnverified) {
		return nil, err
	}
	remedy := "leave the owner reference out"
	if named {
		remedy = "create a Service that selects it"
	}
	at, value := saysWhose(object)
	return field.Invalid(at, value, "the pod would get the identity of a workload that it is not of: "+err.Error()+
		"; make the pod by its workload, or "+remedy), nil
}

// saysWhose returns the field by which a pod says what workload it is of.
func saysWhose(pod *corev1.Pod) (at *field.Path, value string) {
	metadata := field.NewPath("metadata")
	if ref := metav1.GetControllerOfNoCopy(pod); ref != nil {
		return metadata.Child("ownerReferences"), ref.Kind + "/" + ref.Name
	}
	if pod.Name == "" {
		return metadata.Child("generateName"), pod.GenerateName
	}
	return metadata.Child("name"), pod.Name
}

// checkName reports a pod that has its workload's name by its own word only, if that is
// the name of another workload. The error is errUnverified then.
func checkName(ctx context.Context, reader client.Reader, pod *corev1.Pod, owners chain) error {
	workload, owner := intent.WorkloadOfPod(pod), owners.owner()
	if isKind(&owner, workload.APIVersion, workload.Kind) && owner.Kind != "Pod" && (isBuiltin(&owner) || len(owners) > 1) {
		return nil
	}
	for _, kind := range []schema.GroupVersionKind{
		appsv1.SchemeGroupVersion.WithKind("Deployment"), appsv1.SchemeGroupVersion.WithKind("StatefulSet"),
		appsv1.SchemeGroupVersion.WithKind("DaemonSet"), appsv1.SchemeGroupVersion.WithKind("ReplicaSet"),
		batchv1.SchemeGroupVersion.WithKind("Job"), batchv1.SchemeGroupVersion.WithKind("CronJob"),
		corev1.SchemeGroupVersion.WithKind("ReplicationController"),
	} {
		other := &metav1.PartialObjectMetadata{}
		other.SetGroupVersionKind(kind)
		switch err := reader.Get(ctx, client.ObjectKey{Namespace: pod.Namespace, Name: workload.Name}, other); {
		case apierrors.IsNotFound(err):
		case err != nil:
			return fmt.Errorf("get %s %s: %w", kind.Kind, workload.Name, err)
		case other.UID != owner.UID:
			return fmt.Errorf("%w: %s is the name of %s %s", errUnverified, workload, kind.Kind, workload.Name)
		}
	}
	return nil
}

// selects reports whether a controller of a built-in kind selects pods with these labels.
// Others are not known to have selectors, and a pod that makes pods, as Spark's driver
// does, has none.
func selects(ref *metav1.OwnerReference, owner *unstructured.Unstructured, of labels.Set) bool {
	if !isBuiltin(ref) || ref.Kind == "Pod" {
		return true
	}
	raw, _, _ := unstructured.NestedMap(owner.Object, "spec", "selector")
	if ref.Kind == "ReplicationController" { // its selector is a plain map
		raw = map[string]any{"matchLabels": raw}
	}
	selector, err := selectorOf(raw)
	return err == nil && !selector.Empty() && selector.Matches(of)
}

// selectorOf reads a LabelSelector. What has not its form, as the plain map of a
// ReplicationController may not, is as good as an empty one, which is nobody's.
func selectorOf(raw map[string]any) (labels.Selector, error) {
	var written metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &written); err != nil {
		return labels.Everything(), nil //nolint:nilerr // there is nothing to be done about it
	}
	return metav1.LabelSelectorAsSelector(&written)
}
