package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// party is a self-signed certificate, which is its own CA.
type party struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newParty(t *testing.T, serial int64) party {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return party{cert: cert, key: key}
}

func (p party) pem(t *testing.T) (cert, key []byte) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// call makes a new connection, and returns the serial number of the server and what it says.
func call(t *testing.T, address string, client, server party) (serial int64, said string, err error) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(server.cert)
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
		RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12,
		Certificates: []tls.Certificate{{Certificate: [][]byte{client.cert.Raw}, PrivateKey: client.key}},
	}}
	response, err := (&http.Client{Transport: transport}).Get("https://" + address)
	if err != nil {
		return 0, "", err
	}
	defer func() { require.NoError(t, response.Body.Close()) }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.TLS.PeerCertificates[0].SerialNumber.Int64(), string(body), nil
}

func TestReload(t *testing.T) {
	dir := t.TempDir()
	file := func(variable, name string) func([]byte) {
		path := filepath.Join(dir, name)
		t.Setenv(variable, path)
		return func(text []byte) { require.NoError(t, os.WriteFile(path, text, 0o600)) }
	}
	writeCert, writeKey, writeBundle := file("MTLS_SERVER_CERT", "tls.crt"), file("MTLS_SERVER_KEY", "tls.key"), file("MTLS_CA_CERT", "ca.crt")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := newServer()
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-ended, http.ErrServerClosed)
	})
	address := listener.Addr().String()

	first, next, client, stranger := newParty(t, 1), newParty(t, 2), newParty(t, 3), newParty(t, 4)
	_, _, err = call(t, address, client, first)
	require.Error(t, err, "there are no files")

	cert, key := first.pem(t)
	writeCert(cert)
	writeKey(key)
	clientCert, _ := client.pem(t)
	writeBundle(clientCert)
	serial, said, err := call(t, address, client, first)
	require.NoError(t, err)
	assert.Equal(t, int64(1), serial)
	assert.Equal(t, "hello\n", said)
	_, _, err = call(t, address, stranger, first)
	require.ErrorContains(t, err, "tls: ")

	// Half of a swap: the last good pair serves on.
	cert, key = next.pem(t)
	writeCert(cert)
	serial, _, err = call(t, address, client, first)
	require.NoError(t, err)
	assert.Equal(t, int64(1), serial)
	writeKey(key)
	serial, _, err = call(t, address, client, next)
	require.NoError(t, err)
	assert.Equal(t, int64(2), serial)

	// The bundle is read anew, too; a damaged one changes nothing.
	strangerCert, _ := stranger.pem(t)
	writeBundle(strangerCert)
	_, _, err = call(t, address, client, next)
	require.ErrorContains(t, err, "tls: ")
	writeBundle([]byte("nothing"))
	_, _, err = call(t, address, stranger, next)
	require.NoError(t, err)
}
