package plugin

import (
	"path/filepath"
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
