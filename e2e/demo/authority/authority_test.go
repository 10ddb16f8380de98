package authority_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/e2e/demo/authority"
)

func parse(t *testing.T, data []byte) *x509.Certificate {
	t.Helper()
	block, rest := pem.Decode(data)
	require.NotNil(t, block)
	require.Empty(t, rest)
	cert, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	return cert
}

func TestIssuedCertificatesVerify(t *testing.T) {
	ca, err := authority.New("A CA")
	require.NoError(t, err)
	template := &x509.Certificate{
		DNSNames:    []string{"orders.shop.svc"},
		URIs:        []*url.URL{{Scheme: "spiffe", Host: "cluster.local", Path: "/ns/shop/sa/orders"}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	pair, err := ca.Issue(template)
	require.NoError(t, err)

	_, err = tls.X509KeyPair(pair.Cert, pair.Key)
	require.NoError(t, err, "key and certificate belong together")
	_, err = tls.X509KeyPair(ca.CA.Cert, ca.CA.Key)
	require.NoError(t, err, "the CA's do as well")

	leaf, root := parse(t, pair.Cert), parse(t, ca.CA.Cert)
	assert.Equal(t, "A CA", leaf.Issuer.CommonName)
	assert.Equal(t, template.URIs, leaf.URIs)
	assert.True(t, root.IsCA)
	assert.False(t, leaf.IsCA)
	assert.Nil(t, template.SerialNumber, "the template is only read")

	roots := x509.NewCertPool()
	roots.AddCert(root)
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "orders.shop.svc"})
	require.NoError(t, err)
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	require.EqualError(t, err, "x509: certificate specifies an incompatible key usage")
}

func TestAuthoritiesOfOneNameAreDifferent(t *testing.T) {
	first, err := authority.New("A CA")
	require.NoError(t, err)
	second, err := authority.New("A CA")
	require.NoError(t, err)
	assert.NotEqual(t, first.CA.Key, second.CA.Key)

	pair, err := first.Issue(&x509.Certificate{})
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(parse(t, second.CA.Cert))
	_, err = parse(t, pair.Cert).Verify(x509.VerifyOptions{Roots: roots})
	require.ErrorContains(t, err, "x509: certificate signed by unknown authority")
}
