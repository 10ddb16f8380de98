package certs

// What goes when a companion is not wanted any more: the Certificate, and the Secret with
// the private key, which cert-manager leaves behind by default. Why there is no finalizer:
// docs/decisions/0006.

import (
	"context"
	"fmt"
	"slices"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"example.io/mtls-injector/intent"
)

// secretRecheck is when to look once more for a Secret that cert-manager, being in the
// middle of issuing, may have written after ours was deleted.
const secretRecheck = 30 * time.Second

// podlessRecheck is when to look again at a workload without injected pods: of what it does
// without them there is no news.
const podlessRecheck = time.Hour

// withoutPods looks at a companion that no living pod asks for.
func (r *reconciler) withoutPods(ctx context.Context, l *look) (step, error) {
	r.slots.release(l.key)
	if l.cert == nil {
		return r.remove(ctx, l)
	}
	if !isCompanion(l.cert) {
		r.journal.forget(l.key)
		return step{outcome: noPod}, nil
	}
	if wants, err := r.workloadWants(ctx, l); err != nil || wants {
		return step{noPod, podlessRecheck}, err
	}
	return r.remove(ctx, l)
}

// isCompanion reports whether the controller made the Certificate.
func isCompanion(cert *cmapi.Certificate) bool {
	applied := func(e metav1.ManagedFieldsEntry) bool { return e.Manager == FieldManager }
	return slices.ContainsFunc(cert.ManagedFields, applied) && cert.Labels[LabelManagedBy] == ManagedBy && cert.Labels[LabelCertType] == CertTypeMTLS
}

// remove deletes what there is of the companion, but not while a pod mounts its Secret.
// The Certificate goes first: as long as it is there, cert-manager writes the Secret anew.
func (r *reconciler) remove(ctx context.Context, l *look) (step, error) {
	if l.cert != nil && !isCompanion(l.cert) {
		r.journal.forget(l.key)
		return step{outcome: notWanted}, nil
	}
	secret, err := r.ownSecret(ctx, l.key)
	if err != nil {
		return step{}, err
	}
	if l.cert == nil && secret == nil {
		r.journal.forget(l.key)
		if len(l.alive) == 0 {
			return step{outcome: noPod}, nil
		}
		return step{outcome: notWanted}, nil
	}
	if inUse, err := r.isInUse(ctx, l); err != nil || inUse {
		return step{secretInUse, podlessRecheck}, err
	}
	if l.cert != nil {
		if err := r.delete(ctx, l.cert); err != nil {
			return step{}, err
		}
	}
	if secret != nil {
		if err := r.delete(ctx, secret); err != nil {
			return step{}, err
		}
	}
	log.FromContext(ctx).Info("removed the companion", "certificate", l.cert != nil, "secret", secret != nil)
	r.journal.forget(l.key)
	return step{removed, secretRecheck}, nil
}

// isInUse reports whether an injected pod mounts the Secret, or has come to want the
// companion while nobody was looking. The cache can be late, and a private key that is gone
// does not come back: the API server has the last word.
func (r *reconciler) isInUse(ctx context.Context, l *look) (bool, error) {
	if mounts(l.pods, l.key.Name) {
		return true, nil
	}
	var pods corev1.PodList
	err := r.live.List(ctx, &pods, client.InNamespace(l.key.Namespace), client.MatchingLabels{intent.LabelInjected: "true"})
	if err != nil {
		return false, fmt.Errorf("list pods: %w", err)
	}
	if mounts(pods.Items, l.key.Name) {
		return true, nil
	}
	known := map[string]bool{}
	for i := range l.pods {
		known[string(l.pods[i].UID)] = true
	}
	for i := range pods.Items {
		if pod := &pods.Items[i]; isAlive(pod) && !known[string(pod.UID)] && companionOf(pod) == l.key.Name {
			return true, nil // its own event brings us back
		}
	}
	return false, nil
}

// secretOf reads the metadata of the Secret that has the companion's name, never its data.
func (r *reconciler) secretOf(ctx context.Context, key client.ObjectKey) (*metav1.PartialObjectMetadata, error) {
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	if err := r.live.Get(ctx, key, secret); err != nil {
		if client.IgnoreNotFound(err) == nil {
			return nil, nil
		}
		return nil, fmt.Errorf("get metadata of Secret %s: %w", key, err)
	}
	return secret, nil
}

// ownSecret is secretOf, but for Secrets that are not a companion's.
func (r *reconciler) ownSecret(ctx context.Context, key client.ObjectKey) (*metav1.PartialObjectMetadata, error) {
	secret, err := r.secretOf(ctx, key)
	if err != nil || secret == nil || !intent.IsCompanionSecret(secret) {
		return nil, err
	}
	return secret, nil
}

// delete deletes this very object, if it is still there.
func (r *reconciler) delete(ctx context.Context, object client.Object) error {
	uid := object.GetUID()
	err := r.cached.Delete(ctx, object, client.Preconditions{UID: &uid}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if err := client.IgnoreNotFound(err); err != nil {
		return fmt.Errorf("delete %T %s: %w", object, client.ObjectKeyFromObject(object), err)
	}
	r.metrics.applied(removed)
	return nil
}
