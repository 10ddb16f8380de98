package diagnose

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/cmd/kubectl-mtls/verify/probe"
	"example.io/mtls-injector/intent"
)

// now is when it is looked at; the servers do not care.
var now = time.Now().Truncate(time.Second)

const (
	service  = "orders.shop.svc.cluster.local"
	spiffeID = "spiffe://cluster.local/ns/shop/sa/orders"
)

// authority is a CA of a test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCA(t testing.TB, name string, above *authority, change ...func(*x509.Certificate)) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-1000 * time.Hour), NotAfter: now.Add(100000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	for _, c := range change {
		c(template)
	}
	ca := &authority{t: t, cert: template, key: key}
	if above == nil {
		above = ca
	}
	ca.cert = above.sign(template, key)
	return ca
}

func (a *authority) sign(template *x509.Certificate, key crypto.Signer) *x509.Certificate {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	require.NoError(a.t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(a.t, err)
	return certificate
}

// leaf returns a certificate as the pod gets it, with changes.
func (a *authority) leaf(change ...func(*x509.Certificate)) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	return a.leafOf(key, change...)
}

func (a *authority) leafOf(key crypto.Signer, change ...func(*x509.Certificate)) tls.Certificate {
	a.t.Helper()
	id, err := url.Parse(spiffeID)
	require.NoError(a.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(2000 * time.Hour),
		DNSNames: []string{"orders", service}, URIs: []*url.URL{id},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, c := range change {
		c(template)
	}
	certificate := a.sign(template, key)
	return tls.Certificate{Certificate: [][]byte{certificate.Raw}, PrivateKey: key, Leaf: certificate}
}

func rsaKey(t testing.TB, bits int) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	require.NoError(t, err)
	return key
}

// scene is a server and what is known of its pod. Cases change both before it starts.
type scene struct {
	t       testing.TB
	ca      *authority
	facts   *Facts
	tls     *tls.Config
	handler http.Handler
	own     *tls.Certificate
	probe   probe.Config
	// plain serves without TLS, raw serves connections in the place of HTTP.
	plain bool
	raw   func(net.Conn)
	// listen is false where nobody listens.
	listen bool
}

func newScene(t testing.TB) *scene {
	t.Helper()
	s := &scene{t: t, ca: newCA(t, "the CA", nil), listen: true}
	pool := x509.NewCertPool()
	pool.AddCert(s.ca.cert)
	served := s.ca.leaf()
	s.tls = &tls.Config{
		Certificates: []tls.Certificate{served}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
		NextProtos: []string{"h2", "http/1.1"},
	}
	s.handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	client := s.ca.leaf()
	s.own = &client
	s.facts = &Facts{
		Now: now, SPIFFEID: spiffeID, Names: []string{service, "orders"},
		Intent: &intent.Intent{
			Role: intent.RoleBoth, Key: intent.PrivateKey{Algorithm: cmapi.ECDSAKeyAlgorithm, Size: 256},
			Lifetime: intent.Lifetime{Duration: 2160 * time.Hour, RenewBefore: 720 * time.Hour},
			Identity: intent.Identity{SPIFFEID: spiffeID, DNSNames: []string{service, "orders"}},
		},
		Bundle: []*x509.Certificate{s.ca.cert}, BundleName: "ConfigMap mtls-ca-bundle, key ca.crt",
		Current: issued(served), OwnSource: "issued by ClusterIssuer/internal for the check",
	}
	return s
}

// serve has the server serve this certificate, which is the current one.
func (s *scene) serve(certificate tls.Certificate) {
	s.tls.Certificates = []tls.Certificate{certificate}
	s.facts.Current = issued(certificate)
}

func issued(certificate tls.Certificate) []Issued {
	return []Issued{{Certificate: certificate.Leaf, Source: "CertificateRequest a"}}
}

// judge starts the server, looks at it and judges.
func (s *scene) judge() *Report {
	s.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(s.t, err)
	address := listener.Addr().String()
	switch {
	case !s.listen:
		require.NoError(s.t, listener.Close())
	case s.raw != nil:
		go serveRaw(listener, s.raw)
		s.t.Cleanup(func() { _ = listener.Close() })
	default:
		server := &http.Server{Handler: s.handler, TLSConfig: s.tls, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
		s.t.Cleanup(func() { _ = server.Close() })
		if s.plain {
			go func() { _ = server.Serve(listener) }()
		} else {
			go func() { _ = server.ServeTLS(listener, "", "") }()
		}
	}
	foreign, err := probe.Foreign(spiffeID, s.ca.cert.RawSubject, now)
	require.NoError(s.t, err)
	config := s.probe
	config.Names, config.Own, config.Foreign = s.facts.Names, s.own, foreign
	if config.Timeout == 0 {
		config.Timeout = 10 * time.Second
	}
	seen, err := probe.Run(s.t.Context(), dialTo(address), config)
	require.NoError(s.t, err)
	return Judge(s.facts, seen)
}

func serveRaw(listener net.Listener, serve func(net.Conn)) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			serve(conn)
		}()
	}
}

type dialTo string

func (d dialTo) Dial(ctx context.Context) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", string(d))
}
