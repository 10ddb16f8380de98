package cluster

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/internal/binaries"
)

//go:embed approverpolicy.yaml
var approverPolicy []byte

const (
	// approverAccount is the name of approver-policy's service account, and of all that is
	// its own.
	approverAccount = "cert-manager-approver-policy"
	policyGroup     = "policy.cert-manager.io"
	policyResource  = "certificaterequestpolicies"
	// approverDenies begins its refusals.
	approverDenies = `admission webhook "` + policyGroup + `" denied the request`
)

// RunApproverPolicy starts cert-manager's real approver-policy with the rights that its
// chart gives it, and waits until it decides and the API server lets it check policies. It
// is for a cluster without cert-manager's own approver, and runs until the cluster's Stop;
// ctx bounds only the start. From now on a CertificateRequest notes who made it, as it does
// where cert-manager's webhook runs.
func (c *Cluster) RunApproverPolicy(ctx context.Context) error {
	programs, err := binaries.EnsureApproverPolicy(ctx, c.progress)
	if err != nil {
		return err
	}
	crds, err := filepath.Glob(filepath.Join(programs.CRDs, "*.yaml"))
	if err != nil {
		return fmt.Errorf("looking for approver-policy's CRDs: %w", err)
	}
	webhook, err := c.runAddon(ctx, &addon{
		name: approverAccount, program: programs.Program, crds: crds, manifest: approverPolicy,
		list: schema.GroupVersionKind{Group: policyGroup, Version: "v1alpha1", Kind: "CertificateRequestPolicyList"},
		args: func(readiness, webhook string) []string {
			return []string{
				"--leader-election-namespace=" + csiDriverNamespace,
				"--metrics-bind-address=0",
				"--readiness-probe-bind-address=127.0.0.1:" + readiness,
				"--webhook-host=127.0.0.1", "--webhook-port=" + webhook,
				"--certificaterequest-max-concurrent-reconciles=4",
				"--log-level=2",
			}
		},
	})
	if err != nil {
		return err
	}
	port, err := strconv.ParseInt(webhook, 10, 32)
	if err != nil {
		return fmt.Errorf("reading the port of approver-policy's webhook: %w", err)
	}
	if err := c.registerApproverPolicy(ctx, int32(port)); err != nil {
		return err
	}
	return c.waitForIdentity(ctx)
}

// StopWith has the cluster stop when the other does, for those whom several tests share.
func (c *Cluster) StopWith(other *Cluster) { other.onStop(c.Stop) }

// registerApproverPolicy makes the API server ask it about policies, with the CA that it
// has made for itself.
func (c *Cluster) registerApproverPolicy(ctx context.Context, port int32) error {
	var secret corev1.Secret
	err := poll(ctx, "the certificate of approver-policy's webhook", func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKey{Namespace: csiDriverNamespace, Name: approverAccount + "-tls"}, &secret); err != nil {
			return err
		}
		if len(secret.Data[cmmeta.TLSCAKey]) == 0 {
			return errors.New("it is not there yet")
		}
		return nil
	})
	if err != nil {
		return err
	}
	path, none, fail := "/validate-policy-cert-manager-io-v1alpha1-certificaterequestpolicy", admissionv1.SideEffectClassNone, admissionv1.Fail
	config := &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: approverAccount},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: policyGroup,
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
				Rule:       admissionv1.Rule{APIGroups: []string{policyGroup}, APIVersions: []string{"*"}, Resources: []string{policyResource}},
			}},
			ClientConfig: admissionv1.WebhookClientConfig{
				Service:  &admissionv1.ServiceReference{Namespace: csiDriverNamespace, Name: approverAccount, Path: &path, Port: &port},
				CABundle: secret.Data[cmmeta.TLSCAKey],
			},
			SideEffects: &none, FailurePolicy: &fail, AdmissionReviewVersions: []string{"v1"},
		}},
	}
	if err := c.Client.Create(ctx, config); err != nil {
		return fmt.Errorf("registering the webhook of approver-policy: %w", err)
	}
	return poll(ctx, "policies to be checked", func(ctx context.Context) error {
		policy := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"selector": map[string]any{}}}}
		policy.SetAPIVersion(policyGroup + "/v1alpha1")
		policy.SetKind("CertificateRequestPolicy")
		policy.SetName("for-nothing")
		if err := c.Client.Create(ctx, policy, client.DryRunAll); err == nil || !strings.Contains(err.Error(), approverDenies) {
			return fmt.Errorf("one that selects nothing is not refused: %v", err) //nolint:errorlint // may be nil
		}
		return nil
	})
}

// waitForIdentity waits until requests note who made them.
func (c *Cluster) waitForIdentity(ctx context.Context) error {
	return poll(ctx, "requests to note who made them", func(ctx context.Context) error {
		cr := &cmapi.CertificateRequest{
			ObjectMeta: metav1.ObjectMeta{Namespace: csiDriverNamespace, Name: "whoami"},
			Spec:       cmapi.CertificateRequestSpec{Request: []byte("none"), Username: "somebody else", IssuerRef: cmmeta.IssuerReference{Name: "none"}},
		}
		if err := c.Client.Create(ctx, cr, client.DryRunAll); err != nil {
			return err
		}
		if cr.Spec.Username != "admin" {
			return fmt.Errorf("it says that %q made it", cr.Spec.Username)
		}
		return nil
	})
}
