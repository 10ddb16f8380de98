package webhook

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/intent"
)

// writeCertificate writes a self-signed serving certificate for localhost into the
// folder, and returns its serial number. The key goes first, so that no pair that was
// half written is ever valid.
func writeCertificate(t testing.TB, dir string, serial int64, notBefore, notAfter time.Time) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: notBefore, NotAfter: notAfter, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	for _, file := range []struct {
		name, kind string
		der        []byte
	}{
		{"tls.key", "PRIVATE KEY", keyDER}, {"tls.crt", "CERTIFICATE", der},
	} {
		path := filepath.Join(dir, file.name)
		require.NoError(t, os.WriteFile(path+".new", pem.EncodeToMemory(&pem.Block{Type: file.kind, Bytes: file.der}), 0o600))
		require.NoError(t, os.Rename(path+".new", path))
	}
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

func writeValidCertificate(t testing.TB, dir string, serial int64) *x509.Certificate {
	t.Helper()
	return writeCertificate(t, dir, serial, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
}

func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// running is a Server that runs by itself, without a manager.
type running struct {
	*Server
	dir     string
	address string
	roots   *x509.CertPool
	// stop tells it to drain; ended says when it has stopped, and how.
	stop  context.CancelFunc
	ended chan error
}

func run(t testing.TB, http2 bool, delay time.Duration, handler http.Handler) *running {
	t.Helper()
	dir := t.TempDir()
	roots := x509.NewCertPool()
	roots.AddCert(writeValidCertificate(t, dir, 1))
	port := freePort(t)
	server, err := NewServer(ServerOptions{Host: "127.0.0.1", Port: port, CertDir: dir, CertName: "tls.crt", KeyName: "tls.key", HTTP2: http2})
	require.NoError(t, err)
	server.handle(PodPath, handler)
	ctx, stop := context.WithCancel(context.Background())
	r := &running{Server: server, dir: dir, address: fmt.Sprintf("127.0.0.1:%d", port), roots: roots, stop: stop, ended: make(chan error, 1)}
	until := server.Drain(ctx, delay)
	go func() { _ = server.certificate.Start(until) }()
	go func() { r.ended <- server.hooks.Start(until) }()
	t.Cleanup(stop)
	require.Eventually(t, func() bool { return r.ready()["server"] == nil }, 10*time.Second, time.Millisecond)
	return r
}

// ready returns the error of each readiness check.
func (r *running) ready() map[string]error {
	all := map[string]error{}
	for name, check := range r.readiness(func() bool { return true }, intent.BuiltinDefaults) {
		all[name] = check(nil)
	}
	return all
}

// client makes a client that keeps one connection.
func (r *running) client(http2 bool) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: r.roots},
		Protocols:       protocols,
	}}
}

// answered is what came back.
type answered struct {
	status   int
	protocol string
	tls      uint16
	// again says that the connection had been used before, last that it is closed now.
	again, last bool
	body        []byte
}

func (r *running) post(t testing.TB, client *http.Client, body []byte) answered {
	t.Helper()
	answer, err := exchange(client, r.address, body)
	require.NoError(t, err)
	return answer
}

// exchange sends a review as the API server does.
func exchange(client *http.Client, address string, body []byte) (answered, error) {
	again := false
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { again = c.Reused }})
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+address+PodPath+"?timeout=10s", bytes.NewReader(body))
	if err != nil {
		return answered{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return answered{}, err
	}
	defer response.Body.Close()
	text := make([]byte, max(response.ContentLength, 0))
	_, err = io.ReadFull(response.Body, text)
	return answered{response.StatusCode, response.Proto, response.TLS.Version, again, response.Close, text}, err
}
