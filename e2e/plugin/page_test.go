package plugin

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/page"
)

// TestStatusPage runs the commands of docs/how-to/status.md.
func TestStatusPage(t *testing.T) {
	_, err := stage.CreateNamespace(t.Context(), "shop", map[string]string{cluster.EnabledLabel: "true"}, nil)
	require.NoError(t, err)
	require.NoError(t, apply(t.Context(), "testdata/workload.yaml", "shop"))
	awaitOrders(t, "shop")
	scripts, err := page.Scripts(filepath.Join(filepath.Dir(filepath.Dir(stage.Chart)), "docs/how-to/status.md"))
	require.NoError(t, err)
	shell := admin(t)
	wants := map[string]string{
		"completion": "(?m)^yaml$",
		"pre":        `(?m)^ok +you may install the chart$`,
		"check":      `(?m)^ok +a pod comes out injected \(a dry run\)$`,
		"only":       `what: ClusterIssuer/mtls-ca`,
		"status":     `(?m)^Deployment/orders +server +2/2 +0 +ready `,
		"pipeline":   `(?m)^Deployment/orders +server +2/2 +0 +ready `,
		"config":     `(?m)^Deployment/orders +server +2/2 +0 +ready `,
		"graph":      `server +shop/Deployment/orders +as orders \+3`,
	}
	assert.Len(t, scripts, len(wants))
	for _, name := range []string{"completion", "pre", "check", "only", "status", "pipeline", "config", "graph"} {
		require.Contains(t, scripts, name)
		out, err := shell.Run(t.Context(), scripts[name])
		require.NoError(t, err, name)
		assert.Regexp(t, wants[name], out, name)
	}
}

// TestPluginPage builds the plugin as docs/how-to/plugin.md says. It keeps Go's caches, which
// the shell's own home does not have.
func TestPluginPage(t *testing.T) {
	root := filepath.Dir(filepath.Dir(stage.Chart))
	for _, variable := range []string{"GOCACHE", "GOMODCACHE"} {
		folder, err := exec.CommandContext(t.Context(), "go", "env", variable).Output()
		require.NoError(t, err)
		t.Setenv(variable, strings.TrimSpace(string(folder)))
	}
	steps, err := page.Steps(filepath.Join(root, "docs/how-to/plugin.md"))
	require.NoError(t, err)
	shell, err := page.NewShell(root, t.TempDir(), stage.Kubeconfig, map[string]string{"kubectl": stage.Kubectl})
	require.NoError(t, err)
	out, err := shell.Run(t.Context(), steps[0].Script)
	require.NoError(t, err)
	assert.Empty(t, steps[0].Missing(out), out)
}
