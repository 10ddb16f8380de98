package certs

// What happened while nobody was leading: a Certificate that went then, with its workload,
// has left its Secret behind.

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// sweepPage is how many Secrets' metadata are read at a time.
const sweepPage = 500

// sweepRetry is when a sweep that failed is tried again.
const sweepRetry = 30 * time.Second

// sweepUntilDone sweeps until it succeeds. It never fails: the webhook of this process must
// not end because a list could not be had.
func (r *reconciler) sweepUntilDone(ctx context.Context, out chan<- event.GenericEvent) error {
	_ = wait.PollUntilContextCancel(ctx, sweepRetry, true, func(ctx context.Context) (bool, error) {
		err := r.sweep(ctx, out)
		if err != nil {
			log.FromContext(ctx).Error(err, "look for what companions have left behind", "again in", sweepRetry.String())
		}
		return err == nil, nil
	})
	return nil
}

// sweep has a look taken at every Secret of a companion, once, when the process begins to
// lead. It reads metadata only.
func (r *reconciler) sweep(ctx context.Context, out chan<- event.GenericEvent) error {
	options := []client.ListOption{client.MatchingLabels{LabelManagedBy: ManagedBy, LabelCertType: CertTypeMTLS}, client.Limit(sweepPage)}
	next := ""
	for {
		secrets := &metav1.PartialObjectMetadataList{}
		secrets.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
		err := r.live.List(ctx, secrets, append(options, client.Continue(next))...)
		if apierrors.IsForbidden(err) {
			log.FromContext(ctx).Error(err, "Secrets of companions that are gone are not looked for")
			return nil
		}
		if err != nil {
			return fmt.Errorf("list metadata of Secrets: %w", err)
		}
		for i := range secrets.Items {
			select {
			case out <- event.GenericEvent{Object: &secrets.Items[i]}:
			case <-ctx.Done():
				return nil
			}
		}
		if next = secrets.Continue; next == "" {
			return nil
		}
	}
}
