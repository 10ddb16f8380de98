package certs

// One look at one companion, in order.

import (
	"context"
	"errors"
	"fmt"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"example.io/mtls-injector/intent"
)

// nameTakenRetry is when a name that somebody else has is tried again: their object is not
// in our cache, so its deletion is not seen.
const nameTakenRetry = 5 * time.Minute

// reconciler brings companions about. The request's name is the companion's.
type reconciler struct {
	// cached reads from the manager's cache and writes; live reads from the API server.
	cached   client.Client
	live     client.Reader
	defaults func() *intent.Defaults
	events   events.EventRecorder
	metrics  *metrics
	journal  *journal
	slots    slots
	now      func() time.Time
}

// look is one look at one companion: what is known of it at this moment.
type look struct {
	key   client.ObjectKey
	entry *entry
	// pods are the injected pods of the workload; alive those of them that live, the newest first.
	pods  []corev1.Pod
	alive []*corev1.Pod
	// cert is the Certificate of the companion's name; nil when there is none.
	cert *cmapi.Certificate
	// owner is the workload, verified once: when the companion was written.
	owner metav1.OwnerReference
	surroundings
	in *intent.Intent
	// namedByWorkload is that of the last decision.
	namedByWorkload bool
	// stale holds, by pod, the names that its certificate lacks.
	stale map[types.UID][]string
}

// step is what a look came to, and when to look again; 0 for when something happens.
type step struct {
	outcome outcome
	again   time.Duration
}

// Reconcile implements controller-runtime's Reconciler.
func (r *reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	done, err := r.reconcile(ctx, req.NamespacedName)
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		done, err = step{outcome: terminating}, nil
	}
	if err != nil {
		done = step{outcome: failed}
	}
	r.metrics.reconciled(done.outcome)
	return ctrl.Result{RequeueAfter: done.again}, err
}

func (r *reconciler) reconcile(ctx context.Context, key client.ObjectKey) (step, error) {
	l := &look{key: key, entry: r.journal.of(key)}
	var list corev1.PodList
	if err := r.cached.List(ctx, &list, client.InNamespace(key.Namespace), client.MatchingFields{indexCompanion: key.Name}, client.UnsafeDisableDeepCopy); err != nil {
		return step{}, fmt.Errorf("list pods: %w", err)
	}
	l.pods, l.alive = list.Items, newestFirst(list.Items)
	var err error
	if l.cert, err = r.lookup(ctx, key); err != nil {
		return step{}, err
	}
	if len(l.alive) == 0 {
		return r.withoutPods(ctx, l)
	}
	if atRest, err := r.isAtRest(ctx, l); err != nil {
		return step{}, err
	} else if !atRest {
		// After a write, its own event brings us back.
		if done, err := r.bring(ctx, l); err != nil || l.cert == nil || done.outcome != unchanged {
			return done, err
		}
	}
	again, err := r.follow(ctx, l)
	return step{unchanged, again}, err
}

// isAtRest reports whether the newest pod wants just the companion that is there. Then
// nothing is to be written, so it does not matter whether the pod is what it says it is,
// and the API server is asked nothing.
func (r *reconciler) isAtRest(ctx context.Context, l *look) (bool, error) {
	newest := l.alive[0]
	if l.cert == nil || !isCompanion(l.cert) || !claims(l.cert, newest) || !agreeOnReload(l.alive) {
		return false, nil
	}
	in, _, err := r.resolveFor(ctx, l, newest)
	if err != nil || in == nil {
		return false, err
	}
	owner := *metav1.GetControllerOfNoCopy(l.cert)
	current, err := r.agrees(l, ownedBy(owner, Desired(in)))
	if current {
		l.in, l.owner = in, owner
	}
	return current, err
}

// claims reports whether the Certificate's controller is, as far as the pod says, the
// pod's workload.
func claims(cert *cmapi.Certificate, pod *corev1.Pod) bool {
	owner, direct := metav1.GetControllerOfNoCopy(cert), metav1.GetControllerOfNoCopy(pod)
	switch {
	case owner == nil:
		return false
	case direct == nil:
		return owner.UID == pod.UID
	case direct.UID == owner.UID:
		return true
	}
	w := intent.WorkloadOfPod(pod)
	return w.UID == "" && isKind(owner, w.APIVersion, w.Kind) && owner.Name == w.Name
}

// bring brings the companion to what the newest verified pod wants.
func (r *reconciler) bring(ctx context.Context, l *look) (step, error) {
	newest, err := r.decidingPod(ctx, l)
	if err != nil {
		return unverified(ctx, err)
	}
	owners := newest.owners
	pod, err := r.asTemplate(ctx, l, newest)
	if err != nil {
		return step{}, err
	}
	in, result, err := r.resolveFor(ctx, l, pod)
	switch {
	case err != nil:
		return step{}, err
	case result == notWanted && l.cert != nil && isCompanion(l.cert) && !isOurs(l.cert, owners, intent.WorkloadOfPod(pod).Name):
		return step{outcome: notWanted}, nil // a namesake does not speak for its owner
	case result == notWanted:
		l.owner = owners.owner()
		r.slots.release(l.key)
		return r.remove(ctx, l)
	case in == nil:
		return step{outcome: result}, nil
	}
	if l.namedByWorkload {
		if err := checkName(ctx, r.live, pod, owners); err != nil {
			return unverified(ctx, err)
		}
	}
	l.in = in
	return r.put(ctx, l, owners)
}

// put writes the companion unless it is as it should be, or somebody else's.
func (r *reconciler) put(ctx context.Context, l *look, owners chain) (step, error) {
	in := l.in
	l.owner = owners.owner()
	if l.cert != nil && !isOurs(l.cert, owners, in.Workload.Name) {
		r.taken(l, "Certificate")
		return step{nameTaken, nameTakenRetry}, nil
	}
	desired := ownedBy(l.owner, Desired(in))
	if l.cert == nil {
		return r.create(ctx, l, desired)
	}
	if current, err := r.agrees(l, desired); err != nil || current {
		return step{outcome: unchanged}, err
	}
	return r.update(ctx, l, desired)
}

// follow does what a companion that is as it should be gives rise to.
func (r *reconciler) follow(ctx context.Context, l *look) (time.Duration, error) {
	r.announce(l)
	if l.stale = r.findStale(l); len(l.stale) > 0 || l.entry.toldStale != "" {
		r.announceStale(l)
	}
	patience, err := r.checkIssuer(ctx, l)
	if err != nil {
		return 0, err
	}
	again, err := r.restart(ctx, l)
	return soonest(patience, again), err
}

// soonest returns the shorter of two waits, 0 being none.
func soonest(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// unverified makes an outcome of errUnverified; other errors stay errors.
func unverified(ctx context.Context, err error) (step, error) {
	if ignoreUnverified(err) != nil {
		return step{}, err
	}
	log.FromContext(ctx).Info("companion left as it is", "reason", err.Error())
	return step{outcome: ownerUnverified}, nil
}

func ignoreUnverified(err error) error {
	if errors.Is(err, errUnverified) {
		return nil
	}
	return err
}

// create makes the Certificate, unless its owner is about to go: the garbage collector
// would take it away, and its deletion would bring us back here. Nor is it made when
// somebody's Secret has the name, which cert-manager would overwrite.
func (r *reconciler) create(ctx context.Context, l *look, desired *cmapi.Certificate) (step, error) {
	if _, err := getOwner(ctx, r.live, desired.Namespace, &l.owner); err != nil {
		return unverified(ctx, err)
	}
	secret, err := r.secretOf(ctx, l.key)
	if err != nil {
		return step{}, err
	}
	if secret != nil && !intent.IsCompanionSecret(secret) {
		r.taken(l, "Secret")
		return step{nameTaken, nameTakenRetry}, nil
	}
	apply, err := applyConfiguration(desired)
	if err != nil {
		return step{}, err
	}
	if err := r.write(ctx, nil, apply); err != nil {
		return step{}, err
	}
	r.metrics.applied(created)
	*l.entry = entry{seen: true, firstPod: l.alive[len(l.alive)-1].CreationTimestamp.Time}
	return step{outcome: created}, nil
}

// ownedBy gives the companion its owner.
func ownedBy(owner metav1.OwnerReference, desired *cmapi.Certificate) *cmapi.Certificate {
	desired.OwnerReferences = []metav1.OwnerReference{ownerReference(owner)}
	return desired
}

// agrees reports whether the live Certificate is what is desired. Comparing costs a
// thousand times what remembering costs.
func (r *reconciler) agrees(l *look, desired *cmapi.Certificate) (bool, error) {
	digest, err := digestOf(desired)
	if err != nil {
		return false, err
	}
	found := agreement{l.cert.ResourceVersion, digest}
	if l.entry.current == found {
		return true, nil
	}
	apply, err := applyConfiguration(desired)
	if err != nil {
		return false, err
	}
	current, err := isCurrent(l.cert, apply)
	if current {
		l.entry.current = found
	}
	return current, err
}

// update brings the live Certificate back to what is desired.
func (r *reconciler) update(ctx context.Context, l *look, desired *cmapi.Certificate) (step, error) {
	apply, err := applyConfiguration(desired)
	if err != nil {
		return step{}, err
	}
	if err := r.write(ctx, l.cert, apply); err != nil {
		return step{}, err
	}
	r.metrics.applied(updated)
	return step{outcome: updated}, nil
}

// lookup returns the Certificate of that name, or nil. The cache has those with our label
// only.
func (r *reconciler) lookup(ctx context.Context, key client.ObjectKey) (*cmapi.Certificate, error) {
	var cert cmapi.Certificate
	if found, err := r.find(ctx, key, &cert); err != nil || !found {
		return nil, err
	}
	return &cert, nil
}

// find reads an object; what is not in the cache (yet) is asked for.
func (r *reconciler) find(ctx context.Context, key client.ObjectKey, obj client.Object) (bool, error) {
	err := r.cached.Get(ctx, key, obj)
	if apierrors.IsNotFound(err) {
		err = r.live.Get(ctx, key, obj)
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("get %T %s: %w", obj, key, err)
	}
	return err == nil, nil
}
