// Command faultyserver is a Go server that does wrong what it is told to: each of its ports
// has a fault of its own. It reads its files once, when it starts.
//
//	faultyserver FILE   serves the ports of a JSON file
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"
)

// port is one port, and how it is served.
type port struct {
	Port int `json:"port"`
	// Plain serves without TLS.
	Plain bool `json:"plain"`
	// Cert, Key and CA are paths of files.
	Cert string `json:"cert"`
	Key  string `json:"key"`
	CA   string `json:"ca"`
	// ClientAuth is that of crypto/tls: 0 asks for none, 4 verifies.
	ClientAuth tls.ClientAuthType `json:"clientAuth"`
	MinVersion uint16             `json:"minVersion"`
	MaxVersion uint16             `json:"maxVersion"`
	// OnlyLeaf leaves the rest of the chain out.
	OnlyLeaf bool `json:"onlyLeaf"`
	// Status of every answer; 0: 200.
	Status int `json:"status"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "faultyserver:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("want a file")
	}
	text, err := os.ReadFile(args[0]) //nolint:gosec // the test says which
	if err != nil {
		return err
	}
	var ports []port
	if err := json.Unmarshal(text, &ports); err != nil {
		return err
	}
	ended := make(chan error)
	for _, p := range ports {
		go func() { ended <- p.serve() }()
	}
	return <-ended
}

func (p *port) serve() error {
	server := &http.Server{
		Addr: fmt.Sprintf(":%d", p.Port), ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if p.Status != 0 {
				w.WriteHeader(p.Status)
			}
		}),
	}
	if p.Plain {
		return server.ListenAndServe()
	}
	certificate, err := tls.LoadX509KeyPair(p.Cert, p.Key)
	if err != nil {
		return err
	}
	if p.OnlyLeaf {
		certificate.Certificate = certificate.Certificate[:1]
	}
	pool := x509.NewCertPool()
	if p.CA != "" {
		text, err := os.ReadFile(p.CA)
		if err != nil {
			return err
		}
		pool.AppendCertsFromPEM(text)
	}
	server.TLSConfig = &tls.Config{
		Certificates: []tls.Certificate{certificate}, ClientAuth: p.ClientAuth, ClientCAs: pool,
		MinVersion: p.MinVersion, MaxVersion: p.MaxVersion,
	}
	return server.ListenAndServeTLS("", "")
}
