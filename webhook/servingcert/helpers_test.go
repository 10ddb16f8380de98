package servingcert

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// start is when the tests begin.
var start = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

// testCA is a CA with its key.
type testCA struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

// newCA makes a CA of ours, valid for a day; change makes it another one.
func newCA(t testing.TB, notBefore time.Time, change ...func(*x509.Certificate)) *testCA {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: commonName},
		NotBefore: notBefore, NotAfter: notBefore.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	for _, f := range change {
		f(template)
	}
	key := newKey(t)
	return &testCA{create(t, template, template, key, key), key}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func create(t testing.TB, template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

// sign makes a serving certificate, valid for an hour.
func (ca *testCA) sign(t testing.TB, notBefore time.Time) *tls.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{"localhost"}, NotBefore: notBefore, NotAfter: notBefore.Add(time.Hour)}
	key := newKey(t)
	leaf := create(t, template, ca.Certificate, key, ca.key)
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

func pemOf(cas ...*testCA) []byte {
	var out []byte
	for _, ca := range cas {
		out = append(out, encode([]*x509.Certificate{ca.Certificate})...)
	}
	return out
}

func certsOf(cas ...*testCA) []*x509.Certificate {
	var certs []*x509.Certificate
	for _, ca := range cas {
		certs = append(certs, ca.Certificate)
	}
	return certs
}

// signs is an authority of one CA.
type signs struct{ ca *testCA }

func (s *signs) Run(ctx context.Context) error      { <-ctx.Done(); return nil }
func (*signs) WatchRotation(chan<- struct{})        {}
func (*signs) StopWatchingRotation(chan<- struct{}) {}
func (s *signs) Sign(template *x509.Certificate) (*x509.Certificate, error) {
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(3), time.Now(), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, s.ca.Certificate, template.PublicKey, s.ca.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
