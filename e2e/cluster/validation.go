package cluster

// How the API server is told to ask the webhook about workloads and Namespaces.

import (
	"context"
	"errors"
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	workloadPath  = "/validate-workloads"
	namespacePath = "/validate-v1-namespace"
)

// workloadRules are the built-in kinds that have a pod template.
func workloadRules() []admissionv1.Rule {
	return []admissionv1.Rule{
		{APIGroups: []string{"apps"}, APIVersions: []string{"v1"}, Resources: []string{"deployments", "statefulsets", "daemonsets", "replicasets"}},
		{APIGroups: []string{"batch"}, APIVersions: []string{"v1"}, Resources: []string{"jobs", "cronjobs"}},
		{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"replicationcontrollers"}},
	}
}

// RegisterValidation makes the API server call a webhook on this machine, at the base URL,
// whenever a workload is written in a namespace labelled mtls-enabled=true, or such a
// Namespace. more are workloads besides the built-in ones. When it cannot call it, nobody is
// kept from his work: the pods are still to come.
func (c *Cluster) RegisterValidation(ctx context.Context, name, base string, caBundle []byte, more ...admissionv1.Rule) error {
	namespaces := admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"namespaces"}}
	config := &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Webhooks: []admissionv1.ValidatingWebhook{
			validation("workloads."+name+".example.io", base+workloadPath, caBundle, append(workloadRules(), more...)...),
			validation("namespaces."+name+".example.io", base+namespacePath, caBundle, namespaces),
		},
	}
	if err := c.Client.Create(ctx, config); err != nil {
		return fmt.Errorf("registering the validation of %s: %w", name, err)
	}
	return nil
}

func validation(name, url string, caBundle []byte, kinds ...admissionv1.Rule) admissionv1.ValidatingWebhook {
	ignore, equivalent, none := admissionv1.Ignore, admissionv1.Equivalent, admissionv1.SideEffectClassNone
	timeout := int32(webhookTimeout)
	rules := make([]admissionv1.RuleWithOperations, len(kinds))
	for i, kind := range kinds {
		rules[i] = admissionv1.RuleWithOperations{Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update}, Rule: kind}
	}
	return admissionv1.ValidatingWebhook{
		Name:                    name,
		ClientConfig:            admissionv1.WebhookClientConfig{URL: &url, CABundle: caBundle},
		Rules:                   rules,
		NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{EnabledLabel: "true"}},
		FailurePolicy:           &ignore,
		MatchPolicy:             &equivalent,
		SideEffects:             &none,
		TimeoutSeconds:          &timeout,
		AdmissionReviewVersions: []string{"v1"},
	}
}

// UnregisterWebhook undoes RegisterWebhook and RegisterValidation, whichever there was.
func (c *Cluster) UnregisterWebhook(ctx context.Context, name string) error {
	meta := metav1.ObjectMeta{Name: name}
	var errs []error
	for _, config := range []client.Object{
		&admissionv1.MutatingWebhookConfiguration{ObjectMeta: meta}, &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: meta},
	} {
		errs = append(errs, client.IgnoreNotFound(c.Client.Delete(ctx, config)))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("unregistering the webhook %s: %w", name, err)
	}
	return nil
}
