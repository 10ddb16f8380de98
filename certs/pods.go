package certs

// Which pods there are to a companion, and which of them decides.

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/intent"
)

// indexCompanion finds the pods of a companion by its name.
const indexCompanion = "companion"

// csiDNSNames is the CSI driver's attribute with the DNS names that it asks for.
const csiDNSNames = intent.CSIDriver + "/dns-names"

// CacheByObject says what the manager's cache keeps for the controller: the pods that
// were injected and the companions, and of both just what is read. Namespaces and
// Services are needed, too; whoever owns the cache decides how they are kept, with
// labels and the annotations under [intent.Prefix] at least.
func CacheByObject() map[client.Object]cache.ByObject {
	return map[client.Object]cache.ByObject{
		&corev1.Pod{}: {
			Label:     labels.SelectorFromSet(labels.Set{intent.LabelInjected: "true"}),
			Transform: newSharer().slimPod,
		},
		&cmapi.Certificate{}: {
			Label:     labels.SelectorFromSet(labels.Set{LabelManagedBy: ManagedBy}),
			Transform: slimCertificate,
		},
	}
}

// slimPod keeps what [intent.Resolve] and the choice of the deciding pod read.
func slimPod(obj any) (any, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return obj, nil
	}
	slim := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: pod.Name, GenerateName: pod.GenerateName, Namespace: pod.Namespace, UID: pod.UID,
			ResourceVersion: pod.ResourceVersion, Labels: pod.Labels, OwnerReferences: pod.OwnerReferences,
			CreationTimestamp: pod.CreationTimestamp, DeletionTimestamp: pod.DeletionTimestamp,
		},
		Spec: corev1.PodSpec{
			ServiceAccountName: pod.Spec.ServiceAccountName,
			OS:                 pod.Spec.OS,
			NodeSelector:       pod.Spec.NodeSelector,
			SecurityContext:    pod.Spec.SecurityContext,
			Volumes:            slimVolumes(pod),
			InitContainers:     slimContainers(pod.Spec.InitContainers),
			Containers:         slimContainers(pod.Spec.Containers),
		},
		Status: corev1.PodStatus{Phase: pod.Status.Phase},
	}
	for key, value := range pod.Annotations {
		if key == corev1.MirrorPodAnnotationKey || strings.HasPrefix(key, intent.Prefix) && key != intent.AnnotationStatus {
			metav1.SetMetaDataAnnotation(&slim.ObjectMeta, key, value)
		}
	}
	return slim, nil
}

func slimContainers(containers []corev1.Container) []corev1.Container {
	var slim []corev1.Container
	for i := range containers {
		slim = append(slim, corev1.Container{Name: containers[i].Name, SecurityContext: containers[i].SecurityContext})
	}
	return slim
}

// slimVolumes keeps what tells which names the pod's certificate has, and whether the pod
// mounts its companion's Secret, however it does.
func slimVolumes(pod *corev1.Pod) []corev1.Volume {
	var slim []corev1.Volume
	secret := companionOf(pod)
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		kept := corev1.Volume{Name: v.Name}
		switch {
		case v.CSI != nil && v.CSI.Driver == intent.CSIDriver:
			kept.CSI = &corev1.CSIVolumeSource{
				Driver:           intent.CSIDriver,
				VolumeAttributes: map[string]string{csiDNSNames: v.CSI.VolumeAttributes[csiDNSNames]},
			}
		case isOfSecret(v, secret):
			kept.Secret = &corev1.SecretVolumeSource{SecretName: secret}
		default:
			continue
		}
		slim = append(slim, kept)
	}
	return slim
}

// isOfSecret reports whether the volume holds anything of the Secret.
func isOfSecret(v *corev1.Volume, secret string) bool {
	if v.Projected != nil {
		return slices.ContainsFunc(v.Projected.Sources, func(s corev1.VolumeProjection) bool {
			return s.Secret != nil && s.Secret.Name == secret
		})
	}
	return v.Secret != nil && v.Secret.SecretName == secret
}

// mounts reports whether one of the pods, living or on its way out, mounts the Secret.
func mounts(pods []corev1.Pod, secret string) bool {
	for i := range pods {
		if !hasEnded(&pods[i]) && mountsSecret(&pods[i], secret) {
			return true
		}
	}
	return false
}

func mountsSecret(pod *corev1.Pod, secret string) bool {
	for i := range pod.Spec.Volumes {
		if isOfSecret(&pod.Spec.Volumes[i], secret) {
			return true
		}
	}
	return false
}

// slimCertificate keeps specification, metadata and status, and of the managed fields our
// own: they tell what of the object is ours.
func slimCertificate(obj any) (any, error) {
	cert, ok := obj.(*cmapi.Certificate)
	if !ok {
		return obj, nil
	}
	cert.ManagedFields = slices.DeleteFunc(cert.ManagedFields, func(e metav1.ManagedFieldsEntry) bool {
		return e.Manager != FieldManager
	})
	return cert, nil
}

// companionOf names the companion of a pod's workload.
func companionOf(pod *corev1.Pod) string {
	return intent.CompanionName(intent.WorkloadOfPod(pod))
}

// indexPod is the index by [indexCompanion].
func indexPod(obj client.Object) []string {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return nil
	}
	return []string{companionOf(pod)}
}

// hasEnded reports whether all containers have ended for good.
func hasEnded(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// isAlive reports whether the pod still needs a certificate.
func isAlive(pod *corev1.Pod) bool { return pod.DeletionTimestamp == nil && !hasEnded(pod) }

// newestFirst returns the pods that are alive, the newest first: it decides. Pods of the
// same second are told apart by name, so that every look gives the same order.
func newestFirst(pods []corev1.Pod) []*corev1.Pod {
	var alive []*corev1.Pod
	for i := range pods {
		if isAlive(&pods[i]) {
			alive = append(alive, &pods[i])
		}
	}
	slices.SortFunc(alive, func(a, b *corev1.Pod) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), strings.Compare(b.Name, a.Name))
	})
	return alive
}

// podChanged reports whether a change of the pod can change a decision; its
// specification cannot change.
func podChanged(before, after *corev1.Pod) bool {
	return isAlive(before) != isAlive(after) || hasEnded(before) != hasEnded(after) ||
		!maps.Equal(before.Labels, after.Labels) ||
		!maps.Equal(before.Annotations, after.Annotations) ||
		!slices.EqualFunc(before.OwnerReferences, after.OwnerReferences, func(a, b metav1.OwnerReference) bool {
			return a.UID == b.UID && (a.Controller != nil && *a.Controller) == (b.Controller != nil && *b.Controller)
		})
}

// agreeOnReload reports whether all pods say the same of restarts, which is the one part of
// an intent that matters here and that the companion does not show. Where they differ, only
// a verified pod's word counts.
func agreeOnReload(pods []*corev1.Pod) bool {
	const key = intent.Prefix + "reload"
	return !slices.ContainsFunc(pods, func(pod *corev1.Pod) bool { return pod.Annotations[key] != pods[0].Annotations[key] })
}
