package intent

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Workload is the top controller of a pod, or the bare pod itself: the bearer of an
// identity of record.
type Workload struct {
	APIVersion, Kind, Name string
	// UID is empty when the workload is known by name only, as a Deployment is from
	// its ReplicaSet.
	UID string
}

// String returns "Kind/name".
func (w Workload) String() string { return w.Kind + "/" + w.Name }

// rolloutsHash is the label that Argo Rollouts gives its ReplicaSets' pods, in the place
// of pod-template-hash.
const rolloutsHash = "rollouts-pod-template-hash"

// WorkloadOf names the pod's workload from its owner references and labels alone, as
// they stand at admission. A Deployment and a Rollout are told from their ReplicaSet's
// name, a CronJob from its Job's. Whoever gives rights to the workload itself, and not
// just to its name, must verify the chain of owners.
func WorkloadOf(pod *Pod) Workload {
	meta := &pod.Metadata
	for i := range meta.OwnerReferences {
		if owner := &meta.OwnerReferences[i]; owner.Controller {
			return topOf(owner, meta.Labels)
		}
	}
	name := meta.Name
	if meta.GenerateName != "" {
		// At admission such a pod has no name yet: the prefix is all that lasts.
		name = strings.TrimRight(meta.GenerateName, "-.")
	}
	return Workload{APIVersion: "v1", Kind: "Pod", Name: name, UID: meta.UID}
}

func topOf(owner *OwnerReference, labels map[string]string) Workload {
	// By group, too: Volcano, for one, has a Job of its own.
	switch schema.FromAPIVersionAndKind(owner.APIVersion, owner.Kind).GroupKind() {
	case schema.GroupKind{Group: appsv1.GroupName, Kind: "ReplicaSet"}:
		if name, ok := withoutHash(owner.Name, labels[appsv1.DefaultDeploymentUniqueLabelKey]); ok {
			return Workload{APIVersion: "apps/v1", Kind: "Deployment", Name: name}
		}
		if name, ok := withoutHash(owner.Name, labels[rolloutsHash]); ok {
			return Workload{APIVersion: "argoproj.io/v1alpha1", Kind: "Rollout", Name: name}
		}
	case schema.GroupKind{Group: batchv1.GroupName, Kind: "Job"}:
		if name, ok := cronJobOf(owner.Name); ok {
			return Workload{APIVersion: "batch/v1", Kind: "CronJob", Name: name}
		}
	}
	return Workload{APIVersion: owner.APIVersion, Kind: owner.Kind, Name: owner.Name, UID: owner.UID}
}

// withoutHash cuts "-<hash>" off a ReplicaSet's name.
func withoutHash(name, hash string) (string, bool) {
	if hash == "" {
		return "", false
	}
	name, ok := strings.CutSuffix(name, "-"+hash)
	return name, ok && name != ""
}

// cronJobOf tells a CronJob from the name that its controller gives to Jobs:
// <cronjob>-<scheduled time in minutes since 1970>. A date such as 20261121 at the end
// of a hand-made Job's name is a minute of 2008, before there were CronJobs, and seconds
// since 1970 have ten digits.
func cronJobOf(job string) (string, bool) {
	const (
		digits      = 8          // until 2160
		firstMinute = 23_667_840 // 2015-01-01
	)
	cut := strings.LastIndexByte(job, '-')
	if cut < 1 || len(job)-cut-1 != digits {
		return "", false
	}
	minute, err := strconv.ParseUint(job[cut+1:], 10, 32)
	return job[:cut], err == nil && minute >= firstMinute
}

// CompanionName names the companion Certificate and its Secret: <name>-mtls for a
// Deployment, <name>-mtls-<kind> for the other built-in kinds, and with a hash of group
// and kind for all others. So workloads of one name and different kinds never share a
// key, and the name is known from the pod alone (docs/decisions/0003). It is always a DNS
// subdomain of at most 253 characters, also where an owner reference, which the API server
// does not check, names what cannot exist.
func CompanionName(w Workload) string {
	suffix := companionSuffix(w)
	if name := w.Name + suffix; objectName(name) == nil {
		return name
	}
	suffix = "-" + shortHash(w.Name) + suffix
	stem := w.Name[:min(len(w.Name), validation.DNS1123SubdomainMaxLength-len(suffix))]
	if stem = strings.TrimRight(stem, "-."); objectName(stem) != nil {
		stem = "workload"
	}
	return stem + suffix
}

func companionSuffix(w Workload) string {
	const suffix = "-mtls"
	group := schema.FromAPIVersionAndKind(w.APIVersion, w.Kind).Group
	kind := strings.ToLower(w.Kind)
	switch {
	case group == appsv1.GroupName && w.Kind == "Deployment":
		return suffix
	case builtinKind(group, w.Kind):
		return suffix + "-" + kind
	case dnsLabel(kind) != nil:
		return suffix + "-" + shortHash(group+"/"+w.Kind)
	default:
		return suffix + "-" + kind + "-" + shortHash(group+"/"+w.Kind)
	}
}

func builtinKind(group, kind string) bool {
	switch kind {
	case "ReplicaSet", "StatefulSet", "DaemonSet":
		return group == appsv1.GroupName
	case "Job", "CronJob":
		return group == batchv1.GroupName
	case "Pod", "ReplicationController":
		return group == corev1.GroupName
	}
	return false
}

func shortHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:4])
}
