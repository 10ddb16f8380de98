package webhook

// Whether the CA bundle is there that pods are to mount.

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Bundles is where the handler of workloads looks for CA bundles.
type Bundles interface {
	// BundleMissing asks the API server whether there is no ConfigMap of that name. It
	// reports false when it may not know: usually the webhook is allowed to read the
	// ConfigMap of the configuration only. It reads the ConfigMap's metadata.
	BundleMissing(ctx context.Context, namespace, name string) (bool, error)
}

// BundleMissing implements [Bundles].
func (c *Cluster) BundleMissing(ctx context.Context, namespace, name string) (bool, error) {
	bundle := &metav1.PartialObjectMetadata{}
	bundle.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
	err := c.live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, bundle)
	switch {
	case err == nil || apierrors.IsForbidden(err):
		return false, nil
	case apierrors.IsNotFound(err):
		return true, nil
	default:
		return false, fmt.Errorf("reading the metadata of ConfigMap %q: %w", name, err)
	}
}
