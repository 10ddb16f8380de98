package certs

// Restarts of workloads with `reload: restart`: whether one is due, when, and the change of
// the pod template that makes the platform do it. The arithmetic is in docs/rotation.md.

import (
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"example.io/mtls-injector/intent"
)

const (
	// slotPoll is when a workload that found no slot asks again. Asking costs no request.
	slotPoll = 5 * time.Second
	// creationGrain is the grain of creation times: pods made by a restart must come out
	// younger than the certificate that they are restarted for.
	creationGrain = time.Second
	// kubeletLag is how long a kubelet may give a new pod a Secret's former content.
	kubeletLag = time.Minute
	// backdating is how far an issuer may date a certificate back: AWS Private CA and
	// others do by an hour.
	backdating = 2 * time.Hour
)

// restart restarts the workload if it is due, and returns when to look again.
func (r *reconciler) restart(ctx context.Context, l *look) (time.Duration, error) {
	if l.in.Reload != intent.ReloadRestart || !isReady(l.cert) || isIssuing(l.cert) || l.cert.Status.NotBefore == nil {
		r.slots.release(l.key)
		return 0, nil
	}
	settled := l.entry.settled(l.cert, r.now())
	hash := certificateHash(l.cert)
	if !slices.ContainsFunc(l.alive, func(pod *corev1.Pod) bool { return l.isOutdated(pod, hash) }) {
		r.slots.release(l.key)
		return 0, nil
	}
	if !r.canRestart(l, hash) {
		return 0, nil
	}
	if under, err := r.isUnderWay(ctx, l, hash); err != nil || under {
		return 0, err
	}
	policy := r.defaults().Restart
	due := latest(settled, dueTime(l.cert, l.key, policy.Jitter))
	if wait := due.Sub(r.now()); wait > 0 {
		return wait, nil
	}
	if !r.slots.acquire(l.key, policy.MaxConcurrentWorkloads, r.now()) {
		return slotPoll, nil
	}
	if err := r.restartNow(ctx, l, hash); err != nil {
		r.slots.release(l.key)
		r.metrics.restarts.WithLabelValues(string(failed)).Inc()
		return 0, err
	}
	return 0, nil
}

// isOutdated reports whether the pod has to be restarted for the certificate of this hash:
// it began before the certificate was issued, or its own lacks names.
//
// The first certificate comes after the first pods, which have their own from the CSI
// driver or wait for the Secret. If it comes so late that half the window has gone, they
// are restarted as well, for the next renewal would come too late for them.
func (l *look) isOutdated(pod *corev1.Pod, hash string) bool {
	if pod.Annotations[intent.AnnotationCertificateHash] == hash {
		return false
	}
	tolerance := time.Duration(0)
	switch {
	case revision(l.cert) <= 1:
		tolerance = window(l.cert) / 2
	case mountsSecret(pod, l.key.Name):
		tolerance = -secretLag(l.cert)
	}
	return !pod.CreationTimestamp.Add(tolerance).After(l.cert.Status.NotBefore.Time) || l.stale[pod.UID] != nil
}

// secretLag is how much younger than the certificate a pod that mounts the Secret may seem
// and yet have begun with the former one. To restart a pod that did not is no harm, for it
// is done once, and half a window leaves the time for it.
func secretLag(cert *cmapi.Certificate) time.Duration {
	return max(kubeletLag, min(backdating, window(cert)/2))
}

// canRestart reports whether the workload's pods come anew when its template changes. Jobs
// end by themselves; the others are told that somebody has to restart them.
func (r *reconciler) canRestart(l *look, hash string) bool {
	switch owner := l.workload(); {
	case owner.Restartable():
		return true
	case owner.Ends():
		return false
	}
	if tellOnce(&l.entry.toldNeed, hash) {
		r.tell(l, corev1.EventTypeNormal, reasonRestartNeeded, "Restart", fmt.Sprintf(
			"The certificate has been renewed, and pods that read theirs only once should be made anew: %s cannot be restarted by %s", l.owner.Kind, ManagedBy))
	}
	return false
}

// workload is the owner as it was verified. The intent's workload is what the pod's name tells.
func (l *look) workload() intent.Workload { return workloadOf(&l.owner) }

func workloadOf(ref *metav1.OwnerReference) intent.Workload {
	return intent.Workload{APIVersion: ref.APIVersion, Kind: ref.Kind, Name: ref.Name, UID: string(ref.UID)}
}

// isUnderWay reports whether the restart was asked for already, by this process or by one
// before it, and is not to be asked for again.
func (r *reconciler) isUnderWay(ctx context.Context, l *look, hash string) (bool, error) {
	if l.entry.requested == hash {
		return true, nil
	}
	if l.entry.examined == hash {
		return false, nil
	}
	workload, err := getWorkload(ctx, r.live, l.key.Namespace, &l.owner)
	if apierrors.IsNotFound(err) {
		return true, nil // it is gone, and its pods follow
	}
	if err != nil {
		return false, err
	}
	annotations, _, err := unstructured.NestedStringMap(workload.Object, "spec", "template", "metadata", "annotations")
	if err != nil {
		return false, fmt.Errorf("pod template of %s %s: %w", l.owner.Kind, l.owner.Name, err)
	}
	l.entry.examined = hash
	if annotations[intent.AnnotationCertificateHash] != hash {
		return false, nil
	}
	l.entry.requested = hash
	r.slots.hold(l.key, r.now())
	return true, nil
}

// dueTime spreads the restarts of a renewal over the jitter, but at most over a quarter of
// the window. Each companion has its own time, the same at every look.
func dueTime(cert *cmapi.Certificate, key client.ObjectKey, jitter time.Duration) time.Time {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(key.String() + "/" + certificateHash(cert)))
	spread := min(jitter, window(cert)/4)
	part := time.Duration(float64(spread) * float64(sum.Sum32()) / math.MaxUint32)
	return cert.Status.NotBefore.Add(creationGrain + part)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// restartNow changes the pod template, once it is sure that pods of this very workload
// ask for it: a pod's word about its owner is anybody's.
func (r *reconciler) restartNow(ctx context.Context, l *look, hash string) error {
	asks, err := r.asksForRestart(ctx, l, hash)
	if err != nil {
		return err
	}
	if !asks {
		log.FromContext(ctx).Info("no restart: the pods that ask for one are not the workload's")
		r.slots.release(l.key)
		return nil
	}
	if err := r.cached.Apply(ctx, restartConfiguration(l, hash), client.FieldOwner(FieldManager), client.ForceOwnership); err != nil {
		return fmt.Errorf("restart %s %s: %w", l.owner.Kind, l.owner.Name, err)
	}
	l.entry.requested = hash
	r.metrics.restarts.WithLabelValues(string(updated)).Inc()
	r.tell(l, corev1.EventTypeNormal, reasonRestarted, "Restart",
		fmt.Sprintf("Restarting the pods for revision %d of Certificate %s", revision(l.cert), l.cert.Name))
	return nil
}

// asksForRestart reports whether one of the outdated pods is verified to be the workload's.
func (r *reconciler) asksForRestart(ctx context.Context, l *look, hash string) (bool, error) {
	var failed error
	for _, pod := range l.alive {
		if !l.isOutdated(pod, hash) {
			continue
		}
		switch owners, _, err := verifiedChain(ctx, r.live, pod); {
		case err == nil && owners.owner().UID == l.owner.UID:
			return true, nil
		case ignoreUnverified(err) != nil:
			failed = err
		}
	}
	return false, failed
}

// restartConfiguration is the one field that is ours in a workload. The UID is a
// precondition, so that no namesake is touched or made.
func restartConfiguration(l *look, hash string) runtime.ApplyConfiguration {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(schema.FromAPIVersionAndKind(l.owner.APIVersion, l.owner.Kind))
	u.SetNamespace(l.key.Namespace)
	u.SetName(l.owner.Name)
	u.SetUID(l.owner.UID)
	u.Object["spec"] = map[string]any{"template": map[string]any{"metadata": map[string]any{
		"annotations": map[string]any{intent.AnnotationCertificateHash: hash},
	}}}
	return client.ApplyConfigurationFromUnstructured(u)
}
