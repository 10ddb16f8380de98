package release_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/release"
	"example.io/mtls-injector/intent"
)

const (
	admissions  = "mtls_injector_admissions_total"
	validations = "mtls_injector_validations_total"
)

// TestWhoIsAsked: the API server asks the webhook about what can matter, and about nothing
// else. That it asked is read from the replicas' metrics.
func TestWhoIsAsked(t *testing.T) {
	install(t)
	asked := func(t *testing.T, metric string, want float64, do func()) {
		t.Helper()
		before := sum(t, metric)
		do()
		assert.InDelta(t, want, sum(t, metric)-before, 0, "requests to the webhook")
	}
	ns := optedIn(t)

	t.Run("a pod of an opted-in namespace", func(t *testing.T) {
		asked(t, admissions, 1, func() { assert.True(t, isInjected(create(t, server(ns)))) })
	})
	t.Run("role none is looked at, as it may hold a forged volume", func(t *testing.T) {
		pod := server(ns)
		pod.Annotations[intent.Prefix+"role"] = "none"
		asked(t, admissions, 1, func() { assert.False(t, isInjected(create(t, pod))) })
	})
	t.Run("a pod of another namespace", func(t *testing.T) {
		other := namespaceWith(t, nil)
		asked(t, admissions, 0, func() { assert.False(t, isInjected(create(t, server(other)))) })
	})
	t.Run("namespaces that can never match", func(t *testing.T) {
		for _, name := range []string{"kube-system", "cert-manager", release.Namespace} {
			label(t, name, map[string]string{cluster.EnabledLabel: "true"})
			asked(t, admissions, 0, func() { assert.False(t, isInjected(create(t, server(name)))) })
			label(t, name, map[string]string{cluster.EnabledLabel: ""})
		}
	})
	t.Run("a mirror pod, which only a kubelet makes", func(t *testing.T) {
		pod := server(ns)
		pod.GenerateName, pod.Name, pod.Spec.NodeName = "", "static", cluster.NodeName
		pod.Annotations[corev1.MirrorPodAnnotationKey] = "forged"
		asked(t, admissions, 1, func() {
			assert.False(t, isInjected(create(t, pod.DeepCopy())), "made by another it is looked at")
		})
		kubelet := userClient(t, "system:node:"+cluster.NodeName, "system:masters", "system:nodes")
		asked(t, admissions, 0, func() {
			// The API server itself may refuse what no kubelet would write; it is asked after
			// the webhooks for pods.
			_ = kubelet.Create(t.Context(), pod.DeepCopy(), client.DryRunAll)
		})
	})
	t.Run("workloads", func(t *testing.T) { testWorkloadsAsked(t, ns, asked) })
	t.Run("Namespaces", func(t *testing.T) {
		asked(t, validations, 1, func() { optedIn(t) })
		name := namespaceWith(t, nil)
		asked(t, validations, 0, func() { label(t, name, map[string]string{"team": "a"}) })
		asked(t, validations, 1, func() { label(t, name, map[string]string{cluster.EnabledLabel: "true"}) })
	})
}

func testWorkloadsAsked(t *testing.T, ns string, asked func(*testing.T, string, float64, func())) {
	t.Helper()
	asked(t, validations, 1, func() { deploy(t, ns) })
	_, err := stage.WaitForPods(t.Context(), ns, map[string]string{"app": "web"}, 1)
	require.NoError(t, err)
	web := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "web"}}
	patch := func(patch string) func() {
		return func() {
			require.NoError(t, stage.Client.Patch(t.Context(), web, client.RawPatch(types.MergePatchType, []byte(patch)), client.DryRunAll))
		}
	}
	asked(t, validations, 0, patch(`{"spec":{"replicas":2}}`))
	asked(t, validations, 0, patch(`{"metadata":{"labels":{"team":"a"}}}`))
	asked(t, validations, 1, patch(`{"metadata":{"annotations":{"mtls.example.io/role":"client"}}}`))
	asked(t, validations, 1, patch(`{"spec":{"template":{"metadata":{"annotations":{"mtls.example.io/env":"curl"}}}}}`))
	var sets appsv1.ReplicaSetList
	require.NoError(t, stage.Client.List(t.Context(), &sets, client.InNamespace(ns)))
	require.Len(t, sets.Items, 1)
	owned := sets.Items[0].DeepCopy()
	owned.Annotations["changed"] = "true"
	asked(t, validations, 0, func() {
		require.NoError(t, stage.Client.Update(t.Context(), owned, client.DryRunAll))
	})
}

// TestOtherSelectors: another label opts in, for the webhook and for companions alike.
func TestOtherSelectors(t *testing.T) {
	t.Cleanup(func() { cleanUp(t) })
	_, err := stage.Install(t.Context(),
		"--set-json", `namespaceSelector={"matchLabels":null,"matchExpressions":[{"key":"mtls","operator":"In","values":["on"]}]}`,
		"--set-json", `objectSelector={"matchExpressions":[{"key":"legacy","operator":"DoesNotExist"}]}`,
		"--set", "excludedNamespaces={left-out},tests.enabled=false")
	require.NoError(t, err)
	ns := namespaceWith(t, map[string]string{"mtls": "on"})
	awaitInjected(t, ns)
	assert.False(t, isInjected(create(t, server(namespaceWith(t, map[string]string{cluster.EnabledLabel: "true"})))))

	legacy := server(ns)
	legacy.Labels = map[string]string{"legacy": "true"}
	assert.False(t, isInjected(create(t, legacy)), "a pod that objectSelector leaves out")

	_, err = stage.CreateNamespace(t.Context(), "left-out", map[string]string{"mtls": "on"}, nil)
	require.NoError(t, err)
	assert.False(t, isInjected(create(t, server("left-out"))))

	deploy(t, ns)
	_, err = stage.WaitForCertificate(t.Context(), ns, "web-mtls")
	require.NoError(t, err, "the controller goes by the same selector")
}

// label sets labels of a namespace; an empty value removes one.
func label(t *testing.T, namespace string, labels map[string]string) {
	t.Helper()
	ns := &corev1.Namespace{}
	require.NoError(t, stage.Client.Get(t.Context(), client.ObjectKey{Name: namespace}, ns))
	before := ns.DeepCopy()
	if ns.Labels == nil {
		ns.Labels = map[string]string{}
	}
	for key, value := range labels {
		if ns.Labels[key] = value; value == "" {
			delete(ns.Labels, key)
		}
	}
	require.NoError(t, stage.Client.Patch(t.Context(), ns, client.MergeFrom(before)))
}

func userClient(t *testing.T, name string, groups ...string) client.Client {
	t.Helper()
	config, err := stage.ConfigForUser(name, groups...)
	require.NoError(t, err)
	c, err := client.New(config, client.Options{Scheme: stage.Scheme})
	require.NoError(t, err)
	return c
}
