package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/demo/peer"
	"example.io/mtls-injector/e2e/node"
)

const trustDomainsFolder = "testdata/trustdomains"

// trustDomain is a namespace with a CA of its own, in which a server runs.
type trustDomain struct {
	name, namespace string
	ca              []byte
	server          *peer.Process
	client          *peer.Client
}

// newTrustDomain makes one. Its pods trust its own CA and no other.
func newTrustDomain(t *testing.T, n *node.Node, program, name string) *trustDomain {
	t.Helper()
	labels := map[string]string{cluster.EnabledLabel: "true", "trust-domain": name}
	annotations := prefixed(map[string]string{"issuer": name + "-ca", "issuer-kind": "Issuer"})
	ns, err := shared.CreateNamespace(t.Context(), "test-"+name+"-", labels, annotations)
	require.NoError(t, err)
	d := &trustDomain{name: name, namespace: ns.Name}
	d.apply(t, "authority.yaml")
	_, err = shared.WaitForCertificate(t.Context(), d.namespace, name+"-ca")
	require.NoError(t, err)
	require.NoError(t, shared.WaitForIssuer(t.Context(), d.namespace, name+"-ca"))
	var secret corev1.Secret
	require.NoError(t, shared.Client.Get(t.Context(), client.ObjectKey{Namespace: d.namespace, Name: name + "-ca"}, &secret))
	d.ca = secret.Data[corev1.TLSCertKey]
	giveBundle(t, d.namespace, d.ca)

	d.apply(t, "pods.yaml")
	d.server = serve(t, n, program, d.pod(t, n, "server"))
	d.client = mountClient(t, n, d.pod(t, n, "client"))
	return d
}

func (d *trustDomain) apply(t *testing.T, file string) {
	t.Helper()
	manifest, err := os.ReadFile(filepath.Join(trustDomainsFolder, file))
	require.NoError(t, err)
	_, err = shared.Apply(t.Context(), []byte(strings.ReplaceAll(string(manifest), "DOMAIN", d.name)), d.namespace)
	require.NoError(t, err)
}

// pod returns a pod whose volumes go with the test.
func (d *trustDomain) pod(t *testing.T, n *node.Node, name string) *corev1.Pod {
	t.Helper()
	var pod corev1.Pod
	require.NoError(t, shared.Client.Get(t.Context(), client.ObjectKey{Namespace: d.namespace, Name: name}, &pod))
	t.Cleanup(func() { require.NoError(t, n.Unmount(&pod)) })
	return &pod
}

// serve runs a process in the place of the pod's container until the test is over.
func serve(t *testing.T, n *node.Node, program string, pod *corev1.Pod) *peer.Process {
	t.Helper()
	container := pod.Spec.Containers[0].Name
	root, err := n.Mount(t.Context(), pod, container)
	require.NoError(t, err)
	env, err := n.Env(t.Context(), pod, container)
	require.NoError(t, err)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	server, err := peer.Start(t.Context(), program, root, env, nil, log)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, server.Stop())
		require.NoError(t, log.Close())
	})
	return server
}

// trusting returns the domain's client with other CA certificates to trust.
func (d *trustDomain) trusting(t *testing.T, certs ...[]byte) *peer.Client {
	t.Helper()
	c := *d.client
	c.CA = "/trusted.crt"
	var all []byte
	for _, cert := range certs {
		all = append(all, cert...)
	}
	require.NoError(t, os.WriteFile(node.Path(c.Root, c.CA), all, 0o600))
	return &c
}

// TestTrustDomains: two namespaces have CAs of their own. Who is of one is a stranger to
// the other, on both sides of a connection.
func TestTrustDomains(t *testing.T) {
	runWebhook(t, shared, cluster.WebhookOptions{Config: trustDomainsFolder + "/injector.yaml"})
	n, program := newNode(t), buildPeer(t)
	north, south := newTrustDomain(t, n, program, "north"), newTrustDomain(t, n, program, "south")
	for _, pair := range [][2]*trustDomain{{north, south}, {south, north}} {
		own, other := pair[0], pair[1]
		t.Run(own.name+" among itself", func(t *testing.T) {
			met := callAt(own.client, "web."+own.namespace, own.server.Address())
			require.Empty(t, met.Error)
			assert.Equal(t, own.name+" CA", met.Server.Issuer)
			assert.Equal(t, own.name+" CA", met.Reply.Caller.Issuer)
			assert.Equal(t, "spiffe://cluster.local/ns/"+own.namespace+"/sa/default", met.Reply.Caller.SPIFFEID)
		})
		t.Run("a client of "+own.name+" trusts no server of "+other.name, func(t *testing.T) {
			met := callAt(own.client, "web."+other.namespace, other.server.Address())
			assert.Contains(t, met.Error, "x509: certificate signed by unknown authority")
			assert.Nil(t, met.Reply)
		})
		t.Run("a server of "+other.name+" refuses a client of "+own.name, func(t *testing.T) {
			// The client knows both CAs, so it is for the server to refuse.
			both := own.trusting(t, own.ca, other.ca)
			met := callAt(both, "web."+other.namespace, other.server.Address())
			assert.Contains(t, met.Error, "remote error: tls: unknown certificate authority")
			assert.Nil(t, met.Reply)
			require.Empty(t, callAt(both, "web."+own.namespace, own.server.Address()).Error)
		})
		t.Run("a pod of "+own.name+" may not ask for the CA of "+other.name, func(t *testing.T) {
			pod := podWith(own.namespace, map[string]string{"role": "client", "issuer": other.name + "-ca"})
			err := shared.Client.Create(t.Context(), pod, client.DryRunAll)
			require.ErrorContains(t, err, "issuer Issuer/"+other.name+"-ca is not allowed in namespace")
		})
	}
}
