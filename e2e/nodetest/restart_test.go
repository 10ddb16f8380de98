//go:build node

package nodetest

import (
	"context"
	"crypto/tls"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// startPair starts a pod with its files from the CSI driver and one with them from a Secret.
func startPair(t *testing.T, ns string) []string {
	t.Helper()
	names := []string{"csi", "secret"}
	for _, delivery := range names {
		pod := newPod(ns, delivery, toolsImage, "role=server", "delivery="+delivery)
		require.NoError(t, theNode(t).Client.Create(t.Context(), pod))
	}
	for _, name := range names {
		awaitReady(t, ns, name)
		requireValidFiles(t, ns, name)
	}
	return names
}

// requireValidFiles reads a pod's files from within, and has them fit each other.
func requireValidFiles(t *testing.T, ns, pod string) {
	t.Helper()
	chain, key, bundle := readFile(t, ns, pod, "/etc/tls/server/tls.crt"), readFile(t, ns, pod, "/etc/tls/server/tls.key"), readFile(t, ns, pod, "/etc/tls/ca/ca.crt")
	_, err := tls.X509KeyPair([]byte(chain), []byte(key))
	require.NoError(t, err)
	requireVerified(t, chain, bundle)
}

// readFile reads a file in a pod of package tools's image. A kubelet that has just started does
// not know its pods yet.
func readFile(t *testing.T, ns, pod, file string) string {
	t.Helper()
	var out string
	require.NoError(t, node.WaitFor(t.Context(), "reading "+file+" in "+pod, func(ctx context.Context) error {
		var err error
		out, err = node.Exec(ctx, ns, pod, "app", "/program", "cat", file)
		return err
	}))
	return out
}

// TestKubeletAndContainerdRestart: pods go on over it, and new ones start after it.
func TestKubeletAndContainerdRestart(t *testing.T) {
	n, ns := theNode(t), newNamespace(t)
	names := startPair(t, ns)
	require.NoError(t, n.RestartPrograms(t.Context()))
	for _, name := range names {
		pod := awaitReady(t, ns, name)
		assert.Zero(t, pod.Status.ContainerStatuses[0].RestartCount, name)
		requireValidFiles(t, ns, name)
	}
	require.NoError(t, n.Client.Create(t.Context(), newPod(ns, "new", toolsImage, "role=server")))
	awaitReady(t, ns, "new")
	requireValidFiles(t, ns, "new")
}

// TestNodeRestart: after a loss of power the same pods start again, with new files of the CSI
// driver and the Secret's old ones, the webhook's among them.
func TestNodeRestart(t *testing.T) {
	n, ns := theNode(t), newNamespace(t)
	names := startPair(t, ns)
	before := map[string]string{}
	for _, name := range names {
		before[name] = readFile(t, ns, name, "/etc/tls/server/tls.crt")
	}
	require.NoError(t, n.Reboot(t.Context()))
	for _, name := range names {
		awaitPod(t, ns, name, "to be started again", func(pod *corev1.Pod) error {
			if count := pod.Status.ContainerStatuses[0].RestartCount; count != 1 {
				return fmt.Errorf("it was restarted %d times", count)
			}
			return ready(pod)
		})
		requireValidFiles(t, ns, name)
		same := readFile(t, ns, name, "/etc/tls/server/tls.crt") == before[name]
		assert.Equal(t, name == "secret", same, "%s: the CSI driver had its key in memory only", name)
	}
	require.NoError(t, n.WaitFor(t.Context(), "the webhook to be back", func(ctx context.Context) error {
		return n.Client.Create(ctx, newPod(ns, "new", toolsImage, "role=server"), client.DryRunAll)
	}))
	require.NoError(t, n.Client.Create(t.Context(), newPod(ns, "new", toolsImage, "role=server")))
	awaitReady(t, ns, "new")
	requireValidFiles(t, ns, "new")
}
