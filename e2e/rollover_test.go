package e2e

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"example.io/mtls-injector/e2e/demo/peer"
	"example.io/mtls-injector/e2e/node"
)

// TestCARollover follows docs/trust.md, command by command, while clients call servers all the
// time: no handshake fails, in the end nothing is of the old root, and what is of it is refused.
func TestCARollover(t *testing.T) {
	r := newRollover(t)
	r.sync()
	assert.Equal(t, []string{"caller mtls-ca-a", "ledger mtls-ca-a", "orders mtls-ca-a"}, r.meet())
	stranger := newStranger(r)
	all := []*tally{r.phase()}
	next := func() { all = append(all, r.phase()) }

	r.trust.run("add")
	stranger.trustBoth()
	r.awaitTrust("mtls-ca-a", "mtls-ca-b")
	r.trust.run("arrive")
	next()
	r.trust.run("switch")
	r.trust.run("companions")
	r.trust.run("pods")
	next()
	assert.Equal(t, []string{"caller mtls-ca-b", "ledger mtls-ca-b", "orders mtls-ca-b"}, r.meet(), "nothing in use is of the old root")
	r.checkSigned("mtls-ca-b")
	stranger.checkMet()
	next()
	r.trust.run("drop")
	r.awaitTrust("mtls-ca-b")
	r.trust.run("remove")
	assert.Equal(t, []string{"caller mtls-ca-b", "ledger mtls-ca-b", "orders mtls-ca-b"}, r.meet())
	stranger.checkRefused()

	total := 0
	for _, phase := range all {
		handshakes, _, failures := phase.result()
		assert.Empty(t, failures)
		total += handshakes
	}
	t.Logf("%d handshakes", total)
	run := []string{"before", "add", "arrive", "switch", "companions", "pods", "drop", "remove", "uninstall"}
	assert.ElementsMatch(t, run, slices.Collect(maps.Keys(r.trust.scripts)), "the commands of the page, and those that are run")
}

// TestCARolloverInHaste: the new root signs before the bundle is in the pods, and handshakes
// fail. They do no more when it has arrived.
func TestCARolloverInHaste(t *testing.T) {
	r := newRollover(t) // whose kubelet has not got to it yet
	r.meet()
	r.trust.run("add")
	r.trust.run("switch")
	hasty := r.phase()
	r.trust.sh("kubectl -n " + r.namespace + " rollout restart deployment/caller")
	require.NoError(t, r.WaitFor(t.Context(), "servers to refuse a client", func(context.Context) error {
		_, _, failures := hasty.result()
		if !slices.ContainsFunc(failures, func(f string) bool { return strings.Contains(f, "tls: unknown certificate authority") }) {
			return errors.New("they do not")
		}
		return nil
	}))
	// kubectl restarts a workload once a second at most, and the page's commands do it next.
	r.trust.sh("kubectl -n " + r.namespace + " rollout status deployment/caller --timeout=1m; sleep 1")
	require.NoError(t, r.node.Sync(t.Context()))
	r.trust.run("arrive")
	healed := r.phase()
	r.meet()
	_, _, failures := healed.result()
	assert.Empty(t, failures)
}

// checkSigned checks the key pair in each pod.
func (r *rollover) checkSigned(ca string) {
	r.Helper()
	roots, err := r.living(r.Context())
	require.NoError(r, err)
	assert.Len(r, roots, 6)
	for pod, root := range roots {
		dir := node.Path(root, "/etc/tls/server")
		if strings.HasPrefix(pod, "caller-") {
			dir = node.Path(root, "/etc/tls/client")
		}
		leaf, err := loadCertificate(dir)
		require.NoError(r, err)
		assert.Equal(r, ca, leaf.Issuer.CommonName, pod)
	}
}

// stranger has the key pairs of a client and a server that the old root has signed, and trusts
// everybody.
type stranger struct {
	*rollover
	client *peer.Client
	root   string
}

func newStranger(r *rollover) *stranger {
	r.Helper()
	s := &stranger{rollover: r, root: r.TempDir()}
	r.stolen("caller", "/etc/tls/client", s.root)
	r.stolen("orders", "/etc/tls/server", s.root)
	s.client = &peer.Client{Files: peer.Files{
		Root: s.root, Cert: "/etc/tls/client/tls.crt", Key: "/etc/tls/client/tls.key", CA: "/trusted.crt",
	}}
	return s
}

// trustBoth writes what the stranger trusts.
func (s *stranger) trustBoth() {
	s.Helper()
	var trusted []byte
	for _, name := range []string{"mtls-ca-a", "mtls-ca-b"} {
		trusted = append(trusted, s.trust.root(name).Data[corev1.TLSCertKey]...)
	}
	require.NoError(s, os.WriteFile(node.Path(s.root, s.client.CA), trusted, 0o600))
}

// calls returns what comes of calling every pod that serves.
func (s *stranger) calls() []string {
	var outcomes []string
	for _, app := range []string{"orders", "ledger"} {
		for _, endpoint := range s.kubelet.Endpoints(labels.Set{"app": app}) {
			outcomes = append(outcomes, callAt(s.client, app+"."+s.namespace, endpoint.Address).Error)
		}
	}
	return outcomes
}

// checkMet checks that the stranger is no stranger as long as the old root is trusted.
func (s *stranger) checkMet() {
	s.Helper()
	assert.Equal(s, make([]string, 4), s.calls())
}

// checkRefused checks that all servers refuse the client, and all clients the server.
func (s *stranger) checkRefused() {
	s.Helper()
	outcomes := s.calls()
	assert.Len(s, outcomes, 4)
	for _, outcome := range outcomes {
		assert.Contains(s, outcome, "remote error: tls: unknown certificate authority")
	}
	env := []string{
		"MTLS_SERVER_CERT=/etc/tls/server/tls.crt", "MTLS_SERVER_KEY=/etc/tls/server/tls.key", "MTLS_CA_CERT=" + s.client.CA,
	}
	server, err := peer.Start(s.Context(), s.program, s.root, env, nil, s.Output())
	require.NoError(s, err)
	defer func() { require.NoError(s, server.Stop()) }()
	clients := s.clients()
	assert.Len(s, clients, 2)
	for _, caller := range clients {
		met := callAt(caller, "orders."+s.namespace, server.Address())
		assert.Contains(s, met.Error, "x509: certificate signed by unknown authority")
	}
}
