//go:build node

package nodetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/debimage"
	"example.io/mtls-injector/intent"
)

const tlsPort = 8443

// importImages has images of unchanged software on the node.
func importImages(t *testing.T, specs ...*debimage.Spec) {
	t.Helper()
	images, err := debimage.Pack(t.Context(), clustertest.Stderr, specs...)
	require.NoError(t, err)
	for _, image := range images {
		require.NoError(t, node.Import(t.Context(), image.Archive))
	}
}

// peerContainer is a Go server that demands client certificates, alone in its image.
func peerContainer() corev1.Container {
	return corev1.Container{
		Name: "app", Image: debimage.Peer().Reference(), ImagePullPolicy: corev1.PullNever,
		Args: []string{"serve", "--until-signal"},
	}
}

// nginxContainer is nginx, whose configuration of mutual TLS is in the ConfigMap of giveNginx.
func nginxContainer() corev1.Container {
	return corev1.Container{
		Name: "app", Image: debimage.Nginx().Reference(), ImagePullPolicy: corev1.PullNever,
		VolumeMounts: []corev1.VolumeMount{{Name: "config", MountPath: "/etc/nginx/nginx.conf", SubPath: "nginx.conf"}},
	}
}

// giveNginx makes the ConfigMap.
func giveNginx(t *testing.T, namespace string) {
	t.Helper()
	config, err := os.ReadFile("testdata/software/nginx.conf")
	require.NoError(t, err)
	require.NoError(t, node.Client.Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "nginx"}, Data: map[string]string{"nginx.conf": string(config)},
	}))
}

// serverSpec is a pod of the container, as the user of its image, whose readiness is that its port answers.
func serverSpec(container corev1.Container, user int64) corev1.PodSpec {
	container.ReadinessProbe = &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt(tlsPort)}}, PeriodSeconds: 1,
	}
	spec := corev1.PodSpec{
		Containers:      []corev1.Container{container},
		SecurityContext: &corev1.PodSecurityContext{RunAsUser: &user, RunAsGroup: &user, FSGroup: &user},
	}
	if len(container.VolumeMounts) > 0 {
		spec.Volumes = []corev1.Volume{{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: "nginx"},
		}}}}
	}
	return spec
}

// giveServer makes a Service and a Deployment "web" of two pods behind it, and waits for them.
func giveServer(t *testing.T, namespace string, spec corev1.PodSpec, annotations map[string]string) {
	t.Helper()
	labels := map[string]string{"app": "web"}
	require.NoError(t, node.Client.Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web"},
		Spec:       corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{{Port: 443, TargetPort: intstr.FromInt(tlsPort)}}},
	}))
	all := map[string]string{intent.Prefix + "role": "server"}
	for key, value := range annotations {
		all[intent.Prefix+key] = value
	}
	require.NoError(t, node.Client.Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(2)), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Strategy: appsv1.DeploymentStrategy{RollingUpdate: &appsv1.RollingUpdateDeployment{
				MaxUnavailable: new(intstr.FromInt(0)), MaxSurge: new(intstr.FromInt(1)),
			}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: all}, Spec: spec},
		},
	}))
	awaitWeb(t, namespace, nil)
}

// awaitWeb waits for two pods that are ready and none of those before, and returns their names.
func awaitWeb(t *testing.T, namespace string, before []string) []string {
	t.Helper()
	var names []string
	require.NoError(t, node.WaitFor(t.Context(), "two new pods, and no other", func(ctx context.Context) error {
		var pods corev1.PodList
		if err := node.Client.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{"app": "web"}); err != nil {
			return err
		}
		names = nil
		var errs []error
		for i := range pods.Items {
			pod := &pods.Items[i]
			names = append(names, pod.Name)
			if slices.Contains(before, pod.Name) {
				errs = append(errs, fmt.Errorf("%s is there", pod.Name))
			}
			errs = append(errs, ready(pod))
		}
		if len(names) != 2 {
			errs = append(errs, fmt.Errorf("there are %q", names))
		}
		return errors.Join(errs...)
	}))
	return names
}

// restart does what `kubectl rollout restart` does, and waits until the old pods are gone.
func restart(t *testing.T, namespace string) {
	t.Helper()
	before := awaitWeb(t, namespace, nil)
	patch := client.RawPatch("application/strategic-merge-patch+json",
		[]byte(`{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"now"}}}}}`))
	require.NoError(t, node.Client.Patch(t.Context(), &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web"}}, patch))
	awaitWeb(t, namespace, before)
}

// TestDrain restarts servers under constant load, by connections that are kept and by new
// ones, with the hook that is injected and, for the record, without.
func TestDrain(t *testing.T) {
	importImages(t, debimage.Nginx(), debimage.Peer())
	for _, server := range []struct {
		name      string
		container corev1.Container
		user      int64
	}{{"nginx", nginxContainer(), 101}, {"go", peerContainer(), 65532}} {
		for _, hook := range []string{"with the hook", "without"} {
			t.Run(server.name+" "+hook, func(t *testing.T) {
				ns := newNamespace(t)
				giveNginx(t, ns)
				annotations := map[string]string{}
				if hook == "without" {
					annotations["pre-stop-seconds"] = "0"
				}
				giveServer(t, ns, serverSpec(server.container, server.user), annotations)
				l := newLoad(t, ns, "web")
				l.during(t, func() { restart(t, ns) })
				clustertest.Stderr(fmt.Sprintf("measured: rolling restart of %s %s: kept connections, %s", server.name, hook, &l.kept))
				clustertest.Stderr(fmt.Sprintf("measured: rolling restart of %s %s: new connections, %s", server.name, hook, &l.fresh))
				if hook == "without" {
					return // which is for the record
				}
				assert.Zero(t, l.kept.failed, &l.kept)
				assert.Zero(t, l.fresh.failed, &l.fresh)
			})
		}
	}
}

// remove deletes a pod with a grace period, and does not wait.
func remove(t *testing.T, namespace, name string, opts ...client.DeleteOption) {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	require.NoError(t, node.Client.Delete(t.Context(), pod, opts...))
}

// TestSleepWithoutShell: the sleep action needs nothing of the image. While it sleeps, the pod
// serves and new connections are sent elsewhere.
func TestSleepWithoutShell(t *testing.T) {
	t.Parallel()
	importImages(t, debimage.Peer())
	ns := newNamespace(t)
	giveServer(t, ns, serverSpec(peerContainer(), 65532), map[string]string{"pre-stop-seconds": "600"})
	names := awaitWeb(t, ns, nil)
	l := newLoad(t, ns, "web")
	pod := awaitReady(t, ns, names[0])
	require.NotNil(t, pod.Spec.Containers[0].Lifecycle.PreStop.Sleep)
	_, err := node.Exec(t.Context(), ns, pod.Name, "app", "sh", "-c", "true")
	require.Error(t, err, "there is no shell")

	remove(t, ns, pod.Name)
	awaitDrained(t, ns, pod.Name)
	l.url = fmt.Sprintf("https://%s:%d/", pod.Status.PodIP, tlsPort)
	l.during(t, func() {})
	assert.Zero(t, l.kept.failed, &l.kept)
	assert.Zero(t, l.fresh.failed, &l.fresh)
	requireNoEvent(t, ns, pod.Name, "FailedPreStopHook")
	remove(t, ns, pod.Name, client.GracePeriodSeconds(0))
}

// awaitDrained waits until nobody is sent to a pod any more that is being deleted.
func awaitDrained(t *testing.T, namespace, name string) {
	t.Helper()
	require.NoError(t, node.WaitFor(t.Context(), name+" to be out of the Service", func(ctx context.Context) error {
		slices, err := node.Clientset.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=web"})
		if err != nil {
			return err
		}
		for i := range slices.Items {
			for _, endpoint := range slices.Items[i].Endpoints {
				if endpoint.TargetRef.Name == name && (endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready) {
					return fmt.Errorf("it is ready in %s", slices.Items[i].Name)
				}
			}
		}
		return nil
	}))
}

func requireNoEvent(t *testing.T, namespace, object, reason string) {
	t.Helper()
	var events corev1.EventList
	require.NoError(t, node.Client.List(t.Context(), &events, client.InNamespace(namespace)))
	for i := range events.Items {
		if e := &events.Items[i]; e.InvolvedObject.Name == object {
			require.NotEqual(t, reason, e.Reason, e.Message)
		}
	}
}

// TestExecHook takes the hook that is written for Kubernetes before 1.30 to a node. With a
// program sleep in the image it sleeps. Without, it fails at once, an Event says so, and the
// program is stopped.
func TestExecHook(t *testing.T) {
	t.Parallel()
	importImages(t, debimage.Nginx(), debimage.Peer())
	ns := newNamespace(t)
	giveNginx(t, ns)
	for name, server := range map[string]corev1.PodSpec{"nginx": serverSpec(nginxContainer(), 101), "peer": serverSpec(peerContainer(), 65532)} {
		pod := newPod(ns, name, "", "role=server", "pre-stop-seconds=600")
		pod.Spec = server
		injected, said := injectFor(t, pod, "1.29")
		assert.Contains(t, said, "the preStop hook runs the program sleep in the container, as Kubernetes has no sleep action before 1.30")
		require.Equal(t, []string{"sleep", "600"}, injected.Spec.Containers[0].Lifecycle.PreStop.Exec.Command)
		create(t, injected)
	}
	awaitReady(t, ns, "nginx")
	awaitReady(t, ns, "peer")

	remove(t, ns, "nginx")
	require.NoError(t, node.WaitFor(t.Context(), "sleep to run", func(ctx context.Context) error {
		out, err := node.Exec(ctx, ns, "nginx", "app", "sh", "-c", "cat /proc/[0-9]*/comm")
		if err == nil && !strings.Contains(out, "sleep\n") {
			err = fmt.Errorf("there are only\n%s", out)
		}
		return err
	}))
	requireNoEvent(t, ns, "nginx", "FailedPreStopHook")
	remove(t, ns, "nginx", client.GracePeriodSeconds(0))

	remove(t, ns, "peer")
	awaitEvent(t, ns, "peer", "Warning FailedPreStopHook")
	require.NoError(t, node.WaitFor(t.Context(), "peer to end", func(ctx context.Context) error {
		err := node.Client.Get(ctx, client.ObjectKey{Namespace: ns, Name: "peer"}, &corev1.Pod{})
		if client.IgnoreNotFound(err) != nil || err == nil {
			return fmt.Errorf("it is there (%w)", err)
		}
		return nil
	}), "long before ten minutes are over")
}
