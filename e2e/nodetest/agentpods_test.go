//go:build node

package nodetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/debimage"
	"example.io/mtls-injector/intent"
)

// TestJobCompletes: the agent, a native sidecar, does not keep a Job from its end, and what stands
// behind it finds its files: an init container that reads them once, and the Job's own.
func TestJobCompletes(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	read := corev1.Container{
		Name: "read", Image: toolsImage, ImagePullPolicy: corev1.PullNever,
		Args: []string{"cat", "/etc/tls/client/tls.crt", "/etc/tls/client/tls.key", "/etc/tls/ca/ca.crt"},
	}
	first := read
	first.Name = "first"
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "job"},
		Spec: batchv1.JobSpec{BackoffLimit: new(int32(0)), Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{intent.Prefix + "role": "client", intent.Prefix + "agent": "true"}},
			Spec: corev1.PodSpec{
				InitContainers: []corev1.Container{first}, Containers: []corev1.Container{read}, RestartPolicy: corev1.RestartPolicyNever,
			},
		}},
	}
	require.NoError(t, node.Client.Create(t.Context(), job))
	require.NoError(t, node.WaitFor(t.Context(), "the Job to complete", func(ctx context.Context) error {
		if err := node.Client.Get(ctx, client.ObjectKeyFromObject(job), job); err != nil {
			return err
		}
		for _, condition := range job.Status.Conditions {
			if condition.Type == batchv1.JobComplete && condition.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("it is %+v", job.Status)
	}))
	var pods corev1.PodList
	require.NoError(t, node.Client.List(t.Context(), &pods, client.InNamespace(ns), client.MatchingLabels{batchv1.JobNameLabel: "job"}))
	require.Len(t, pods.Items, 1)
	pod := &pods.Items[0]
	require.Equal(t, intent.AgentContainer, pod.Spec.InitContainers[0].Name)
	assert.Zero(t, pod.Status.InitContainerStatuses[0].RestartCount, "the agent ends well, too")
	for _, container := range []string{"first", "read"} {
		log, err := node.Logs(t.Context(), ns, pod.Name, container)
		require.NoError(t, err)
		assert.Contains(t, log, "BEGIN CERTIFICATE")
		assert.Contains(t, log, "PRIVATE KEY")
	}
}

// TestRestrictedPodRuns: a pod that Pod Security "restricted" admits runs with each form of the
// agent, and a program that is signalled goes on.
func TestRestrictedPodRuns(t *testing.T) {
	t.Parallel()
	importImages(t, debimage.Nginx(), debimage.Peer())
	ns := newNamespace(t, "pod-security.kubernetes.io/enforce=restricted")
	giveNginx(t, ns)
	for name, annotations := range map[string][]string{
		"guard":  {"role=server", "agent=true"},
		"signal": {"role=server", "reload=signal"},
		"secret": {"role=server", "agent=true", "delivery=secret"},
	} {
		pod := newPod(ns, name, "", annotations...)
		pod.Spec = serverSpec(nginxContainer(), 101)
		pod.Spec.SecurityContext.RunAsNonRoot = new(true)
		pod.Spec.SecurityContext.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}
		pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		}
		create(t, pod)
	}
	for _, name := range []string{"guard", "signal", "secret"} {
		pod := awaitReady(t, ns, name)
		assert.Zero(t, pod.Status.InitContainerStatuses[0].RestartCount, name)
		assert.NotNil(t, pod.Status.InitContainerStatuses[0].State.Running, name)
	}
}

// TestAgentsMetricsPort: what the PodMonitor looks for is there.
func TestAgentsMetricsPort(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	create(t, newPod(ns, "server", toolsImage, "role=server", "agent=true"))
	create(t, newPod(ns, "tools", toolsImage))
	pod := awaitReady(t, ns, "server")
	awaitReady(t, ns, "tools")
	require.Equal(t, []corev1.ContainerPort{{Name: "mtls-metrics", ContainerPort: 9469, Protocol: corev1.ProtocolTCP}}, pod.Spec.InitContainers[0].Ports)
	out, err := node.Exec(t.Context(), ns, "tools", "app", "/program", "get", fmt.Sprintf("http://%s:9469/metrics", pod.Status.PodIP))
	require.NoError(t, err)
	assert.Equal(t, "200 OK\n", out)
}
