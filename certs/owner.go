package certs

// Who owns a companion, so that it goes when its workload goes. Admission knows the
// workload by name only, and a pod's labels and owner references are the word of whoever
// made the pod. Here the chain is followed and verified: otherwise a pod could make
// itself the one that decides about another workload's companion.

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/intent"
)

// errUnverified says that a pod's owners are not what the pod says they are, or are gone.
var errUnverified = errors.New("owner not verified")

// chain is a pod's controller and, where that has one of its own, the controller above;
// for a bare pod it is the pod itself. The last one owns the companion.
type chain []metav1.OwnerReference

func (c chain) owner() metav1.OwnerReference { return c[len(c)-1] }

// verifiedChain follows a pod's owners as far as its workload, and returns the direct one as
// well, if it could be read. The error is errUnverified when the chain is not real, another
// when it cannot be known now.
func verifiedChain(ctx context.Context, reader client.Reader, pod *corev1.Pod) (chain, *unstructured.Unstructured, error) {
	direct := metav1.GetControllerOfNoCopy(pod)
	if direct == nil {
		return chain{selfReference(pod)}, nil, nil
	}
	object, err := getOwner(ctx, reader, pod.Namespace, direct)
	if err != nil {
		return nil, nil, err
	}
	if object != nil && !selects(direct, object, pod.Labels) {
		return nil, nil, fmt.Errorf("%w: %s %s does not select the pod", errUnverified, direct.Kind, direct.Name)
	}
	workload := intent.WorkloadOfPod(pod)
	if object == nil || isKind(direct, workload.APIVersion, workload.Kind) {
		return chain{*direct}, object, nil
	}
	owners, err := climb(*direct, metav1.GetControllerOfNoCopy(object), workload)
	return owners, object, err
}

// selfReference refers to the pod, as to the owner that a bare one is of its companion.
func selfReference(pod *corev1.Pod) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}
}

// decidingPod returns the newest of the living pods whose owners are real, and the
// companion's where there is one: a namesake's pods have no say in it. Pods with invented
// owners have none anyway; when there are no others, the error is the newest one's.
func (r *reconciler) decidingPod(ctx context.Context, l *look) (*decider, error) {
	var first error
	var other *decider
	for _, pod := range l.alive {
		owners, direct, err := verifiedChain(ctx, r.live, pod)
		switch {
		case err == nil && (l.cert == nil || isOurs(l.cert, owners, intent.WorkloadOfPod(pod).Name)):
			return &decider{pod, owners, direct}, nil
		case err == nil && other == nil:
			other = &decider{pod, owners, direct}
		case ignoreUnverified(err) != nil:
			return nil, err
		case err != nil && first == nil:
			first = fmt.Errorf("pod %s: %w", pod.Name, err)
		}
	}
	if other != nil {
		return other, nil
	}
	return nil, first
}

// decider is the pod that decides, with its verified owners, and the direct one of them as
// it was read; nil if there is none or it is not ours to read.
type decider struct {
	pod    *corev1.Pod
	owners chain
	direct *unstructured.Unstructured
}

// climb adds the controller above a ReplicaSet or Job, which must be the workload that
// the name tells. Without a controller the ReplicaSet or Job stands for itself.
func climb(direct metav1.OwnerReference, above *metav1.OwnerReference, workload intent.Workload) (chain, error) {
	switch {
	case above == nil:
		return chain{direct}, nil
	case !isKind(above, workload.APIVersion, workload.Kind) || above.Name != workload.Name:
		return nil, fmt.Errorf("%w: the controller of %s %s is %s %s, not %s",
			errUnverified, direct.Kind, direct.Name, above.Kind, above.Name, workload)
	}
	return chain{direct, *above}, nil
}

// getOwner reads an owner, which must be the very object that the reference means, and
// there to stay. It returns nil for an object that exists for all that can be known: of a
// kind that is not ours to read.
func getOwner(ctx context.Context, reader client.Reader, namespace string, ref *metav1.OwnerReference) (*unstructured.Unstructured, error) {
	if group(ref.APIVersion) == "" && !isBuiltin(ref) {
		// Neither a Secret nor a Namespace makes pods: who may not read one shall not learn
		// from us that it exists.
		return nil, fmt.Errorf("%w: a %s makes no pods", errUnverified, ref.Kind)
	}
	object, err := getObject(ctx, reader, namespace, ref)
	switch {
	case apierrors.IsNotFound(err), meta.IsNoMatchError(err):
		return nil, fmt.Errorf("%w: there is no %s %s", errUnverified, ref.Kind, ref.Name)
	case apierrors.IsForbidden(err) && !isBuiltin(ref):
		return nil, nil
	case err != nil:
		return nil, err
	case object.GetUID() != ref.UID:
		return nil, fmt.Errorf("%w: %s %s is another one than the pod's", errUnverified, ref.Kind, ref.Name)
	case object.GetDeletionTimestamp() != nil:
		return nil, fmt.Errorf("%w: %s %s is being deleted", errUnverified, ref.Kind, ref.Name)
	}
	return object, nil
}

// isBuiltin reports whether the owner is of a kind that the controller has a right to
// get (see doc.go). Not to be allowed to is a fault of the installation then.
func isBuiltin(ref *metav1.OwnerReference) bool {
	switch ref.Kind {
	case "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet":
		return group(ref.APIVersion) == "apps"
	case "Job", "CronJob":
		return group(ref.APIVersion) == "batch"
	case "Pod", "ReplicationController":
		return group(ref.APIVersion) == ""
	}
	return false
}

func group(apiVersion string) string { return schema.FromAPIVersionAndKind(apiVersion, "").Group }

// isKind compares without the version, which says nothing about who somebody is.
func isKind(ref *metav1.OwnerReference, apiVersion, kind string) bool {
	return ref.Kind == kind && group(ref.APIVersion) == group(apiVersion)
}

// ownerReference makes the reference to a companion's owner. It is the controller
// reference: a second one is refused by the API server, so nobody adopts a companion
// besides. It does not block the owner's deletion, for which one needs a right on the
// owner's finalizers (OwnerReferencesPermissionEnforcement).
func ownerReference(owner metav1.OwnerReference) metav1.OwnerReference {
	owner.Controller, owner.BlockOwnerDeletion = new(true), new(false)
	return owner
}
