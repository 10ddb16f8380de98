//go:build node

package nodetest

import (
	"context"
	"os"
	"path/filepath"
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

// TestPages does what the tutorial and the how-to pages say, command by command and nothing
// else, and wants what they show to be printed. It is not parallel, for one of the pages changes
// the configuration.
func TestPages(t *testing.T) {
	n := theNode(t)
	for reference, spec := range publicImages() {
		images, err := debimage.Pack(t.Context(), clustertest.Stderr, spec)
		require.NoError(t, err)
		require.NoError(t, n.Import(t.Context(), images[0].Archive))
		require.NoError(t, n.Tag(t.Context(), spec.Reference(), reference))
	}
	product, err := binaries.EnsureProduct(t.Context(), clustertest.Stderr)
	require.NoError(t, err)
	programs := map[string]string{"kubectl": n.Kubectl, "helm": n.Helm.Path, "kubectl-mtls": product.Plugin}
	root := filepath.Dir(filepath.Dir(n.Chart))
	t.Cleanup(func() { require.NoError(t, n.InstallChart(context.WithoutCancel(t.Context()), chartArgs()...)) })

	for _, file := range []string{
		"docs/tutorial.md", "docs/how-to/nginx.md", "docs/how-to/node-and-java.md", "docs/how-to/jobs.md",
		"docs/how-to/statefulsets.md", "docs/how-to/postgresql.md",
	} {
		t.Run(filepath.Base(file), func(t *testing.T) {
			steps, err := page.Steps(filepath.Join(root, file))
			require.NoError(t, err)
			shell, err := page.NewShell(root, t.TempDir(), n.Kubeconfig, programs)
			require.NoError(t, err)
			for _, step := range steps {
				out, err := shell.Run(t.Context(), step.Script)
				require.NoError(t, err, step.Name)
				assert.Empty(t, step.Missing(out), "%s printed\n%s", step.Name, out)
				if os.Getenv("E2E_VERBOSE") != "" {
					t.Logf("%s:\n%s", step.Name, out)
				}
			}
		})
	}
}
