package certs

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/intent"
)

// replicaSetOf is one of the Deployment api, whose template says this.
func replicaSetOf(annotations map[string]string) *appsv1.ReplicaSet {
	set, _ := object(&appsv1.ReplicaSet{}, "api-5d9", controlledBy("apps/v1", "Deployment", "api")).(*appsv1.ReplicaSet)
	set.Spec.Template.Annotations = annotations
	set.Spec.Template.Spec.ServiceAccountName = "api"
	return set
}

// apiPod is a pod of it, or one that says so with all that such pods have.
func apiPod(name string, second int64, annotations map[string]string) *corev1.Pod {
	pod := annotated(name, annotations, controlledBy("apps/v1", "ReplicaSet", "api-5d9"))
	pod.Labels["pod-template-hash"] = "5d9"
	return aged(pod, second)
}

// TestTemplateDecides: whoever may make pods, or change them, has no say in the companion
// of a workload whose template says what it wants.
func TestTemplateDecides(t *testing.T) {
	says := map[string]string{intent.Prefix + "role": "server"}
	for name, change := range map[string]func(t *testing.T, s *stage){
		"a double with another role": func(t *testing.T, s *stage) {
			t.Helper()
			s.create(t, apiPod("zz", 9, map[string]string{"role": "client"}))
		},
		"a double that wants none": func(t *testing.T, s *stage) {
			t.Helper()
			s.create(t, apiPod("zz", 9, map[string]string{"role": "none"}))
		},
		"a double without annotations": func(t *testing.T, s *stage) { t.Helper(); s.create(t, apiPod("zz", 9, nil)) },
		"a double of another lifetime": func(t *testing.T, s *stage) {
			t.Helper()
			s.create(t, apiPod("zz", 9, map[string]string{"role": "server", "duration": "1h"}))
		},
		"a double that is refused": func(t *testing.T, s *stage) {
			t.Helper()
			s.create(t, apiPod("zz", 9, map[string]string{"role": "chief"}))
		},
		"a double of another's account": func(t *testing.T, s *stage) {
			t.Helper()
			double := apiPod("zz", 9, map[string]string{"role": "server"})
			double.Spec.ServiceAccountName = "admin"
			s.create(t, double)
		},
		"the pod itself, changed": func(t *testing.T, s *stage) {
			t.Helper()
			pod := &corev1.Pod{}
			require.NoError(t, s.world.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "api-5d9-a"}, pod))
			pod.Annotations = map[string]string{intent.Prefix + "role": "server", intent.Prefix + "companion": "false"}
			require.NoError(t, s.world.Update(t.Context(), pod))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newBareStage(t, object(&appsv1.Deployment{}, "api"), replicaSetOf(says), apiPod("api-5d9-a", 1, map[string]string{"role": "server"}))
			s.request.Name = "api-mtls"
			s.look(t, created)
			before := s.companion(t)
			assert.Equal(t, []string{"spiffe://cluster.local/ns/shop/sa/api"}, before.Spec.URIs)
			change(t, s)
			s.look(t, unchanged)
			assert.Equal(t, before.Spec, s.companion(t).Spec)
			assert.Equal(t, 1, s.world.applies)
		})
	}
}

// TestPodDecidesWhereNobodyElseDoes: the role came onto the pod by another webhook.
func TestPodDecidesWhereNobodyElseDoes(t *testing.T) {
	s := newBareStage(t, object(&appsv1.Deployment{}, "api"), replicaSetOf(nil), apiPod("api-5d9-a", 1, map[string]string{"role": "client"}))
	s.request.Name = "api-mtls"
	s.look(t, created)
	assert.Equal(t, []string{"spiffe://cluster.local/ns/shop/sa/web"}, s.companion(t).Spec.URIs)
}

// TestNamespaceDecides: what the namespace says is not overruled by a double either.
func TestNamespaceDecides(t *testing.T) {
	s := newBareStage(t, object(&appsv1.Deployment{}, "api"), replicaSetOf(nil), apiPod("api-5d9-a", 1, nil))
	s.request.Name = "api-mtls"
	var ns corev1.Namespace
	require.NoError(t, s.world.Get(t.Context(), client.ObjectKey{Name: namespace}, &ns))
	metav1.SetMetaDataAnnotation(&ns.ObjectMeta, intent.Prefix+"role", "server")
	require.NoError(t, s.world.Update(t.Context(), &ns))
	s.look(t, created)
	s.create(t, apiPod("zz", 9, map[string]string{"role": "none"}))
	s.look(t, unchanged)
	assert.Equal(t, 1, s.world.applies)
}
