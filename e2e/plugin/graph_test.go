package plugin

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/cmd/kubectl-mtls/graph"
	"example.io/mtls-injector/e2e/page"
)

// awaitGraph asks for the graph of a namespace until it is as wanted.
func awaitGraph(t *testing.T, shell *page.Shell, namespace string, want func(*graph.Graph) error) {
	t.Helper()
	require.NoError(t, stage.WaitFor(t.Context(), "the graph", func(ctx context.Context) error {
		out, err := shell.Run(ctx, "kubectl mtls graph -o json -n "+namespace)
		if err != nil {
			return err
		}
		var g graph.Graph
		if err := json.Unmarshal([]byte(out), &g); err != nil {
			return err
		}
		return want(&g)
	}))
}

func hasLink(g *graph.Graph, from, to string, verdict graph.Verdict) error {
	for _, l := range g.Links {
		if l.From == from && l.To == to {
			if l.Verdict == verdict {
				return nil
			}
			return fmt.Errorf("%+v", l)
		}
	}
	return fmt.Errorf("there is no link from %s to %s: %+v", from, to, g.Links)
}

// With the rights of a user of the namespace: its own CA, which nobody else trusts, beside the
// cluster's.
func TestGraph(t *testing.T) {
	ns := newNamespace(t, nil, "testdata/workload.yaml", "testdata/kinds.yaml")
	awaitOrders(t, ns)
	shell := user(t, "jane", ns)
	awaitGraph(t, shell, ns, func(g *graph.Graph) error {
		if len(g.Domains) != 1 || g.Domains[0].CA != "CN=mtls-ca-a" || fmt.Sprint(g.Domains[0].Trusts) != "[CN=mtls-ca-a]" {
			return fmt.Errorf("domains %+v", g.Domains)
		}
		for _, n := range g.Domains[0].Workloads {
			if len(n.Blocked) > 0 {
				return fmt.Errorf("%s: %v", n, n.Blocked)
			}
		}
		return hasLink(g, "d1", "d1", graph.Yes)
	})

	// The cluster's issuer signs for the other workload as well, if it names another bundle.
	_, err := admin(t).Run(t.Context(), "kubectl -n cert-manager get secret partner-ca -o 'jsonpath={.data.tls\\.crt}' | base64 -d > ca.crt && "+
		"kubectl -n "+ns+" create configmap partner --from-file=ca.crt && kubectl -n "+ns+" create deployment lonely --image=example.io/app && kubectl -n "+ns+
		` patch deployment lonely -p '{"spec":{"template":{"metadata":{"annotations":{"mtls.example.io/role":"both","mtls.example.io/ca-bundle":"partner"}}}}}'`)
	require.NoError(t, err)
	awaitGraph(t, shell, ns, func(g *graph.Graph) error {
		if len(g.Domains) != 2 {
			return fmt.Errorf("%d domains", len(g.Domains))
		}
		return errors.Join(hasLink(g, "d1", "d1", graph.Yes), hasLink(g, "d1", "d2", graph.No), hasLink(g, "d2", "d1", graph.No), hasLink(g, "d2", "d2", graph.No))
	})
	out, err := shell.Run(t.Context(), "kubectl mtls graph -n "+ns)
	require.NoError(t, err)
	assert.Contains(t, out, "different CA: the clients' bundle ConfigMap/partner has not CN=mtls-ca-a of ClusterIssuer/mtls-ca")
	for _, output := range []string{"mermaid", "dot", "svg"} {
		out, err := shell.Run(t.Context(), "kubectl mtls graph 2>/dev/null -o "+output+" -n "+ns)
		require.NoError(t, err)
		assert.Contains(t, out, "different CA")
		if output == "svg" {
			decoder := xml.NewDecoder(strings.NewReader(out))
			for err = nil; err == nil; _, err = decoder.Token() {
			}
			require.ErrorIs(t, err, io.EOF)
		}
	}
}
