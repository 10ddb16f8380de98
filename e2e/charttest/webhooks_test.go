package charttest

import (
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func mutatingOf(t *testing.T, objects []*unstructured.Unstructured) *admissionv1.MutatingWebhookConfiguration {
	t.Helper()
	return must[admissionv1.MutatingWebhookConfiguration](t, objects, "MutatingWebhookConfiguration", Release)
}

func validatingOf(t *testing.T, objects []*unstructured.Unstructured) *admissionv1.ValidatingWebhookConfiguration {
	t.Helper()
	return must[admissionv1.ValidatingWebhookConfiguration](t, objects, "ValidatingWebhookConfiguration", Release)
}

func ruleOf(scope admissionv1.ScopeType, group, version string, resources []string, operations ...admissionv1.OperationType) admissionv1.RuleWithOperations {
	return admissionv1.RuleWithOperations{Operations: operations, Rule: admissionv1.Rule{
		APIGroups: []string{group}, APIVersions: []string{version}, Resources: resources, Scope: &scope,
	}}
}

// TestWebhooks: who is asked about what, by default.
func TestWebhooks(t *testing.T) {
	objects := template(t)
	selector := &metav1.LabelSelector{
		MatchLabels: map[string]string{"mtls-enabled": "true"},
		MatchExpressions: []metav1.LabelSelectorRequirement{{
			Key: "kubernetes.io/metadata.name", Operator: metav1.LabelSelectorOpNotIn,
			Values: []string{"cert-manager", "kube-node-lease", "kube-public", "kube-system", "mtls-injector"},
		}},
	}
	at := func(path string) admissionv1.WebhookClientConfig {
		return admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: Namespace, Name: Release, Path: &path, Port: new(int32(443))}}
	}
	mutating := mutatingOf(t, objects).Webhooks
	require.Len(t, mutating, 1)
	require.Len(t, mutating[0].MatchConditions, 1)
	mutating[0].MatchConditions = nil // have tests of their own
	assert.Equal(t, admissionv1.MutatingWebhook{
		Name: podsWebhook, ClientConfig: at("/mutate-v1-pod"),
		Rules:             []admissionv1.RuleWithOperations{ruleOf(admissionv1.NamespacedScope, "", "v1", []string{"pods"}, admissionv1.Create)},
		FailurePolicy:     new(admissionv1.Fail),
		MatchPolicy:       new(admissionv1.Equivalent),
		NamespaceSelector: selector, SideEffects: new(admissionv1.SideEffectClassNone), TimeoutSeconds: new(int32(10)),
		AdmissionReviewVersions: []string{"v1"}, ReinvocationPolicy: new(admissionv1.IfNeededReinvocationPolicy),
	}, mutating[0])

	validating := validatingOf(t, objects).Webhooks
	require.Len(t, validating, 2)
	for i := range validating {
		require.NotEmpty(t, validating[i].MatchConditions)
		validating[i].MatchConditions = nil
	}
	written := func(scope admissionv1.ScopeType, group string, resources ...string) admissionv1.RuleWithOperations {
		return ruleOf(scope, group, "v1", resources, admissionv1.Create, admissionv1.Update)
	}
	want := admissionv1.ValidatingWebhook{
		Name: workloadsWebhook, ClientConfig: at("/validate-workloads"),
		Rules: []admissionv1.RuleWithOperations{
			written(admissionv1.NamespacedScope, "apps", "deployments", "statefulsets", "daemonsets", "replicasets"),
			written(admissionv1.NamespacedScope, "batch", "jobs", "cronjobs"),
			written(admissionv1.NamespacedScope, "", "replicationcontrollers"),
		},
		FailurePolicy: new(admissionv1.Ignore), MatchPolicy: new(admissionv1.Equivalent),
		NamespaceSelector: selector, SideEffects: new(admissionv1.SideEffectClassNone), TimeoutSeconds: new(int32(5)),
		AdmissionReviewVersions: []string{"v1"},
	}
	assert.Equal(t, want, validating[0])
	want.Name, want.ClientConfig = namespacesWebhook, at("/validate-v1-namespace")
	want.Rules = []admissionv1.RuleWithOperations{written(admissionv1.ClusterScope, "", "namespaces")}
	assert.Equal(t, want, validating[1])
}

// TestSelectors: what is never injected stays so, whatever else is selected.
func TestSelectors(t *testing.T) {
	objects := template(t, variations(t)["selectors"]...)
	mutating := mutatingOf(t, objects).Webhooks[0]
	optOut := metav1.LabelSelectorRequirement{Key: "mtls-enabled", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"false"}}
	assert.Equal(t, &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{optOut, {
		Key: "kubernetes.io/metadata.name", Operator: metav1.LabelSelectorOpNotIn,
		Values: []string{"calico-apiserver", "calico-system", "kube-node-lease", "kube-public", "kube-system", "mtls-injector", "pki", "pki-nodes", "trust"},
	}}}, mutating.NamespaceSelector)
	assert.Equal(t, &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{optOut}}, mutating.ObjectSelector)
	for _, webhook := range validatingOf(t, objects).Webhooks {
		assert.Equal(t, mutating.NamespaceSelector, webhook.NamespaceSelector)
		assert.Nil(t, webhook.ObjectSelector, "labels of a workload are not those of its pods")
	}
	smoke := Find(objects, "Namespace", Release+"-smoke-test")
	selector, err := metav1.LabelSelectorAsSelector(mutating.NamespaceSelector)
	require.NoError(t, err)
	assert.True(t, selector.Matches(labelSet(smoke.GetLabels())))
}

// TestWebhooksByValues: what the values of the webhooks do.
func TestWebhooksByValues(t *testing.T) {
	objects := template(t, variations(t)["everything"]...)
	mutating := mutatingOf(t, objects)
	assert.Equal(t, map[string]string{
		"cert-manager.io/inject-ca-from": Namespace + "/" + Release + "-webhook", "example.com/webhooks": "yes", "example.com/pods": "yes",
	}, mutating.Annotations)
	assert.Equal(t, new(int32(3)), mutating.Webhooks[0].TimeoutSeconds)
	assert.Equal(t, new(admissionv1.NeverReinvocationPolicy), mutating.Webhooks[0].ReinvocationPolicy)
	assert.Equal(t, new(int32(8443)), mutating.Webhooks[0].ClientConfig.Service.Port)
	validating := validatingOf(t, objects)
	assert.Equal(t, new(admissionv1.Fail), validating.Webhooks[1].FailurePolicy)
	assert.Equal(t, new(int32(2)), validating.Webhooks[1].TimeoutSeconds)
	assert.NotContains(t, validating.Annotations, "example.com/pods")

	objects = template(t, variations(t)["small"]...)
	assert.Equal(t, new(admissionv1.Ignore), mutatingOf(t, objects).Webhooks[0].FailurePolicy)
	assert.Nil(t, Find(objects, "ValidatingWebhookConfiguration", Release))
	for _, kind := range []string{"PodDisruptionBudget", "NetworkPolicy", "Namespace", "Pod"} {
		for _, object := range objects {
			assert.NotEqual(t, kind, object.GetKind(), object.GetName())
		}
	}

	rules := validatingOf(t, template(t, variations(t)["rollouts"]...)).Webhooks[0].Rules
	assert.Equal(t, ruleOf(admissionv1.NamespacedScope, "argoproj.io", "v1alpha1", []string{"rollouts"}, admissionv1.Create, admissionv1.Update), rules[len(rules)-1])
}

// TestCertificates: with cert-manager, a CA that keeps its key, and one certificate for the
// names by which the API server calls.
func TestCertificates(t *testing.T) {
	objects := template(t)
	root := must[cmapi.Certificate](t, objects, "Certificate", Release+"-webhook-root")
	assert.True(t, root.Spec.IsCA)
	assert.Equal(t, cmapi.RotationPolicyNever, root.Spec.PrivateKey.RotationPolicy)
	assert.Equal(t, Release+"-webhook-selfsigned", root.Spec.IssuerRef.Name)
	assert.NotNil(t, must[cmapi.Issuer](t, objects, "Issuer", Release+"-webhook-selfsigned").Spec.SelfSigned)
	issuer := must[cmapi.Issuer](t, objects, "Issuer", Release+"-webhook-root")
	assert.Equal(t, root.Spec.SecretName, issuer.Spec.CA.SecretName)

	leaf := must[cmapi.Certificate](t, objects, "Certificate", Release+"-webhook")
	assert.Equal(t, []string{"mtls-injector.mtls-injector", "mtls-injector.mtls-injector.svc", "mtls-injector.mtls-injector.svc.cluster.local"}, leaf.Spec.DNSNames)
	assert.Equal(t, cmmeta.IssuerReference{Name: issuer.Name, Kind: "Issuer", Group: "cert-manager.io"}, leaf.Spec.IssuerRef)
	assert.Greater(t, root.Spec.Duration.Duration/3, leaf.Spec.Duration.Duration, "a leaf of the old CA ends before the old CA does")
	assert.Equal(t, Release+"-webhook-tls", leaf.Spec.SecretName)
	for _, annotations := range []map[string]string{mutatingOf(t, objects).Annotations, validatingOf(t, objects).Annotations} {
		assert.Equal(t, map[string]string{"cert-manager.io/inject-ca-from": Namespace + "/" + leaf.Name}, annotations)
	}

	elsewhere := set("trust.ca.create=false", "trust.bundle.create=false") // the CA of pods is another one
	objects = template(t, append(elsewhere, variations(t)["issuer"]...)...)
	leaf = must[cmapi.Certificate](t, objects, "Certificate", Release+"-webhook")
	assert.Equal(t, cmmeta.IssuerReference{Name: "internal", Kind: "ClusterIssuer", Group: "cert-manager.io"}, leaf.Spec.IssuerRef)
	for _, object := range objects {
		assert.NotEqual(t, "Issuer", object.GetKind())
	}

	objects = template(t, append(elsewhere, variations(t)["self-managed"]...)...)
	assert.Empty(t, mutatingOf(t, objects).Annotations)
	assert.Empty(t, validatingOf(t, objects).Annotations)
	for _, object := range objects {
		assert.NotEqual(t, "cert-manager.io", object.GroupVersionKind().Group, object.GetName())
	}
}
