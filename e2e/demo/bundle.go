package demo

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// trustNamespace is where trust-manager reads the sources of its Bundles.
const trustNamespace = "cert-manager"

// bundle is the part of trust-manager's Bundle (trust.cert-manager.io/v1alpha1) that
// the example uses.
type bundle struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		Sources []struct {
			ConfigMap *bundleSource `json:"configMap"`
			Secret    *bundleSource `json:"secret"`
		} `json:"sources"`
		Target struct {
			ConfigMap struct {
				Key string `json:"key"`
			} `json:"configMap"`
			NamespaceSelector metav1.LabelSelector `json:"namespaceSelector"`
		} `json:"target"`
	} `json:"spec"`
}

type bundleSource struct {
	Name string `json:"name"`
	Key  string `json:"key"`
}

// applyBundle does once what trust-manager would do for the manifest: it collects the
// sources, and writes them into a ConfigMap of the Bundle's name in each selected
// namespace. It returns the namespaces.
func applyBundle(ctx context.Context, c client.Client, manifest []byte) ([]string, error) {
	var b bundle
	if err := yaml.Unmarshal(manifest, &b); err != nil {
		return nil, fmt.Errorf("reading the Bundle: %w", err)
	}
	certificates, err := b.collect(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("collecting the sources of Bundle %s: %w", b.Metadata.Name, err)
	}
	selector, err := metav1.LabelSelectorAsSelector(&b.Spec.Target.NamespaceSelector)
	if err != nil {
		return nil, fmt.Errorf("reading the namespaceSelector of Bundle %s: %w", b.Metadata.Name, err)
	}
	var list corev1.NamespaceList
	if err := c.List(ctx, &list, client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return nil, fmt.Errorf("listing the Bundle's namespaces: %w", err)
	}
	namespaces := make([]string, len(list.Items))
	for i, ns := range list.Items {
		namespaces[i] = ns.Name
		err := c.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: b.Metadata.Name},
			Data:       map[string]string{b.Spec.Target.ConfigMap.Key: certificates},
		})
		if err != nil {
			return nil, fmt.Errorf("writing the Bundle's ConfigMap: %w", err)
		}
	}
	return namespaces, nil
}

// collect returns the certificates of all sources.
func (b *bundle) collect(ctx context.Context, c client.Client) (string, error) {
	var all strings.Builder
	for _, source := range b.Spec.Sources {
		var data string
		switch {
		case source.ConfigMap != nil:
			var config corev1.ConfigMap
			if err := c.Get(ctx, client.ObjectKey{Namespace: trustNamespace, Name: source.ConfigMap.Name}, &config); err != nil {
				return "", fmt.Errorf("reading a source: %w", err)
			}
			data = config.Data[source.ConfigMap.Key]
		case source.Secret != nil:
			var secret corev1.Secret
			if err := c.Get(ctx, client.ObjectKey{Namespace: trustNamespace, Name: source.Secret.Name}, &secret); err != nil {
				return "", fmt.Errorf("reading a source: %w", err)
			}
			data = string(secret.Data[source.Secret.Key])
		}
		if data == "" {
			return "", fmt.Errorf("a source holds nothing")
		}
		all.WriteString(strings.TrimSpace(data) + "\n")
	}
	return all.String(), nil
}
