package certs

// What the workload's owner gets to see: Events, each on the workload.

import (
	"fmt"
	"slices"
	"strings"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"example.io/mtls-injector/intent"
)

// The reasons of Events.
const (
	reasonIssued          = "Issued"
	reasonRenewed         = "Renewed"
	reasonRestarted       = "Restarted"
	reasonRestartNeeded   = "RestartNeeded"
	reasonIdentityStale   = "IdentityStale"
	reasonNameTaken       = "NameTaken"
	reasonIssuerNotReady  = "IssuerNotReady"
	actionIssue           = "Issue"
	actionCreateCompanion = "CreateCompanion"
)

// tell records an Event on the workload.
func (r *reconciler) tell(l *look, kind, reason, action, note string) {
	r.tellOf(l, nil, kind, reason, action, note)
}

func (r *reconciler) tellOf(l *look, related runtime.Object, kind, reason, action, note string) {
	r.record(l.key.Namespace, l.owner, related, kind, reason, action, note)
}

func (r *reconciler) record(namespace string, about metav1.OwnerReference, related runtime.Object, kind, reason, action, note string) {
	object := &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: about.APIVersion, Kind: about.Kind},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: about.Name, UID: about.UID},
	}
	r.events.Eventf(object, related, kind, reason, action, "%s", fit(note))
}

// announce tells of a Certificate that was issued, or issued anew, since the last look. At
// its first look a process cannot tell whether a finished Certificate is news.
func (r *reconciler) announce(l *look) {
	e, first := l.entry, !l.entry.seen
	e.seen, e.toldTaken = true, ""
	if !isReady(l.cert) || isIssuing(l.cert) {
		return
	}
	now := revision(l.cert)
	switch {
	case first:
	case !e.issued && now <= 1:
		r.tell(l, corev1.EventTypeNormal, reasonIssued, actionIssue,
			fmt.Sprintf("Certificate %s was issued by %s", l.cert.Name, l.in.Issuer))
		if !e.firstPod.IsZero() {
			r.metrics.readySeconds.Observe(r.now().Sub(e.firstPod).Seconds())
		}
	case now > e.revision:
		r.metrics.renewals.Inc()
		r.tell(l, corev1.EventTypeNormal, reasonRenewed, actionIssue,
			fmt.Sprintf("Certificate %s was renewed by %s: revision %d", l.cert.Name, l.in.Issuer, now))
	}
	e.issued, e.revision = true, now
}

// findStale finds the pods whose own certificate lacks names that they would get today,
// because a Service came after them: for each of these, what it lacks.
func (r *reconciler) findStale(l *look) map[types.UID][]string {
	stale := map[types.UID][]string{}
	for _, pod := range l.alive {
		have, own := ownNames(pod)
		if !own || len(without(l.in.Identity.PodDNSNames(), have)) == 0 {
			continue
		}
		// Not all pods of a workload are alike during a rollout.
		decided := intent.Resolve(r.defaults(), l.namespace, intent.PodOf(pod), l.services)
		if decided.Intent == nil {
			continue
		}
		if lacking := without(decided.Intent.Identity.PodDNSNames(), have); len(lacking) > 0 {
			stale[pod.UID] = lacking
		}
	}
	return stale
}

// ownNames returns the DNS names that the pod's CSI volume asks for, if it has one.
func ownNames(pod *corev1.Pod) (names []string, own bool) {
	for i := range pod.Spec.Volumes {
		if csi := pod.Spec.Volumes[i].CSI; csi != nil {
			own = true
			for name := range strings.SplitSeq(csi.VolumeAttributes[csiDNSNames], ",") {
				names = append(names, strings.TrimSpace(name))
			}
		}
	}
	return names, own
}

// without returns the names of a that b lacks.
func without(a, b []string) []string {
	var rest []string
	for _, name := range a {
		if !slices.Contains(b, name) {
			rest = append(rest, name)
		}
	}
	return rest
}

// announceStale tells of these pods: each of them, and their workload.
func (r *reconciler) announceStale(l *look) {
	var about []string
	var newest *corev1.Pod
	for _, pod := range l.alive {
		if lacking := l.stale[pod.UID]; lacking != nil {
			about = append(about, pod.Name+" "+strings.Join(lacking, ","))
			if newest == nil {
				newest = pod
			}
		}
	}
	if !tellOnce(&l.entry.toldStale, strings.Join(about, ";")) {
		return
	}
	remedy := "; restart them"
	if l.in.Reload == intent.ReloadRestart && l.workload().Restartable() {
		remedy = "; they are restarted"
	}
	r.tellOf(l, newest, corev1.EventTypeWarning, reasonIdentityStale, "Resolve", fmt.Sprintf(
		"The certificates of %d of %d pods lack names that their Services give them now, pod %s for one: %s%s",
		len(about), len(l.alive), newest.Name, shortList(l.stale[newest.UID]), remedy))
	if l.owner.UID == newest.UID {
		return // a bare pod is its own workload
	}
	for _, pod := range l.alive {
		if lacking := l.stale[pod.UID]; lacking != nil {
			r.record(pod.Namespace, selfReference(pod), nil, corev1.EventTypeWarning, reasonIdentityStale, "Resolve",
				"The pod's certificate lacks names that its Services give it now: "+shortList(lacking))
		}
	}
}

// fit cuts a note where an Event's ends, at 1 kB (events.k8s.io/v1): the API server refuses
// longer ones, and what issuers have to say has no bound.
func fit(note string) string {
	const most, rest = 1024, "…"
	if len(note) <= most {
		return note
	}
	return strings.ToValidUTF8(note[:most-len(rest)], "") + rest
}

// shortList names the first of many.
func shortList(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// taken tells that somebody else has the companion's name.
func (r *reconciler) taken(l *look, kind string) {
	note := kind + " " + l.key.Name + " was not made by " + ManagedBy + " for this workload and is left as it is: there is no companion Certificate"
	if tellOnce(&l.entry.toldTaken, note) {
		r.tell(l, corev1.EventTypeWarning, reasonNameTaken, actionCreateCompanion, note)
	}
}

// isPending reports whether somebody waits for the issuer.
func isPending(cert *cmapi.Certificate) bool {
	return !isReady(cert) || isIssuing(cert) || failure(cert) != nil
}
