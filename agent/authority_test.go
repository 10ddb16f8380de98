package agent_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/agent"
)

// authority is a CA of a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  crypto.Signer
}

func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

// newAuthority makes a CA; change may change what stands in its certificate.
func newAuthority(t *testing.T, name string, change func(*x509.Certificate)) authority {
	t.Helper()
	a := authority{t: t, key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	if change != nil {
		change(template)
	}
	a.cert = a.sign(template, a.key.Public(), template)
	return a
}

// sign signs a certificate; self is the signer's own where it is not there yet.
func (a authority) sign(template *x509.Certificate, public crypto.PublicKey, self *x509.Certificate) *x509.Certificate {
	a.t.Helper()
	signer := a.cert
	if self != nil {
		signer = self
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer, public, a.key)
	require.NoError(a.t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(a.t, err)
	return cert
}

// leaf signs the certificate of a pod.
func (a authority) leaf(change func(*x509.Certificate)) (*x509.Certificate, crypto.Signer) {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{"orders.shop.svc", "*.orders.shop.svc"},
		URIs:        []*url.URL{{Scheme: "spiffe", Host: "cluster.local", Path: "/ns/shop/sa/orders"}},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore:   time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
	}
	if change != nil {
		change(template)
	}
	key := newKey(a.t)
	return a.sign(template, key.Public(), nil), key
}

func certPEM(certs ...*x509.Certificate) []byte {
	var text []byte
	for _, cert := range certs {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	return text
}

func keyPEM(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// volume is a folder whose files are swapped as the kubelet and the CSI driver do it.
type volume struct {
	t    *testing.T
	path string
	n    int
}

func newVolume(t *testing.T) *volume {
	t.Helper()
	return &volume{t: t, path: t.TempDir()}
}

// write swaps in files.
func (v *volume) write(files map[string][]byte) {
	v.t.Helper()
	v.n++
	generation := fmt.Sprintf("..generation-%d", v.n)
	require.NoError(v.t, os.Mkdir(filepath.Join(v.path, generation), 0o750))
	for name, data := range files {
		require.NoError(v.t, os.WriteFile(filepath.Join(v.path, generation, name), data, 0o600))
		if link := filepath.Join(v.path, name); v.n == 1 {
			require.NoError(v.t, os.Symlink(filepath.Join("..data", name), link))
		}
	}
	swap := filepath.Join(v.path, "..data_tmp")
	require.NoError(v.t, os.Symlink(generation, swap))
	require.NoError(v.t, os.Rename(swap, filepath.Join(v.path, "..data")))
}

func (v *volume) file(name string) string { return filepath.Join(v.path, name) }

// scene is a pod's files.
type scene struct {
	ca            authority
	server, trust *volume
}

// newScene has empty volumes.
func newScene(t *testing.T) *scene {
	t.Helper()
	return &scene{ca: newAuthority(t, "the CA", nil), server: newVolume(t), trust: newVolume(t)}
}

// issue writes a certificate, and the bundle if there is none.
func (s *scene) issue(change func(*x509.Certificate)) *x509.Certificate {
	cert, key := s.ca.leaf(change)
	s.server.write(map[string][]byte{"tls.crt": certPEM(cert), "tls.key": keyPEM(s.ca.t, key)})
	if s.trust.n == 0 {
		s.trust.write(map[string][]byte{"ca.crt": certPEM(s.ca.cert)})
	}
	return cert
}

func (s *scene) files() agent.Files {
	return agent.Files{
		Cert: s.server.file("tls.crt"), Key: s.server.file("tls.key"), CA: s.trust.file("ca.crt"),
		Usages: []string{"server auth"}, DNSNames: []string{"orders.shop.svc"}, URIs: []string{"spiffe://cluster.local/ns/shop/sa/orders"},
	}
}
