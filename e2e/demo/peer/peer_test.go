package peer_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"flag"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/e2e/demo/authority"
	"example.io/mtls-injector/e2e/demo/peer"
)

const service = "orders.shop.svc.cluster.local"

// container is a folder with the files of a container, and its variables.
type container struct {
	root string
	env  map[string]string
}

func newCA(t *testing.T, name string) *authority.Authority {
	t.Helper()
	ca, err := authority.New(name)
	require.NoError(t, err)
	return ca
}

// newContainer makes the files of a pod of the role "both" whose certificate has the
// service account's SPIFFE ID and the names.
func newContainer(t *testing.T, ca *authority.Authority, account string, usages []x509.ExtKeyUsage, names ...string) *container {
	t.Helper()
	c := &container{root: t.TempDir(), env: map[string]string{
		"MTLS_CA_CERT":     "/etc/tls/ca/ca.crt",
		"MTLS_SERVER_CERT": "/etc/tls/server/tls.crt", "MTLS_SERVER_KEY": "/etc/tls/server/tls.key",
		"MTLS_CLIENT_CERT": "/etc/tls/client/tls.crt", "MTLS_CLIENT_KEY": "/etc/tls/client/tls.key",
	}}
	c.issue(t, ca, account, usages, names...)
	return c
}

func (c *container) issue(t *testing.T, ca *authority.Authority, account string, usages []x509.ExtKeyUsage, names ...string) {
	t.Helper()
	id := &url.URL{Scheme: "spiffe", Host: "cluster.local", Path: "/ns/shop/sa/" + account}
	pair, err := ca.Issue(&x509.Certificate{URIs: []*url.URL{id}, DNSNames: names, ExtKeyUsage: usages})
	require.NoError(t, err)
	c.write(t, "MTLS_CA_CERT", ca.CA.Cert)
	for _, side := range []string{"SERVER", "CLIENT"} {
		c.write(t, "MTLS_"+side+"_CERT", pair.Cert)
		c.write(t, "MTLS_"+side+"_KEY", pair.Key)
	}
}

func (c *container) write(t *testing.T, variable string, data []byte) {
	t.Helper()
	path := filepath.Join(c.root, c.env[variable])
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

func (c *container) getenv(name string) string { return c.env[name] }

// serve starts a server and returns its address.
func (c *container) serve(t *testing.T, args ...string) string {
	t.Helper()
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	server := peer.RegisterServe(flags, c.getenv)
	require.NoError(t, flags.Parse(append([]string{"--root", c.root, "--listen=127.0.0.1:0"}, args...)))
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, in, io.Discard) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	require.NoError(t, err)
	var started peer.Started
	require.NoError(t, json.Unmarshal(line, &started))
	return started.Address
}

// call calls the URL as the container would.
func (c *container) call(t *testing.T, args ...string) peer.Outcome {
	t.Helper()
	flags := flag.NewFlagSet("call", flag.ContinueOnError)
	client := peer.RegisterCall(flags, c.getenv)
	require.NoError(t, flags.Parse(append([]string{"--root", c.root}, args...)))
	require.Equal(t, 1, flags.NArg())
	client.URL = flags.Arg(0)
	return client.Call(t.Context())
}

func both() []x509.ExtKeyUsage {
	return []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
}

func connectTo(host, address string) string { return "--connect-to=" + host + ":8443:" + address }

func TestPeersTellWhomTheyMet(t *testing.T) {
	ca := newCA(t, "Our CA")
	server := newContainer(t, ca, "orders", both(), "orders", service)
	client := newContainer(t, ca, "reports", both())
	got := client.call(t, connectTo(service, server.serve(t)), "https://"+service+":8443/")
	require.Empty(t, got.Error)
	for _, id := range []*peer.Identity{&got.Server, &got.Reply.Caller} {
		assert.NotEmpty(t, id.Serial)
		assert.Greater(t, time.Until(id.NotAfter), 23*time.Hour)
		id.Serial, id.NotAfter = "", time.Time{} // no two are the same
	}
	assert.Equal(t, peer.Outcome{
		URL:    "https://" + service + ":8443/",
		Server: peer.Identity{SPIFFEID: "spiffe://cluster.local/ns/shop/sa/orders", DNSNames: []string{"orders", service}, Issuer: "Our CA"},
		Reply:  &peer.Reply{Caller: peer.Identity{SPIFFEID: "spiffe://cluster.local/ns/shop/sa/reports", Issuer: "Our CA"}},
	}, got)
}

func TestRefusals(t *testing.T) {
	ca := newCA(t, "Our CA")
	server := newContainer(t, ca, "orders", both(), service)
	address := server.serve(t)
	client := newContainer(t, ca, "reports", both())
	nobody := &container{root: client.root, env: map[string]string{"MTLS_CA_CERT": client.env["MTLS_CA_CERT"]}}
	stranger := newContainer(t, newCA(t, "Our CA"), "reports", both())
	trusting := newContainer(t, newCA(t, "Another CA"), "reports", both())
	trusting.write(t, "MTLS_CA_CERT", ca.CA.Cert)
	serving := newContainer(t, ca, "edge", []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth})

	cases := map[string]struct {
		client    *container
		host      string
		wantError string
	}{
		"no certificate":                  {nobody, service, "remote error: tls: certificate required"},
		"certificate of another CA":       {trusting, service, "remote error: tls: unknown certificate authority"},
		"certificate for serving only":    {serving, service, "remote error: tls: bad certificate"},
		"server that another CA signed":   {stranger, service, "tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		"server with another's name":      {client, "cart.shop.svc", "tls: failed to verify certificate: x509: certificate is valid for " + service + ", not cart.shop.svc"},
		"nothing to verify a server with": {&container{root: t.TempDir()}, service, "no CA certificates were named"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := tc.client.call(t, connectTo(tc.host, address), "https://"+tc.host+":8443/")
			assert.Contains(t, got.Error, tc.wantError)
			assert.Nil(t, got.Reply)
		})
	}
}

func TestServerCallsItsUpstream(t *testing.T) {
	ca := newCA(t, "Our CA")
	orders := newContainer(t, ca, "orders", both(), service).serve(t)
	cart := newContainer(t, ca, "cart", both(), "cart.shop.svc")
	cart.env["UPSTREAM_URL"] = "https://" + service + ":8443/"
	address := cart.serve(t, connectTo(service, orders))

	got := newContainer(t, ca, "reports", both()).call(t, connectTo("cart.shop.svc", address), "https://cart.shop.svc:8443/")
	require.Empty(t, got.Error)
	upstream := got.Reply.Upstream
	require.NotNil(t, upstream)
	require.Empty(t, upstream.Error)
	assert.Equal(t, "spiffe://cluster.local/ns/shop/sa/orders", upstream.Server.SPIFFEID)
	assert.Equal(t, "spiffe://cluster.local/ns/shop/sa/cart", upstream.Reply.Caller.SPIFFEID)
	assert.Nil(t, upstream.Reply.Upstream)
}

func TestRenewedFilesAreUsed(t *testing.T) {
	server := newContainer(t, newCA(t, "Old CA"), "orders", both(), service)
	address := server.serve(t)
	renewed := newCA(t, "New CA")
	server.issue(t, renewed, "orders", both(), service)
	got := newContainer(t, renewed, "reports", both()).call(t, connectTo(service, address), "https://"+service+":8443/")
	require.Empty(t, got.Error)
	assert.Equal(t, "New CA", got.Server.Issuer)
}

func TestRenewedFilesAreNotUsed(t *testing.T) {
	ca := newCA(t, "Our CA")
	server := newContainer(t, ca, "orders", both(), service)
	address := server.serve(t, "--load-once")
	client := newContainer(t, ca, "reports", both())
	before := client.call(t, connectTo(service, address), "https://"+service+":8443/")
	require.Empty(t, before.Error)
	server.issue(t, ca, "orders", both(), service)
	after := client.call(t, connectTo(service, address), "https://"+service+":8443/")
	require.Empty(t, after.Error)
	assert.Equal(t, before.Server, after.Server)
}

func TestFlagsBeatVariables(t *testing.T) {
	ca := newCA(t, "Our CA")
	server := newContainer(t, ca, "orders", both(), service)
	// The program of 10-go-server.yaml knows nothing of the variables.
	require.NoError(t, os.Rename(filepath.Join(server.root, "etc", "tls", "server"), filepath.Join(server.root, "certs")))
	require.NoError(t, os.Rename(filepath.Join(server.root, "etc", "tls", "ca", "ca.crt"), filepath.Join(server.root, "certs", "ca.crt")))
	address := server.serve(t, "--cert=/certs/tls.crt", "--key=/certs/tls.key", "--client-ca=/certs/ca.crt")

	client := newContainer(t, ca, "smoke-test", both())
	env := client.env
	client.env = nil
	got := client.call(t, connectTo(service, address), "--fail-with-body", "--cert", env["MTLS_CLIENT_CERT"],
		"--key", env["MTLS_CLIENT_KEY"], "--cacert", env["MTLS_CA_CERT"], "https://"+service+":8443/")
	require.Empty(t, got.Error)
	assert.Equal(t, "spiffe://cluster.local/ns/shop/sa/smoke-test", got.Reply.Caller.SPIFFEID)
}

func TestServerNeedsItsFiles(t *testing.T) {
	ca := newCA(t, "Our CA")
	cases := map[string]struct {
		spoil     func(*testing.T, *container)
		wantError string
	}{
		"no key": {
			func(t *testing.T, c *container) {
				t.Helper()
				require.NoError(t, os.Remove(filepath.Join(c.root, c.env["MTLS_SERVER_KEY"])))
			}, "reading the key pair: open ",
		},
		"no CA": {
			func(t *testing.T, c *container) {
				t.Helper()
				require.NoError(t, os.Remove(filepath.Join(c.root, c.env["MTLS_CA_CERT"])))
			}, "reading the CA certificates: open ",
		},
		"CA that is none": {
			func(t *testing.T, c *container) {
				t.Helper()
				c.write(t, "MTLS_CA_CERT", []byte("none"))
			},
			"/etc/tls/ca/ca.crt holds no CA certificate",
		},
		"no variables": {func(_ *testing.T, c *container) { c.env = nil }, "reading the key pair: "},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newContainer(t, ca, "orders", both(), service)
			tc.spoil(t, c)
			flags := flag.NewFlagSet("serve", flag.ContinueOnError)
			server := peer.RegisterServe(flags, c.getenv)
			require.NoError(t, flags.Parse([]string{"--root", c.root, "--listen=127.0.0.1:0"}))
			var out bytes.Buffer
			require.ErrorContains(t, server.Run(t.Context(), &out, io.Discard), tc.wantError)
			assert.Empty(t, out.String(), "it never says that it listens")
		})
	}
}

func TestConnectTo(t *testing.T) {
	c := peer.ConnectTo{}
	require.NoError(t, c.Set("b.example:8443:127.0.0.1:2"))
	require.NoError(t, c.Set("a.example:8443:127.0.0.1:1"))
	require.NoError(t, c.Set("b.example:8443:127.0.0.1:3"))
	assert.Equal(t, "a.example:8443:127.0.0.1:1,b.example:8443:127.0.0.1:3", c.String(), "the last one counts")
	for _, wrong := range []string{"", "host:1", "host:1:address", "host:1::2", "host:1:address:2:3"} {
		require.EqualError(t, c.Set(wrong), "must be HOST:PORT:ADDRESS:PORT", wrong)
	}
}
