package certs

import (
	"maps"
	"reflect"
	"sync"
	"weak"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// sharer makes pods of one owner share what is the same in all of them, which is nearly
// everything that is kept of a pod: in a cache of 10,000 pods that is most of the memory.
// Whoever reads from the cache must not write to what he reads, and so sharing is safe.
type sharer struct {
	mu sync.Mutex
	// last is the last pod of each owner, as long as anybody else holds it.
	last map[types.UID]weak.Pointer[corev1.Pod]
	// full is the size at which owners without pods are dropped.
	full int
}

// fewOwners is the size up to which dropping is not worth the look.
const fewOwners = 1024

func newSharer() *sharer {
	return &sharer{last: map[types.UID]weak.Pointer[corev1.Pod]{}, full: fewOwners}
}

// slimPod is the cache's transformation: [slimPod], and what it keeps is shared.
func (s *sharer) slimPod(obj any) (any, error) {
	slim, err := slimPod(obj)
	pod, ok := slim.(*corev1.Pod)
	if err != nil || !ok {
		return slim, err
	}
	if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
		s.share(pod, owner.UID)
	}
	return pod, nil
}

func (s *sharer) share(pod *corev1.Pod, owner types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if like := s.last[owner].Value(); like != nil {
		adopt(pod, like)
	}
	s.last[owner] = weak.Make(pod)
	if len(s.last) > s.full {
		maps.DeleteFunc(s.last, func(_ types.UID, p weak.Pointer[corev1.Pod]) bool { return p.Value() == nil })
		s.full = 2*len(s.last) + fewOwners
	}
}

// adopt replaces what the pod has by what the other one has, where they are equal.
func adopt(pod, like *corev1.Pod) {
	same(&pod.GenerateName, like.GenerateName)
	same(&pod.Namespace, like.Namespace)
	same(&pod.Labels, like.Labels)
	same(&pod.Annotations, like.Annotations)
	same(&pod.OwnerReferences, like.OwnerReferences)
	same(&pod.Spec.ServiceAccountName, like.Spec.ServiceAccountName)
	same(&pod.Spec.OS, like.Spec.OS)
	same(&pod.Spec.NodeSelector, like.Spec.NodeSelector)
	same(&pod.Spec.SecurityContext, like.Spec.SecurityContext)
	same(&pod.Spec.Volumes, like.Spec.Volumes)
	same(&pod.Spec.InitContainers, like.Spec.InitContainers)
	same(&pod.Spec.Containers, like.Spec.Containers)
}

func same[T any](have *T, other T) {
	if reflect.DeepEqual(*have, other) {
		*have = other
	}
}
