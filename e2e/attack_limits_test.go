package e2e

// What is not prevented, so that docs/security.md says it as it is.

import (
	"context"
	"fmt"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/csidriver"
)

// TestAttackBeyondLimits shows what somebody with rights on pods alone does get, and what
// helps where something does.
func TestAttackBeyondLimits(t *testing.T) {
	s := newAttackScene(t)
	for _, a := range attackLimits() {
		t.Run(a.name, func(t *testing.T) { a.run(t, s.on(t)) })
	}
}

// attackLimits are the rows of the table of limits in docs/security.md.
func attackLimits() []attack {
	return []attack{
		{"the labels that a Service selects", takeLabels},
		{"another service account of the namespace", takeAccount},
		{"a Secret of the namespace, mounted by hand", takeMount},
		{"a double of a workload without a Service", takeDouble},
		{"a name before its Service exists", takeEarly},
		{"the short name of another namespace's Service", takeShort},
		{"a volume written by hand where nobody is opted in", takeUnseen},
	}
}

// made makes a pod as the attacker, until the end of the test.
func (s *attackScene) made(t *testing.T, change func(*corev1.Pod), options ...client.CreateOption) *corev1.Pod {
	t.Helper()
	pod := s.pod(attempt{change: change})
	require.NoError(t, s.attacker.Create(t.Context(), pod, options...))
	if len(options) == 0 {
		t.Cleanup(func() { s.delete(pod) })
	}
	return pod
}

// takeLabels: the Service sends its traffic to such a pod, whoever made it.
func takeLabels(t *testing.T, s *attackScene) {
	t.Helper()
	pod := s.made(t, func(pod *corev1.Pod) { pod.Labels = map[string]string{"app": "payments"} }, client.DryRunAll)
	assert.Equal(t, s.formsOf("payments"), mounted(t, pod)["mtls-certs"].DNSNames)
}

// takeAccount: Kubernetes asks for no right to use a service account but that to make pods.
func takeAccount(t *testing.T, s *attackScene) {
	t.Helper()
	pod := s.made(t, func(pod *corev1.Pod) { pod.Spec.ServiceAccountName = "payments" }, client.DryRunAll)
	assert.Equal(t, s.spiffeID("payments"), mounted(t, pod)["mtls-certs"].URIs[0].String())
}

// takeMount: the same holds for Secrets.
func takeMount(t *testing.T, s *attackScene) {
	t.Helper()
	pod := s.made(t, func(pod *corev1.Pod) {
		pod.Spec.Volumes = []corev1.Volume{{Name: "theirs", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "payments-mtls"}}}}
	}, client.DryRunAll)
	assert.Equal(t, "payments-mtls", volumeNamed(pod, "theirs").Secret.SecretName)
}

// takeDouble: a pod with the labels and the owner reference of a workload's pods is one of
// them, for Kubernetes too. Where Services are the only source of names it gets none.
func takeDouble(t *testing.T, s *attackScene) {
	t.Helper()
	set, _ := s.replicaSet(t, "worker")
	double := ownedBy("apps/v1", "ReplicaSet", set, set.Spec.Template.Labels)
	pod := s.made(t, double, client.DryRunAll)
	assert.Equal(t, s.formsOf("worker"), mounted(t, pod)["mtls-certs"].DNSNames)

	s.restart("services-only.yaml")
	pod = s.made(t, double, client.DryRunAll)
	assert.Empty(t, mounted(t, pod)["mtls-certs"].DNSNames)
	s.restart("injector.yaml")
}

// restart lets the webhook run with another configuration, until the end of all tests here.
func (s *attackScene) restart(config string) {
	s.Helper()
	require.NoError(s, s.webhook.Stop())
	s.webhook = runWebhook(s.test, s.Cluster, cluster.WebhookOptions{Config: attackFolder + "/" + config})
}

// takeEarly: who comes first has the name, until a Service gives it to others. Then new
// pods and the companion have it no more, and certificates that are issued end when they end.
func takeEarly(t *testing.T, s *attackScene) {
	t.Helper()
	pod := s.made(t, bare("invoices"))
	assert.Equal(t, s.formsOf("invoices"), mounted(t, pod)["mtls-certs"].DNSNames)
	assert.Equal(t, s.formsOf("invoices"), s.ownCompanion(t, pod).Spec.DNSNames)

	require.NoError(t, s.Client.Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "invoices"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "invoices"}, Ports: []corev1.ServicePort{{Port: 8443, TargetPort: intstr.FromInt32(8443)}}},
	}))
	s.until("no names", companionName(pod), func(cert *cmapi.Certificate) bool { return len(cert.Spec.DNSNames) == 0 })
	s.delete(pod)
	pod = s.made(t, bare("invoices"))
	assert.Empty(t, mounted(t, pod)["mtls-certs"].DNSNames)
}

// takeShort: "vault" is another one in each namespace. Names with the namespace are not.
func takeShort(t *testing.T, s *attackScene) {
	t.Helper()
	pod := s.made(t, bare("vault"), client.DryRunAll)
	cert := mounted(t, pod)["mtls-certs"]
	assert.NoError(t, cert.VerifyHostname("vault"))
	assert.Error(t, cert.VerifyHostname("vault."+s.other))
}

// takeUnseen: without the label nobody sees the pod, and the CSI driver asks for what the
// volume says. Only approver-policy stands in the way (TestAttackAtSigning).
func takeUnseen(t *testing.T, s *attackScene) {
	t.Helper()
	e := s.elsewhere(t)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.namespace}}
	merge(t, e.Client, ns, fmt.Sprintf(`{"metadata":{"labels":{%q:null}}}`, cluster.EnabledLabel))
	pod := e.pod(attempt{attribute: "dns-names", value: vault})
	require.NoError(t, e.WaitFor(t.Context(), "pods to go unseen", func(ctx context.Context) error {
		return e.attacker.Create(ctx, pod.DeepCopy(), client.DryRunAll)
	}))
	require.NoError(t, e.attacker.Create(t.Context(), pod))
	request, err := csidriver.Parse(pod, "own")
	require.NoError(t, err)
	assert.Equal(t, []string{e.fill(vault)}, request.DNSNames)
}
