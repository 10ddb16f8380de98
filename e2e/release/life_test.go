package release_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/release"
	"example.io/mtls-injector/intent"
)

// TestLife is the life of a release as its user sees it, each step on what the one before
// left.
func TestLife(t *testing.T) {
	notes := install(t)
	assert.Contains(t, notes, "mtls-enabled", "the notes tell the next command")
	ns := optedIn(t)

	t.Run("two replicas serve, and one of them leads", func(t *testing.T) {
		assert.Len(t, stage.Pods.Ready(), 2)
		var lease coordinationv1.Lease
		require.NoError(t, stage.Client.Get(t.Context(), client.ObjectKey{Namespace: release.Namespace, Name: "mtls-injector"}, &lease))
		assert.NotEmpty(t, lease.Spec.HolderIdentity)
	})
	t.Run("a workload is injected and has a companion", func(t *testing.T) {
		deploy(t, ns)
		pods, err := stage.WaitForPods(t.Context(), ns, map[string]string{"app": "web"}, 1)
		require.NoError(t, err)
		assert.True(t, isInjected(&pods[0]))
		cert, err := stage.WaitForCertificate(t.Context(), ns, "web-mtls")
		require.NoError(t, err)
		assert.Equal(t, "mtls-ca", cert.Spec.IssuerRef.Name)
	})
	t.Run("a mistake is refused where it is made", func(t *testing.T) {
		pod := server(ns)
		pod.Annotations[intent.Prefix+"rol"] = "server"
		err := stage.Client.Create(t.Context(), pod, client.DryRunAll)
		require.ErrorContains(t, err, `unknown annotation; did you mean "mtls.example.io/role"?`)
	})
	t.Run("helm test", func(t *testing.T) {
		out, err := stage.Helm.Run(t.Context(), "test", release.Name, "-n", release.Namespace, "--timeout", "1m")
		said, _ := os.ReadFile(stage.Tests.LogFile("mtls-injector-smoke-test"))
		require.NoError(t, err, "%s", said)
		assert.Regexp(t, `Phase: +Succeeded`, out)
		assert.Contains(t, string(said), "injected")
	})
	t.Run("the configuration changes without a restart", testReload)
	t.Run("a rollback brings the old configuration back", func(t *testing.T) {
		_, err := stage.Helm.Run(t.Context(), "rollback", release.Name, "1", "-n", release.Namespace, "--wait", "--timeout", "2m")
		require.NoError(t, err)
		awaitPreStop(t, ns, 10)
	})
	t.Run("uninstalled, nothing is left and nobody is kept from anything", func(t *testing.T) { testUninstall(t, ns) })
}

// testReload upgrades the release while pods are created.
func testReload(t *testing.T) {
	before := podNames(t)
	stop := creating(t)
	_, err := stage.Upgrade(t.Context(), "--reuse-values", "--set", "config.preStop.seconds=7")
	require.NoError(t, err)
	awaitPreStop(t, optedIn(t), 7)
	stop()
	assert.Equal(t, before, podNames(t), "the same pods serve")
}

// testUninstall uninstalls the release while a workload of its has a companion.
func testUninstall(t *testing.T, ns string) {
	t.Helper()
	uninstall(t)
	left := ofRelease(t)
	assert.Contains(t, left, "ClusterIssuer/mtls-ca", "pods that run go on needing it")
	for _, object := range left {
		assert.Contains(t, object, "/mtls-ca", "nothing but the CA and the bundle is left of what the release has labelled")
	}
	pod := create(t, server(ns))
	assert.False(t, isInjected(pod), "pods start as they are")
	_, err := stage.Helm.Run(t.Context(), "status", release.Name, "-n", release.Namespace)
	require.Error(t, err, "no release is left")

	// What was made for workloads stays until they go, and goes with them.
	key := client.ObjectKey{Namespace: ns, Name: "web-mtls"}
	var cert cmapi.Certificate
	require.NoError(t, stage.Client.Get(t.Context(), key, &cert))
	assert.Empty(t, cert.Finalizers)
	web := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "web"}}
	require.NoError(t, stage.Client.Delete(t.Context(), web, client.PropagationPolicy(metav1.DeletePropagationBackground)))
	require.NoError(t, stage.WaitFor(t.Context(), "the companion to go with its workload", func(ctx context.Context) error {
		err := stage.Client.Get(ctx, key, &cert)
		if err == nil {
			return errors.New("it is there")
		}
		return client.IgnoreNotFound(err)
	}))
}

// deploy makes a Deployment of one server with a Service.
func deploy(t *testing.T, namespace string) {
	t.Helper()
	_, err := stage.Apply(t.Context(), []byte(`
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 443}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      labels: {app: web}
      annotations: {mtls.example.io/role: server}
    spec: {containers: [{name: app, image: example.io/app}]}
`), namespace)
	require.NoError(t, err)
}

// awaitPreStop waits until pods come out with a hook of so many seconds, from every replica.
func awaitPreStop(t *testing.T, namespace string, seconds int64) {
	t.Helper()
	const inARow = 20
	right := 0
	require.NoError(t, stage.WaitFor(t.Context(), fmt.Sprintf("a preStop hook of %d s", seconds), func(ctx context.Context) error {
		pod := server(namespace)
		if err := stage.Client.Create(ctx, pod, client.DryRunAll); err != nil {
			return err
		}
		hook, _ := json.Marshal(pod.Spec.Containers[0].Lifecycle)
		if string(hook) != fmt.Sprintf(`{"preStop":{"sleep":{"seconds":%d}}}`, seconds) {
			right = 0
			return fmt.Errorf("it is %s", hook)
		}
		if right++; right < inARow {
			return fmt.Errorf("only %d times", right)
		}
		return nil
	}))
}

// podNames lists the pods that run the webhook.
func podNames(t *testing.T) []string {
	t.Helper()
	var pods corev1.PodList
	require.NoError(t, stage.Client.List(t.Context(), &pods, client.InNamespace(release.Namespace), client.MatchingLabels{"app.kubernetes.io/name": "mtls-injector"}))
	var names []string
	for i := range pods.Items {
		names = append(names, pods.Items[i].Name)
	}
	return names
}
