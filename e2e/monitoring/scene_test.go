package monitoring

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/internal/binaries"
	"example.io/mtls-injector/intent"
)

const sceneFolder = "testdata/scene"

// The namespaces of the scene.
const (
	shop   = "shop"   // opted in
	needed = "needed" // its webhook does not answer, and must
	spared = "spared" // its webhook does not answer, and need not
)

// scene is a cluster with the injector in which everything happens that metrics tell of, and a
// Prometheus that looks on.
type scene struct {
	*cluster.Cluster
	prometheus *server
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{Cluster: clustertest.New(t, cluster.Options{Progress: clustertest.Stderr})}
	for name, labels := range map[string]map[string]string{shop: nil, needed: {"unreachable": needed}, spared: {"unreachable": spared}} {
		_, err := s.CreateNamespace(t.Context(), name, labels, nil)
		require.NoError(t, err)
	}
	for _, file := range []string{"issuers.yaml", "unreachable.yaml"} {
		clustertest.Apply(t, s.Cluster, filepath.Join(sceneFolder, file), shop)
	}
	// Older than the namespace's opting in.
	early := pod(shop, "client")
	early.Name = "early"
	require.NoError(t, s.Client.Create(t.Context(), early))
	s.optIn(t)

	product, err := binaries.EnsureProduct(t.Context(), clustertest.Stderr)
	require.NoError(t, err)
	webhook, err := s.RunWebhook(t.Context(), cluster.WebhookOptions{
		// As the chart names them: pods.mtls.example.io and so on.
		Name: "mtls", Binary: product.Injector, Config: filepath.Join(sceneFolder, "injector.yaml"),
	})
	require.NoError(t, err)
	s.prometheus = s.watch(t, product.Injector, webhook)
	// What happens from here on, Prometheus sees happen.
	s.await(t, "all targets to be scraped", func(ctx context.Context) error {
		up, err := s.prometheus.query(ctx, "sum(up)")
		if err != nil {
			return err
		}
		if len(up) != 1 || up[0].Value != 4 {
			return fmt.Errorf("they are %v", up)
		}
		return nil
	})
	s.await(t, "the webhook to be called", func(ctx context.Context) error {
		p := pod(shop, "client")
		if err := s.Client.Create(ctx, p, client.DryRunAll); err != nil {
			return err
		}
		if p.Labels[intent.LabelInjected] != "true" {
			return errors.New("it is not")
		}
		return nil
	})
	clustertest.Apply(t, s.Cluster, filepath.Join(sceneFolder, "workloads.yaml"), shop)
	return s
}

func (s *scene) optIn(t *testing.T) {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: shop}}
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"`+cluster.EnabledLabel+`":"true"}}}`))
	require.NoError(t, s.Client.Patch(t.Context(), ns, patch))
}

// watch starts a Prometheus that scrapes the webhook, an agent, cert-manager and the API server.
func (s *scene) watch(t *testing.T, injector string, webhook *cluster.Webhook) *server {
	t.Helper()
	rules, err := filepath.Abs(alertsFile)
	require.NoError(t, err)
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		return path
	}
	tls := s.Config.TLSClientConfig
	cert, key := write("tls.crt", tls.CertData), write("tls.key", tls.KeyData)
	return runPrometheus(t, map[string]string{
		"Rules":       rules,
		"Injector":    strings.TrimPrefix(webhook.MetricsURL, "http://"),
		"CertManager": strings.TrimPrefix(s.CertManagerMetricsURL, "http://"),
		"APIServer":   strings.Trim(strings.TrimPrefix(s.Config.Host, "https:"), "/"),
		"CA":          write("ca.crt", tls.CAData),
		"Cert":        cert,
		"Key":         key,
		"Agent":       runAgent(t, injector, cert, key),
	})
}

// runAgent runs an agent for the time of the test, and returns where its metrics are.
func runAgent(t *testing.T, injector, cert, key string) (address string) {
	t.Helper()
	controlPlane, err := binaries.EnsureControlPlane(t.Context(), clustertest.Stderr)
	require.NoError(t, err)
	address = freeAddress(t)
	cmd := exec.Command(controlPlane.Tether, "exec", injector, "agent", "run", "--cert-file="+cert, "--key-file="+key,
		"--usages=client auth", "--metrics-address="+address, "--termination-log=")
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		require.NoError(t, cmd.Wait())
	})
	return address
}

// await waits for something that needs traffic: pods that are injected, refused, and made where
// the webhook does not answer.
func (s *scene) await(t *testing.T, what string, check func(context.Context) error) {
	t.Helper()
	require.NoError(t, s.WaitFor(t.Context(), what, func(ctx context.Context) error {
		if err := check(ctx); err != nil {
			return errors.Join(err, s.traffic(ctx))
		}
		return nil
	}))
}

func (s *scene) traffic(ctx context.Context) error {
	for _, p := range []*corev1.Pod{pod(shop, "client"), pod(spared, "client")} {
		if err := s.Client.Create(ctx, p, client.DryRunAll); err != nil {
			return fmt.Errorf("a pod in %s: %w", p.Namespace, err)
		}
	}
	for _, p := range []*corev1.Pod{pod(shop, "sevrer"), pod(needed, "client")} {
		// Until the API server knows of the webhook the pod is taken, which is no fault.
		_ = s.Client.Create(ctx, p, client.DryRunAll)
	}
	return nil
}

func pod(namespace, role string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "app", Namespace: namespace, Annotations: map[string]string{intent.Prefix + "role": role}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "example.io/app"}}},
	}
}
