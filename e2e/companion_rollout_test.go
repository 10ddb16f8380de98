package e2e

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/intent"
)

// TestCompanionOfACustomResource: an Argo Rollout makes ReplicaSets as a Deployment does,
// under a hash label of its own. The injector has no rights on it, so its companion goes
// with it by the garbage collector, and it is told when it should be restarted.
func TestCompanionOfACustomResource(t *testing.T) {
	c := restarting(t)
	clustertest.Apply(t, c.Cluster, filepath.Join(companionsFolder, "rollouts-crd.yaml"), c.namespace)
	rollout := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
		"metadata": map[string]any{"namespace": c.namespace, "name": "web"},
	}}
	require.NoError(t, c.WaitFor(t.Context(), "the CRD to be served", func(ctx context.Context) error {
		return c.Client.Create(ctx, rollout)
	}))
	owner := *metav1.NewControllerRef(rollout, rollout.GroupVersionKind())
	labels := map[string]string{"app": "web", "rollouts-pod-template-hash": "6d5f"}
	require.NoError(t, c.Client.Create(t.Context(), &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: "web-6d5f", OwnerReferences: []metav1.OwnerReference{owner}},
		Spec: appsv1.ReplicaSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{intent.Prefix + "role": "client"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "example.io/web"}}},
			},
		},
	}))
	name := intent.CompanionName(intent.Workload{APIVersion: "argoproj.io/v1alpha1", Kind: "Rollout", Name: "web"})
	cert, err := c.WaitForCertificate(t.Context(), c.namespace, name)
	require.NoError(t, err)
	require.Len(t, cert.OwnerReferences, 1)
	assert.Equal(t, rollout.GetUID(), cert.OwnerReferences[0].UID)

	c.renew(name)
	assert.Contains(t, c.told("Rollout", "web", "RestartNeeded"), "Rollout cannot be restarted by mtls-injector")

	require.NoError(t, c.Client.Delete(t.Context(), rollout, client.PropagationPolicy(metav1.DeletePropagationBackground)))
	// The garbage collector learns of new kinds every half minute.
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	require.NoError(t, c.WaitFor(ctx, "companion and Secret to go", func(ctx context.Context) error {
		return c.absent(ctx, name)
	}))
	var left cmapi.CertificateList
	require.NoError(t, c.Client.List(t.Context(), &left, client.InNamespace(c.namespace)))
	assert.Empty(t, left.Items)
}
