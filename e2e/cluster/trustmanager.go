package cluster

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/internal/binaries"
)

//go:embed trustmanager.yaml
var trustManager []byte

const (
	// trustAccount is the name of trust-manager's service account, and of all that is its own.
	trustAccount = "trust-manager"
	trustGroup   = "trust.cert-manager.io"
	trustPath    = "/validate-trust-cert-manager-io-v1alpha1-bundle"
	// trustDenies begins its refusals.
	trustDenies = `admission webhook "` + trustGroup + `" denied the request`
)

// RunTrustManager starts cert-manager's real trust-manager with the rights that its chart gives
// it, and waits until it is ready and the API server lets it check Bundles. It reads Secrets
// and ConfigMaps in the namespace cert-manager, and writes ConfigMaps to all. It runs until the
// cluster's Stop; ctx bounds only the start.
func (c *Cluster) RunTrustManager(ctx context.Context) error {
	programs, err := binaries.EnsureTrustManager(ctx, c.progress)
	if err != nil {
		return err
	}
	dir, caBundle, err := c.servingCertificate()
	if err != nil {
		return err
	}
	port, err := c.runAddon(ctx, &addon{
		name: trustAccount, program: programs.Program, crds: []string{programs.CRD}, manifest: trustManager,
		list: schema.GroupVersionKind{Group: trustGroup, Version: "v1alpha1", Kind: "BundleList"},
		args: func(readiness, webhook string) []string {
			return []string{
				"--leader-elect=false", // which needs to know the namespace of its pod
				"--trust-namespace=" + csiDriverNamespace,
				"--metrics-port=0", "--readiness-probe-port=" + readiness,
				"--webhook-host=127.0.0.1", "--webhook-port=" + webhook, "--webhook-certificate-dir=" + dir,
				"--log-level=2",
			}
		},
	})
	if err != nil {
		return err
	}
	return c.registerTrustManager(ctx, port, caBundle)
}

// registerTrustManager makes the API server ask it about Bundles.
func (c *Cluster) registerTrustManager(ctx context.Context, port string, caBundle []byte) error {
	url, none, fail := "https://127.0.0.1:"+port+trustPath, admissionv1.SideEffectClassNone, admissionv1.Fail
	config := &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: trustAccount},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: trustGroup,
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
				Rule:       admissionv1.Rule{APIGroups: []string{trustGroup}, APIVersions: []string{"v1alpha1"}, Resources: []string{"bundles"}},
			}},
			ClientConfig: admissionv1.WebhookClientConfig{URL: &url, CABundle: caBundle},
			SideEffects:  &none, FailurePolicy: &fail, AdmissionReviewVersions: []string{"v1"},
		}},
	}
	if err := c.Client.Create(ctx, config); err != nil {
		return fmt.Errorf("registering the webhook of trust-manager: %w", err)
	}
	return poll(ctx, "Bundles to be checked", func(ctx context.Context) error {
		// The schema has nothing against it, but the key of a source is missing.
		bundle := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
			"sources": []any{map[string]any{"secret": map[string]any{"name": "none"}}},
			"target":  map[string]any{"configMap": map[string]any{"key": "none"}},
		}}}
		bundle.SetAPIVersion(trustGroup + "/v1alpha1")
		bundle.SetKind("Bundle")
		bundle.SetName("for-nothing")
		if err := c.Client.Create(ctx, bundle, client.DryRunAll); err == nil || !strings.Contains(err.Error(), trustDenies) {
			return fmt.Errorf("one with a source that names no key is not refused: %v", err) //nolint:errorlint // may be nil
		}
		return nil
	})
}
