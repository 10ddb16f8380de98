package e2e

import (
	"context"
	"fmt"
	"maps"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/intent"
)

// restrictedPod is one that "restricted" admits.
func restrictedPod(namespace string, annotations map[string]string) *corev1.Pod {
	pod := podWith(namespace, annotations)
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{
		RunAsNonRoot: new(true), RunAsUser: new(int64(101)), RunAsGroup: new(int64(101)),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	return pod
}

// TestAgentUnderPodSecurity has the API server's own admission look at pods with the agent.
func TestAgentUnderPodSecurity(t *testing.T) {
	runWebhook(t, shared, cluster.WebhookOptions{})
	ns, err := shared.CreateNamespace(t.Context(), "test-", map[string]string{cluster.EnabledLabel: "true", restricted: "restricted"}, nil)
	require.NoError(t, err)
	namespace := ns.Name
	err = shared.Client.Create(t.Context(), podWith(namespace, nil))
	require.ErrorContains(t, err, `violates PodSecurity "restricted:latest"`, "it is enforced")

	for name, annotations := range map[string]map[string]string{
		"guard":  {"role": "server", "agent": "true"},
		"signal": {"role": "server", "reload": "signal"},
		"url":    {"role": "client", "reload": "signal", "reload-url": "http://localhost:8080/reload"},
		"secret": {"role": "both", "agent": "true", "delivery": "secret", "mount-path": "/certs"},
	} {
		t.Run(name, func(t *testing.T) {
			pod := restrictedPod(namespace, annotations)
			pod.Name = name
			require.NoError(t, shared.Client.Create(t.Context(), pod))
			agent := pod.Spec.InitContainers[0]
			assert.Equal(t, intent.AgentContainer, agent.Name)
			assert.Equal(t, int64(101), *agent.SecurityContext.RunAsUser)
			assert.Equal(t, name == "signal", pod.Spec.ShareProcessNamespace != nil && *pod.Spec.ShareProcessNamespace)
		})
	}
}

// TestAgentUnderQuotas: what a ResourceQuota demands the agent has, and what a LimitRange adds
// is kept.
func TestAgentUnderQuotas(t *testing.T) {
	runWebhook(t, shared, cluster.WebhookOptions{})
	namespace := clustertest.Namespace(t, shared, nil)
	meta := metav1.ObjectMeta{Name: "all", Namespace: namespace}
	quota := &corev1.ResourceQuota{ObjectMeta: meta, Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{
		"requests.cpu": resource.MustParse("1"), "requests.memory": resource.MustParse("1Gi"), "limits.memory": resource.MustParse("1Gi"),
	}}}
	require.NoError(t, shared.Client.Create(t.Context(), quota))
	require.NoError(t, shared.WaitFor(t.Context(), "the quota", func(ctx context.Context) error {
		if err := shared.Client.Get(ctx, client.ObjectKeyFromObject(quota), quota); err != nil {
			return err
		}
		if len(quota.Status.Hard) == 0 {
			return fmt.Errorf("it has no status")
		}
		return nil
	}))
	err := shared.Client.Create(t.Context(), podWith(namespace, map[string]string{"role": "client", "agent": "true"}))
	require.True(t, apierrors.IsForbidden(err), "%v", err)
	assert.ErrorContains(t, err, "must specify limits.memory for: app; requests.cpu for: app; requests.memory for: app", "of the pod's own container alone")

	ranges := &corev1.LimitRange{ObjectMeta: meta, Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
		Type:           corev1.LimitTypeContainer,
		Default:        corev1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("64Mi")},
		DefaultRequest: corev1.ResourceList{"cpu": resource.MustParse("50m"), "memory": resource.MustParse("64Mi")},
	}}}}
	require.NoError(t, shared.Client.Create(t.Context(), ranges))
	var pod *corev1.Pod
	require.NoError(t, shared.WaitFor(t.Context(), "the LimitRange to be known", func(ctx context.Context) error {
		pod = podWith(namespace, map[string]string{"role": "client", "agent": "true"})
		return shared.Client.Create(ctx, pod)
	}))
	agent := pod.Spec.InitContainers[0].Resources
	assert.Equal(t, map[string]string{"cpu": "100m", "memory": "16Mi"}, quantities(agent.Limits))
	assert.Equal(t, map[string]string{"cpu": "5m", "memory": "16Mi"}, quantities(agent.Requests))
}

func quantities(list corev1.ResourceList) map[string]string {
	texts := map[string]string{}
	for name, quantity := range maps.All(list) {
		texts[string(name)] = quantity.String()
	}
	return texts
}
