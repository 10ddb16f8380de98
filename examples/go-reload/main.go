// Command go-reload is a server for mutual TLS that reads its certificate, key and bundle
// anew for each connection. It needs neither an agent nor a restart when they are renewed.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// load reads the files that the pod's variables name. It costs a fraction of a handshake.
func load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(os.Getenv("MTLS_SERVER_CERT"), os.Getenv("MTLS_SERVER_KEY"))
	if err != nil {
		return nil, err
	}
	bundle, err := os.ReadFile(os.Getenv("MTLS_CA_CERT")) //nolint:gosec // the injector sets it
	cas := x509.NewCertPool()
	if err == nil && !cas.AppendCertsFromPEM(bundle) {
		err = errors.New("the bundle has no certificate")
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: cas, ClientAuth: tls.RequireAndVerifyClientCert,
		NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12}, err
}

// newServer remembers the last files that were good: key and certificate may be swapped between two readings.
func newServer() *http.Server {
	var good atomic.Pointer[tls.Config]
	current := func(*tls.ClientHelloInfo) (*tls.Config, error) {
		config, err := load()
		if err == nil {
			good.Store(config)
		} else if config = good.Load(); config != nil {
			return config, nil
		}
		return config, err
	}
	hello := func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "hello") }
	return &http.Server{Addr: ":8443", Handler: http.HandlerFunc(hello), ReadHeaderTimeout: time.Minute,
		TLSConfig: &tls.Config{GetConfigForClient: current, MinVersion: tls.VersionTLS12}}
}

func main() { log.Fatal(newServer().ListenAndServeTLS("", "")) }
