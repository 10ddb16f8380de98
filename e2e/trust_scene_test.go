package e2e

// What the tests of the chart's CA and bundle share: a cluster with the real trust-manager, and
// Helm, which installs them.

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/internal/binaries"
	"example.io/mtls-injector/e2e/page"
)

const (
	trustNamespace = "cert-manager"
	bundleName     = "mtls-ca-bundle"
)

var trustingCluster = sync.OnceValues(func() (*cluster.Cluster, error) {
	ctx := context.Background()
	c, err := cluster.Start(ctx, cluster.Options{Progress: clustertest.Stderr})
	if err != nil {
		return nil, err
	}
	c.StopWith(shared)
	return c, c.RunTrustManager(ctx)
})

// trusting is a release of the chart's CA and bundle, and a shell in which the commands of
// docs/trust.md work.
type trusting struct {
	*testing.T
	*cluster.Cluster
	scripts map[string]string // of docs/trust.md, by name
	dir     string
	shell   *page.Shell
}

// newTrusting installs the chart's CA and bundle on the cluster that all such tests share.
// With the test they go, and so do their keys.
func newTrusting(t *testing.T) *trusting {
	t.Helper()
	c, err := trustingCluster()
	require.NoError(t, err)
	helm, err := binaries.EnsureHelm(t.Context(), clustertest.Stderr)
	require.NoError(t, err)
	scripts, err := page.Scripts("../docs/trust.md")
	require.NoError(t, err)
	r := &trusting{T: t, Cluster: c, scripts: scripts, dir: t.TempDir()}
	r.shell, err = page.NewShell(r.dir, r.dir, c.Kubeconfig, map[string]string{"helm": helm, "kubectl": c.Kubectl})
	require.NoError(t, err)
	r.copyChart()
	r.install()
	t.Cleanup(r.remove)
	require.NoError(t, c.WaitForIssuer(t.Context(), "", "mtls-ca"))
	return r
}

// install installs the chart, and returns when the bundle is everywhere.
func (r *trusting) install() {
	r.Helper()
	r.sh("helm install mtls-injector charts/mtls-injector -n mtls-injector --set trust.ca.create=true,trust.bundle.create=true")
	r.sh("kubectl wait --for=condition=Synced bundle/" + bundleName + " --timeout=2m")
}

// copyChart takes of the chart what is about trust. The webhook has tests of its own, and runs
// on this machine here.
func (r *trusting) copyChart() {
	r.Helper()
	const chart = "charts/mtls-injector"
	for _, file := range []string{"Chart.yaml", "values.yaml", "values.schema.json", "templates/_helpers.tpl"} {
		data, err := os.ReadFile(filepath.Join("..", chart, file))
		require.NoError(r, err)
		target := filepath.Join(r.dir, chart, file)
		require.NoError(r, os.MkdirAll(filepath.Dir(target), 0o750))
		require.NoError(r, os.WriteFile(target, data, 0o600))
	}
	from := os.DirFS(filepath.Join("..", chart, "templates/trust"))
	require.NoError(r, os.CopyFS(filepath.Join(r.dir, chart, "templates/trust"), from))
}

// run runs what the page calls by that name, in a shell that has seen its beginning.
func (r *trusting) run(name string) {
	r.Helper()
	require.Contains(r, r.scripts, name)
	r.sh(r.scripts["before"] + "\n" + r.scripts[name])
}

// sh runs shell commands. The first that fails is the last.
func (r *trusting) sh(script string) {
	r.Helper()
	_, err := r.shell.Run(r.Context(), script)
	require.NoError(r, err)
}

// remove leaves nothing for the next test.
func (r *trusting) remove() {
	r.sh("helm uninstall mtls-injector -n mtls-injector --ignore-not-found")
	r.run("uninstall")
	for _, name := range []string{"mtls-ca-a", "mtls-ca-b"} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: trustNamespace, Name: name}}
		require.NoError(r, client.IgnoreNotFound(r.Client.Delete(context.Background(), secret)))
	}
}

// root returns the Secret of a root, when it is there.
func (r *trusting) root(name string) *corev1.Secret {
	r.Helper()
	var secret corev1.Secret
	require.NoError(r, r.WaitFor(r.Context(), "the root "+name, func(ctx context.Context) error {
		if err := r.Client.Get(ctx, client.ObjectKey{Namespace: trustNamespace, Name: name}, &secret); err != nil {
			return err
		}
		if len(secret.Data[corev1.TLSCertKey]) == 0 {
			return errors.New("it is not signed yet")
		}
		return nil
	}))
	return &secret
}
