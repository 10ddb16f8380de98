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
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"example.io/mtls-injector/intent"
)

// nameTakenRetry is when a name that somebody else has is tried again: their Certificate
// is not in our cache, so its deletion is not seen.
const nameTakenRetry = 5 * time.Minute

// The reasons of Events.
const (
	reasonCreated   = "CompanionCreated"
	reasonNameTaken = "CompanionNameTaken"
)

// reconciler brings companions about. The request's name is the companion's.
type reconciler struct {
	// cached reads from the manager's cache and writes; live reads from the API server.
	cached   client.Client
	live     client.Reader
	defaults func() *intent.Defaults
	events   events.EventRecorder
	metrics  *metrics
}

// Reconcile implements controller-runtime's Reconciler.
func (r *reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	result, err := r.reconcile(ctx, req)
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		result, err = terminating, nil
	}
	if err != nil {
		result = failed
	}
	r.metrics.reconciled(result)
	if result == nameTaken {
		return ctrl.Result{RequeueAfter: nameTakenRetry}, nil
	}
	return ctrl.Result{}, err
}

func (r *reconciler) reconcile(ctx context.Context, req ctrl.Request) (outcome, error) {
	pod, owners, err := r.decidingPod(ctx, req)
	switch {
	case err != nil:
		return unverified(ctx, err)
	case pod == nil:
		return noPod, nil
	}
	in, result, err := r.resolve(ctx, pod)
	if in == nil {
		return result, err
	}
	desired := Desired(in)
	desired.OwnerReferences = []metav1.OwnerReference{ownerReference(owners.owner())}
	live, err := r.lookup(ctx, req.NamespacedName)
	if err != nil {
		return "", err
	}
	if live == nil {
		return r.create(ctx, desired, owners.owner())
	}
	if !isOurs(live, owners, in.Workload.Name) {
		r.tell(req.Namespace, owners.owner(), corev1.EventTypeWarning, reasonNameTaken,
			"Certificate "+req.Name+" was not made by "+ManagedBy+" for this workload and is left as it is: there is no companion Certificate")
		return nameTaken, nil
	}
	return r.update(ctx, desired, live)
}

// unverified makes an outcome of errUnverified; other errors stay errors.
func unverified(ctx context.Context, err error) (outcome, error) {
	if !errors.Is(err, errUnverified) {
		return "", err
	}
	log.FromContext(ctx).Info("companion left as it is", "reason", err.Error())
	return ownerUnverified, nil
}

// decidingPod returns the newest living pod whose owners are real; nil when there is no
// living pod. Pods with invented owners have no say; when there are no others, the error
// is the newest one's.
func (r *reconciler) decidingPod(ctx context.Context, req ctrl.Request) (*corev1.Pod, chain, error) {
	var pods corev1.PodList
	err := r.cached.List(ctx, &pods, client.InNamespace(req.Namespace), client.MatchingFields{indexCompanion: req.Name})
	if err != nil {
		return nil, nil, fmt.Errorf("list pods: %w", err)
	}
	var first error
	for _, pod := range newestFirst(pods.Items) {
		owners, err := verifiedChain(ctx, r.live, pod)
		if err == nil {
			return pod, owners, nil
		}
		if !errors.Is(err, errUnverified) {
			return nil, nil, err
		}
		if first == nil {
			first = fmt.Errorf("pod %s: %w", pod.Name, err)
		}
	}
	return nil, nil, first
}

// resolve decides anew what admission decided. Without an intent, the outcome says why.
func (r *reconciler) resolve(ctx context.Context, pod *corev1.Pod) (*intent.Intent, outcome, error) {
	var ns corev1.Namespace
	found, err := r.find(ctx, client.ObjectKey{Name: pod.Namespace}, &ns)
	if err != nil || !found {
		return nil, terminating, err
	}
	var list corev1.ServiceList
	if err := r.cached.List(ctx, &list, client.InNamespace(pod.Namespace)); err != nil {
		return nil, "", fmt.Errorf("list Services: %w", err)
	}
	services := make([]intent.Service, len(list.Items))
	for i := range list.Items {
		services[i] = intent.ServiceOf(&list.Items[i])
	}
	namespace := intent.NamespaceOf(&ns)
	decided := intent.Resolve(r.defaults(), &namespace, intent.PodOf(pod), services)
	switch {
	case len(decided.Errors) > 0:
		// What was admitted is refused today: configuration or Services have changed.
		// The companion stays as it is, for the pods still run with what they got.
		log.FromContext(ctx).Info("companion left as it is", "pod", pod.Name, "reason", decided.Errors.ToAggregate().Error())
		return nil, refused, nil
	case decided.Intent == nil || !decided.Intent.Companion:
		return nil, notWanted, nil
	}
	return decided.Intent, "", nil
}

// create makes the Certificate, unless its owner is about to go: the garbage collector
// would take it away, and its deletion would bring us back here.
func (r *reconciler) create(ctx context.Context, desired *cmapi.Certificate, owner metav1.OwnerReference) (outcome, error) {
	if _, err := getOwner(ctx, r.live, desired.Namespace, &owner); err != nil {
		return unverified(ctx, err)
	}
	apply, err := applyConfiguration(desired)
	if err != nil {
		return "", err
	}
	if err := r.write(ctx, nil, apply); err != nil {
		return "", err
	}
	r.metrics.applied(created)
	r.tell(desired.Namespace, owner, corev1.EventTypeNormal, reasonCreated, "Created companion Certificate "+desired.Name)
	return created, nil
}

// update brings the live Certificate back to what is desired, if it is not.
func (r *reconciler) update(ctx context.Context, desired, live *cmapi.Certificate) (outcome, error) {
	apply, err := applyConfiguration(desired)
	if err != nil {
		return "", err
	}
	if current, err := isCurrent(live, apply); err != nil || current {
		return unchanged, err
	}
	if err := r.write(ctx, live, apply); err != nil {
		return "", err
	}
	r.metrics.applied(updated)
	return updated, nil
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

// tell records an Event on the workload.
func (r *reconciler) tell(namespace string, owner metav1.OwnerReference, kind, reason, note string) {
	workload := &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: owner.APIVersion, Kind: owner.Kind},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: owner.Name, UID: owner.UID},
	}
	r.events.Eventf(workload, nil, kind, reason, "CreateCompanion", "%s", note)
}
