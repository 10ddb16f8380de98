package e2e

// Attacks with the help, or by the carelessness, of somebody who has more rights than pods.

import (
	"context"
	"fmt"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/intent"
)

// optOut removes the namespace's label, which an administrator can do, lets the attacker
// make pods that nobody looks at, and puts it back. Then the controller sees these pods.
func optOut(t *testing.T, s *attackScene) {
	t.Helper()
	e := s.elsewhere(t)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.namespace}}
	merge(t, e.Client, ns, fmt.Sprintf(`{"metadata":{"labels":{%q:null}}}`, cluster.EnabledLabel))
	require.NoError(t, e.WaitFor(t.Context(), "pods to go unseen", func(ctx context.Context) error {
		pod := podWith(e.namespace, map[string]string{"role": "no such role"})
		return e.attacker.Create(ctx, pod, client.DryRunAll)
	}))
	forge := func(name string, annotations map[string]string) *corev1.Pod {
		pod := e.pod(attempt{and: annotations})
		pod.Name, pod.Labels = name, map[string]string{intent.LabelInjected: "true"}
		require.NoError(t, e.attacker.Create(t.Context(), pod))
		assert.Empty(t, pod.Annotations[intent.AnnotationStatus], "nobody has looked at it")
		return pod
	}
	forge("claims", map[string]string{"dns-names": vault})
	forge("serves", map[string]string{"service": "payments"})
	plain := forge("plain", nil)
	merge(t, e.Client, ns, fmt.Sprintf(`{"metadata":{"labels":{%q:"true"}}}`, cluster.EnabledLabel))

	// The one that claims nothing has the companion of a bare pod.
	assert.Equal(t, e.formsOf("plain"), e.ownCompanion(t, plain).Spec.DNSNames)
	var all cmapi.CertificateList
	require.NoError(t, e.Client.List(t.Context(), &all, client.InNamespace(e.namespace)))
	require.Len(t, all.Items, 1)
	e.check(t)
}

// addEphemeral adds a container to the attacker's pod, as somebody may who debugs it. It
// sees what the pod has, and nothing else changes.
func addEphemeral(t *testing.T, s *attackScene) {
	t.Helper()
	pod := s.usualPod(t)
	before := s.ownCompanion(t, pod)
	changed := pod.DeepCopy()
	changed.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
		Name: "debug", Image: "example.com/debug", VolumeMounts: []corev1.VolumeMount{{Name: "mtls-certs", MountPath: "/stolen", ReadOnly: true}},
		Env: []corev1.EnvVar{{Name: "MTLS_SPIFFE_ID", Value: s.spiffeID("payments")}},
	}}}
	require.NoError(t, s.Client.SubResource("ephemeralcontainers").Update(t.Context(), changed))
	require.Len(t, changed.Spec.EphemeralContainers, 1)
	assert.Equal(t, pod.Spec.Volumes, changed.Spec.Volumes)
	assert.Equal(t, pod.Annotations, changed.Annotations)
	assert.Equal(t, pod.Labels, changed.Labels)
	s.holds(t, changed, s.usual(pod))
	s.after(func() { merge(t, s.attacker, pod, `{"metadata":{"annotations":{"mtls.example.io/env":"curl"}}}`) })
	assert.Equal(t, before.Spec, s.ownCompanion(t, pod).Spec)
}

// changeStatus changes what a kubelet says of pods, and their resources, as a node or an
// administrator can: an address, a name, that it has ended, and more memory.
func changeStatus(t *testing.T, s *attackScene) {
	t.Helper()
	own := s.pod(attempt{change: func(pod *corev1.Pod) {
		pod.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("32Mi")}
	}})
	require.NoError(t, s.attacker.Create(t.Context(), own))
	t.Cleanup(func() { s.delete(own) })
	before := s.ownCompanion(t, own)
	victims, err := s.WaitForPods(t.Context(), s.namespace, map[string]string{"app": "payments"}, 1)
	require.NoError(t, err)
	for _, pod := range []*corev1.Pod{own, &victims[0]} {
		for _, status := range []string{
			`{"status":{"podIP":"10.0.0.1","podIPs":[{"ip":"10.0.0.1"}],"hostIP":"10.0.0.2"}}`,
			`{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}`,
			`{"metadata":{"labels":{"app":"payments"},"annotations":{"mtls.example.io/dns-names":"vault"}},"status":{"message":"no metadata by this way"}}`,
		} {
			patch := client.RawPatch("application/merge-patch+json", []byte(status))
			require.NoError(t, s.Client.Status().Patch(t.Context(), pod.DeepCopy(), patch))
		}
		resize := fmt.Sprintf(`{"spec":{"containers":[{"name":%q,"resources":{"requests":{"memory":"64Mi"}}}]}}`, pod.Spec.Containers[0].Name)
		require.NoError(t, s.Client.SubResource("resize").Patch(t.Context(), pod.DeepCopy(), client.RawPatch("application/strategic-merge-patch+json", []byte(resize))))
	}
	s.after(func() { merge(t, s.attacker, own, `{"metadata":{"annotations":{"mtls.example.io/env":"curl"}}}`) })
	assert.Equal(t, before.Spec, s.ownCompanion(t, own).Spec)
}

// takeCertificate: somebody who may write Certificates makes one of a companion's name. It
// is his, says what he likes (only approver-policy can help that), and stays so.
func takeCertificate(t *testing.T, s *attackScene) {
	t.Helper()
	e := s.elsewhere(t)
	cert := &cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "mallory-mtls-pod"}, Spec: cmapi.CertificateSpec{
		SecretName: "somebodys-own", DNSNames: []string{"somebodys.example.com"}, URIs: []string{e.spiffeID("default")},
		IssuerRef: cmmeta.IssuerReference{Name: "companions"},
	}}
	require.NoError(t, e.Client.Create(t.Context(), cert))
	e.usualPod(t)
	assert.Equal(t, "Certificate mallory-mtls-pod was not made by mtls-injector for this workload and is left as it is: there is no companion Certificate",
		e.told("Pod", "mallory", "NameTaken"))
	var after cmapi.Certificate
	e.read(cert.Name, &after)
	assert.Equal(t, cert.Spec, after.Spec)
	assert.Empty(t, ourFields(&after))
	assert.Empty(t, after.OwnerReferences)
	e.check(t)
}

// takeSecret: the same with a Secret, which cert-manager would write over.
func takeSecret(t *testing.T, s *attackScene) {
	t.Helper()
	e := s.elsewhere(t)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "mallory-mtls-pod"}, StringData: map[string]string{"tls.key": "somebody's"}}
	require.NoError(t, e.Client.Create(t.Context(), secret))
	e.usualPod(t)
	assert.Equal(t, "Secret mallory-mtls-pod was not made by mtls-injector for this workload and is left as it is: there is no companion Certificate",
		e.told("Pod", "mallory", "NameTaken"))
	var after corev1.Secret
	e.read(secret.Name, &after)
	assert.Equal(t, secret.ResourceVersion, after.ResourceVersion)
	var all cmapi.CertificateList
	require.NoError(t, e.Client.List(t.Context(), &all, client.InNamespace(e.namespace)))
	assert.Empty(t, all.Items)
	e.check(t)
}
