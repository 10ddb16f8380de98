package e2e

// What the tests of the chart's CA and bundle share: a cluster with the real trust-manager, and
// Helm, which installs them.

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/internal/binaries"
)

const (
	trustNamespace = "cert-manager"
	bundleName     = "mtls-ca-bundle"
	// scriptTimeout bounds a command line of docs/trust.md.
	scriptTimeout = 3 * time.Minute
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
	env     []string
}

// newTrusting installs the chart's CA and bundle on the cluster that all such tests share.
// With the test they go, and so do their keys.
func newTrusting(t *testing.T) *trusting {
	t.Helper()
	c, err := trustingCluster()
	require.NoError(t, err)
	helm, err := binaries.EnsureHelm(t.Context(), clustertest.Stderr)
	require.NoError(t, err)
	r := &trusting{T: t, Cluster: c, scripts: trustScripts(t), dir: t.TempDir()}
	bin := filepath.Join(r.dir, "bin")
	require.NoError(t, os.Mkdir(bin, 0o750))
	require.NoError(t, os.Symlink(helm, filepath.Join(bin, "helm")))
	require.NoError(t, os.Symlink(c.Kubectl, filepath.Join(bin, "kubectl")))
	r.env = append(os.Environ(), "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"), "KUBECONFIG="+c.Kubeconfig,
		"HOME="+r.dir, "XDG_CACHE_HOME="+r.dir, "XDG_CONFIG_HOME="+r.dir, "XDG_DATA_HOME="+r.dir)
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

// trustScripts reads the shell commands of docs/trust.md.
func trustScripts(t *testing.T) map[string]string {
	t.Helper()
	page, err := fs.ReadFile(os.DirFS("../docs"), "trust.md")
	require.NoError(t, err)
	scripts := map[string]string{}
	for _, match := range regexp.MustCompile("(?s)<!-- sh: ([a-z]+) -->\n```sh\n(.*?)\n```\n").FindAllSubmatch(page, -1) {
		scripts[string(match[1])] = string(match[2])
	}
	require.NotEmpty(t, scripts)
	return scripts
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
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), scriptTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir, cmd.Env = r.dir, r.env
	out, err := cmd.CombinedOutput()
	require.NoError(r, err, "%s\n%s", script, out)
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
