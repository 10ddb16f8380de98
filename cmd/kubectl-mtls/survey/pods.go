package survey

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

// PodState says how a pod stands to what it would get today.
type PodState string

// Injected: it has all. Stale: it was injected, and would get something else today. Missing:
// it has nothing, and should.
const (
	Injected PodState = "injected"
	Stale    PodState = "stale"
	Missing  PodState = "not injected"
)

// Pod is a pod that is injected, or should be.
type Pod struct {
	*corev1.Pod

	State PodState
	// Lacks says what a stale pod has otherwise than it would get it, in words such as
	// "certificate".
	Lacks []string
}

// isInjected reports whether the pod was injected when it was made: somebody may have taken
// the label away, but volumes stay as they are.
func isInjected(pod *corev1.Pod) bool {
	return pod.Labels[intent.LabelInjected] == "true" ||
		slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == intent.CertificateVolume })
}

func isAlive(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

// newestFirst sorts as the controller does that picks the pod that decides.
func newestFirst(pods []*corev1.Pod) {
	slices.SortFunc(pods, func(a, b *corev1.Pod) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), strings.Compare(b.Name, a.Name))
	})
}

// compare says how the pod stands to what it would get. It is of no interest if it has
// nothing and should have nothing.
func compare(pod *corev1.Pod, today *intent.Result, optedIn bool) (Pod, bool) {
	compared := Pod{Pod: pod, State: Injected}
	switch has := isInjected(pod); {
	case !has:
		compared.State = Missing
		return compared, optedIn && today.Skip == ""
	case today.Skip != "":
		compared.State, compared.Lacks = Stale, []string{"opted out since"}
	case today.Intent != nil:
		if compared.Lacks = lacks(pod, today.Intent); len(compared.Lacks) > 0 {
			compared.State = Stale
		}
	}
	return compared, true
}

// lacks names the parts that the injector would still write into the pod. The status
// annotation alone says with which version it was injected, and is no difference.
func lacks(pod *corev1.Pod, in *intent.Intent) []string {
	patch := injector.Patch(intent.PodOf(pod), in)
	var parts []string
	for i := range patch.Operations {
		if part := partOf(pod, patch.Operations[i].Path); part != "" && !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	for _, err := range patch.Errors {
		parts = append(parts, err.Error())
	}
	slices.Sort(parts)
	return parts
}

// partOf names the part of a pod that a JSON pointer leads to.
func partOf(pod *corev1.Pod, pointer string) string {
	path := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	if path[0] == "metadata" {
		if len(path) > 2 && path[1] == "labels" {
			return "label"
		}
		return ""
	}
	if len(path) < 2 {
		return ""
	}
	switch path[1] {
	case "volumes":
		if len(path) > 2 && isVolume(pod, path[2], intent.BundleVolume) {
			return "CA bundle"
		}
		return "certificate"
	case "initContainers", "containers":
		if len(path) > 3 {
			return partOfContainer(path[3])
		}
		return "containers"
	}
	return path[1]
}

func partOfContainer(name string) string {
	switch name {
	case "env":
		return "variables"
	case "volumeMounts":
		return "mounts"
	case "lifecycle":
		return "preStop hook"
	case "livenessProbe", "readinessProbe", "startupProbe":
		return "probes"
	}
	return name
}

// isVolume reports whether the volume at the index, as in a pointer, has the name.
func isVolume(pod *corev1.Pod, index, name string) bool {
	for i := range pod.Spec.Volumes {
		if pod.Spec.Volumes[i].Name == name {
			return index == strconv.Itoa(i)
		}
	}
	return false
}
