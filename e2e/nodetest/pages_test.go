//go:build node

package nodetest

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/debimage"
	"example.io/mtls-injector/e2e/internal/binaries"
	"example.io/mtls-injector/e2e/page"
)

// publicImages are those that the pages use, and what stands in for them here: the same
// programs, as Debian packs them.
func publicImages() map[string]*debimage.Spec {
	return map[string]*debimage.Spec{
		"docker.io/nginxinc/nginx-unprivileged:1.28": debimage.Nginx(),
		"docker.io/curlimages/curl:8.11.1":           debimage.Curl(),
		"docker.io/library/postgres:17-alpine":       debimage.Postgres(),
		"docker.io/library/node:22-alpine":           debimage.Node(),
	}
}

// The servers that some pages take for granted.
const (
	makeShop = `kubectl create namespace shop
kubectl label namespace shop mtls-enabled=true
kubectl -n shop apply -f examples/tutorial/server.yaml
sed s/orders/cart/g examples/tutorial/server.yaml | kubectl -n shop apply -f -
kubectl -n shop rollout status deployment/orders deployment/cart --timeout=2m
printf '{apiVersion: v1, kind: Pod, metadata: {name: one}, spec: {containers: [{name: main, image: example.io/one}]}}' >pod.yaml
kubectl -n shop run refused --image=example.io/one --annotations=mtls.example.io/rol=server || true`
	removeShop = `kubectl delete namespace shop --timeout=2m`
)

// TestPages does what the tutorial and other pages say, command by command and nothing else,
// and wants what they show to be printed. It is not parallel, for one of the pages changes the
// configuration.
func TestPages(t *testing.T) {
	n := theNode(t)
	for reference, spec := range publicImages() {
		images, err := debimage.Pack(t.Context(), clustertest.Stderr, spec)
		require.NoError(t, err)
		require.NoError(t, n.Import(t.Context(), images[0].Archive))
		require.NoError(t, n.Tag(t.Context(), spec.Reference(), reference))
	}
	t.Cleanup(func() { require.NoError(t, n.InstallChart(context.WithoutCancel(t.Context()), chartArgs()...)) })
	product, err := binaries.EnsureProduct(t.Context(), clustertest.Stderr)
	require.NoError(t, err)
	for _, file := range []string{
		"docs/tutorial.md", "docs/how-to/nginx.md", "docs/how-to/node-and-java.md", "docs/how-to/jobs.md",
		"docs/how-to/statefulsets.md", "docs/how-to/postgresql.md",
	} {
		t.Run(filepath.Base(file), func(t *testing.T) { runSteps(t, newShell(t, product.Plugin), file) })
	}
	t.Run("shop", func(t *testing.T) {
		shell := newShell(t, product.Plugin)
		_, err := shell.Run(t.Context(), makeShop)
		require.NoError(t, err)
		t.Cleanup(func() {
			_, err := shell.Run(context.WithoutCancel(t.Context()), removeShop)
			require.NoError(t, err)
		})
		for file, only := range map[string][]string{
			"docs/agent.md": nil, "docs/how-to/verify.md": nil, "docs/troubleshooting.md": nil, "docs/operations.md": {"openshift", "refused"},
		} {
			t.Run(filepath.Base(file), func(t *testing.T) { runSteps(t, shell, file, only...) })
		}
	})
}

// newShell returns a shell that has the plugin, in a folder that has of a checkout what pages use.
func newShell(t *testing.T, plugin string) *page.Shell {
	t.Helper()
	dir := t.TempDir()
	for _, folder := range []string{"charts", "examples"} {
		require.NoError(t, os.Symlink(filepath.Join(checkout(t), folder), filepath.Join(dir, folder)))
	}
	shell, err := page.NewShell(dir, t.TempDir(), theNode(t).Kubeconfig, map[string]string{
		"kubectl": theNode(t).Kubectl, "helm": theNode(t).Helm.Path, "kubectl-mtls": plugin,
	})
	require.NoError(t, err)
	return shell
}

func checkout(t *testing.T) string {
	t.Helper()
	return filepath.Dir(filepath.Dir(theNode(t).Chart))
}

// runSteps runs the named blocks of a page in their order, or only some.
func runSteps(t *testing.T, shell *page.Shell, file string, only ...string) {
	t.Helper()
	steps, err := page.Steps(filepath.Join(checkout(t), file))
	require.NoError(t, err)
	ran := 0
	for _, step := range steps {
		if len(only) > 0 && !slices.Contains(only, step.Name) {
			continue
		}
		ran++
		out, err := shell.Run(t.Context(), step.Script)
		require.NoError(t, err, step.Name)
		assert.Empty(t, step.Missing(out), "%s printed\n%s", step.Name, out)
	}
	require.Positive(t, ran)
}
