//go:build node

package nodetest

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"example.io/mtls-injector/e2e/debimage"
)

// TestProbes: the kubelet has no certificate to show, so an HTTPS probe of a server that demands
// one fails for ever, of which admission warns. With probes: tcp the server is ready.
func TestProbes(t *testing.T) {
	t.Parallel()
	importImages(t, debimage.Nginx(), debimage.Peer())
	ns := newNamespace(t)
	giveNginx(t, ns)
	for name, server := range map[string]struct {
		spec corev1.PodSpec
		// fails is what the kubelet says of its probe.
		fails string
	}{
		"nginx": {serverSpec(nginxContainer(), 101), "Readiness probe failed: HTTP probe failed with statuscode: 400"},
		"go":    {serverSpec(peerContainer(), 65532), "remote error: tls: certificate required"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, probes := range []string{"keep", "tcp"} {
				pod := newPod(ns, name+"-"+probes, "", "role=server", "probes="+probes)
				pod.Spec = *server.spec.DeepCopy()
				pod.Spec.Containers[0].ReadinessProbe.ProbeHandler = corev1.ProbeHandler{
					HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt(tlsPort), Scheme: corev1.URISchemeHTTPS},
				}
				warned := createWarned(t, pod)
				const warning = "HTTPS probes present no client certificate and fail where one is required (app.readinessProbe): mtls.example.io/probes: tcp turns them into tcpSocket"
				if probes == "keep" {
					assert.Contains(t, warned, warning)
				} else {
					assert.NotContains(t, warned, warning)
				}
			}
			awaitReady(t, ns, name+"-tcp")
			event := awaitEvent(t, ns, name+"-keep", "Warning Unhealthy", server.fails)
			t.Logf("%s %s: %s", name, event.Reason, event.Message)
			// It runs as long as the other, and more than once was asked for nothing.
			awaitPod(t, ns, name+"-keep", "to run", func(pod *corev1.Pod) error {
				if pod.Status.Phase != corev1.PodRunning {
					return ready(pod)
				}
				require.Error(t, ready(pod), "it must never be ready")
				return nil
			})
		})
	}
}
