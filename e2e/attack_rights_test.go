package e2e

// What the attacker has no right to at all. These are promises of RBAC, and the others
// rest on them.

import (
	"fmt"
	"strings"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
)

func rightsAttacks() []attack {
	return []attack{
		{"a Service, Secret or Certificate of his own", createOthers},
		{"subresources of pods", useSubresources},
		{"the namespace's own label and annotations", changeNamespace},
		{"a mirror pod", pretendMirror},
		{"what exists, by refusals", learnNames},
	}
}

// forbidden is what the API server says.
func (s *attackScene) forbidden(verb, resource, group string) string {
	return fmt.Sprintf("User %q cannot %s resource %q in API group %q in the namespace %q", s.user, verb, resource, group, s.namespace)
}

// createOthers tries the objects that decide who is who: a Service to squat a name, what a
// companion is called, a request, and a workload of the victim's name.
func createOthers(t *testing.T, s *attackScene) {
	t.Helper()
	named := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: s.namespace, Name: name} }
	issuer := cmmeta.IssuerReference{Name: "companions"}
	for _, tc := range []struct {
		object          client.Object
		resource, group string
	}{
		{&corev1.Service{ObjectMeta: named("squat"), Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "mallory"}}}, "services", ""},
		{&corev1.Secret{ObjectMeta: named("mallory-mtls-pod")}, "secrets", ""},
		{&corev1.ServiceAccount{ObjectMeta: named("admin")}, "serviceaccounts", ""},
		{&corev1.ConfigMap{ObjectMeta: named("mtls-ca-bundle")}, "configmaps", ""},
		{&appsv1.ReplicaSet{ObjectMeta: named("worker-1")}, "replicasets", "apps"},
		{&cmapi.Certificate{ObjectMeta: named("mallory-mtls-pod"), Spec: cmapi.CertificateSpec{IssuerRef: issuer}}, "certificates", "cert-manager.io"},
		{&cmapi.CertificateRequest{ObjectMeta: named("one"), Spec: cmapi.CertificateRequestSpec{IssuerRef: issuer}}, "certificaterequests", "cert-manager.io"},
	} {
		t.Run(tc.resource, func(t *testing.T) {
			assert.ErrorContains(t, s.attacker.Create(t.Context(), tc.object), s.forbidden("create", tc.resource, tc.group))
		})
	}
	t.Run("the victim's", func(t *testing.T) {
		cert := s.before["payments-mtls"]
		assert.ErrorContains(t, s.attacker.Update(t.Context(), cert.DeepCopy()), s.forbidden("update", "certificates", "cert-manager.io"))
		secret := client.ObjectKey{Namespace: s.namespace, Name: "payments-mtls"}
		assert.ErrorContains(t, s.attacker.Get(t.Context(), secret, &corev1.Secret{}), s.forbidden("get", "secrets", ""))
	})
}

// useSubresources tries those that change a pod or what runs in it.
func useSubresources(t *testing.T, s *attackScene) {
	t.Helper()
	pod := s.usualPod(t)
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"app":"payments"}}}`))
	for _, name := range []string{"status", "resize", "ephemeralcontainers"} {
		t.Run(name, func(t *testing.T) {
			err := s.attacker.SubResource(name).Patch(t.Context(), pod.DeepCopy(), patch)
			assert.ErrorContains(t, err, s.forbidden("patch", "pods/"+name, ""))
		})
	}
	t.Run("ephemeral containers at creation", func(t *testing.T) {
		pod := s.pod(attempt{change: func(pod *corev1.Pod) {
			pod.Name = "another"
			pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "example.com/debug"}}}
		}})
		assert.ErrorContains(t, s.attacker.Create(t.Context(), pod), "spec.ephemeralContainers: Forbidden: cannot be set on create")
	})
	t.Run("volumes after creation", func(t *testing.T) {
		changed := pod.DeepCopy()
		volumeNamed(changed, "mtls-certs").CSI.VolumeAttributes["csi.cert-manager.io/dns-names"] = "vault." + s.other + ".svc"
		assert.ErrorContains(t, s.attacker.Update(t.Context(), changed), "spec: Forbidden: pod updates may not change fields other than")
	})
	t.Run("the service account after creation", func(t *testing.T) {
		changed := pod.DeepCopy()
		changed.Spec.ServiceAccountName = "payments"
		assert.ErrorContains(t, s.attacker.Update(t.Context(), changed), "spec: Forbidden: pod updates may not change fields other than")
	})
}

// changeNamespace tries to opt the namespace out, and to get a grant or another issuer by
// its labels.
func changeNamespace(t *testing.T, s *attackScene) {
	t.Helper()
	for name, patch := range map[string]string{
		"opt out": `{"metadata":{"labels":{"mtls-enabled":null}}}`, "a grant": `{"metadata":{"labels":{"team":"gateway"}}}`,
		"annotations": `{"metadata":{"annotations":{"mtls.example.io/issuer":"public"}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}}
			err := s.attacker.Patch(t.Context(), ns, client.RawPatch("application/merge-patch+json", []byte(patch)))
			assert.ErrorContains(t, err, s.forbidden("patch", "namespaces", ""))
		})
	}
}

// pretendMirror makes a pod that says it mirrors a static one. Such pods are left alone, as
// the kubelet that makes them cannot have them changed. Nobody runs what only pretends: a
// kubelet looks for the static pod of its own, and the mark can neither go nor come later.
func pretendMirror(t *testing.T, s *attackScene) {
	t.Helper()
	pod := s.pod(attempt{attribute: "dns-names", value: payments})
	pod.Annotations[corev1.MirrorPodAnnotationKey] = "1"
	pod.Spec.NodeName = cluster.NodeName // which such a pod must have
	require.NoError(t, s.attacker.Create(t.Context(), pod))
	t.Cleanup(func() { s.delete(pod) })
	assert.Empty(t, pod.Labels["mtls.example.io/injected"])
	delete(pod.Annotations, corev1.MirrorPodAnnotationKey)
	assert.ErrorContains(t, s.attacker.Update(t.Context(), pod),
		"metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not remove or update mirror pod annotation")
}

// learnNames asks, by owner references, whether there are objects that the attacker may not
// read, but the injector may: the answer is the same whether there are.
func learnNames(t *testing.T, s *attackScene) {
	t.Helper()
	for kind, name := range map[string]string{"Secret": "payments-mtls", "Namespace": s.other} {
		t.Run(kind, func(t *testing.T) {
			answer := func(name string) string {
				pod := s.pod(attempt{and: map[string]string{"role": "client", "delivery": "secret"}, change: ownedBy("v1", kind, invented(name), nil)})
				err := s.attacker.Create(t.Context(), pod, client.DryRunAll)
				require.Error(t, err)
				return strings.ReplaceAll(err.Error(), name, "")
			}
			assert.Equal(t, answer("no-such-name"), answer(name))
		})
	}
}

// usualPod makes the attacker's usual pod, until the end of the test.
func (s *attackScene) usualPod(t *testing.T) *corev1.Pod {
	t.Helper()
	pod := s.pod(attempt{})
	require.NoError(t, s.attacker.Create(t.Context(), pod))
	t.Cleanup(func() { s.delete(pod) })
	s.holds(t, pod, s.usual(pod))
	return pod
}
