// Package peer is the program that stands in for the images of the examples: a server
// that requires client certificates, and a client. They take their files from the flags
// and variables that the examples' own programs take them from (see
// [RegisterServe] and [RegisterCall]), and tell in JSON whom they met.
package peer

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Identity is who a certificate says its bearer is.
type Identity struct {
	SPIFFEID string   `json:"spiffeID"`
	DNSNames []string `json:"dnsNames"`
	// Issuer is the common name of the CA that signed.
	Issuer string `json:"issuer"`
	// Serial is the certificate's number, in hexadecimal digits.
	Serial string `json:"serial"`
	// NotAfter is when the certificate expires.
	NotAfter time.Time `json:"notAfter"`
}

// Outcome is what a call came to.
type Outcome struct {
	URL string `json:"url"`
	// Error says why there is no reply.
	Error string `json:"error,omitempty"`
	// Server is who answered, from its certificate.
	Server Identity `json:"server"`
	Reply  *Reply   `json:"reply,omitempty"`
}

// Reply is a server's answer.
type Reply struct {
	// Caller is who the server saw, from the client's certificate.
	Caller Identity `json:"caller"`
	// Upstream is what the server's own call came to, if it makes one.
	Upstream *Outcome `json:"upstream,omitempty"`
}

// Files are the paths of a key pair in PEM and of the CA certificates to trust, inside
// a container.
type Files struct {
	// Root is the folder that stands for the container's file system.
	Root          string
	Cert, Key, CA string
}

// load reads the key pair; each call anew, so that a renewed one is used.
func (f *Files) load() (*tls.Certificate, error) {
	cert, key := filepath.Join(f.Root, f.Cert), filepath.Join(f.Root, f.Key)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		// A renewal replaces both at once, but they are read one after the other: when it
		// comes in between they do not match, and the next time they do.
		pair, err = tls.LoadX509KeyPair(cert, key)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the key pair: %w", err)
	}
	return &pair, nil
}

// trust reads the CA certificates.
func (f *Files) trust() (*x509.CertPool, error) {
	if f.CA == "" {
		return nil, errors.New("no CA certificates were named")
	}
	data, err := os.ReadFile(filepath.Join(f.Root, f.CA))
	if err != nil {
		return nil, fmt.Errorf("reading the CA certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no CA certificate", f.CA)
	}
	return pool, nil
}

// identityOf reads the leaf of a verified connection.
func identityOf(state *tls.ConnectionState) Identity {
	leaf := state.PeerCertificates[0]
	id := Identity{
		DNSNames: leaf.DNSNames, Issuer: leaf.Issuer.CommonName,
		Serial: leaf.SerialNumber.Text(16), NotAfter: leaf.NotAfter,
	}
	if len(leaf.URIs) > 0 {
		id.SPIFFEID = leaf.URIs[0].String()
	}
	return id
}

// ConnectTo says where a host and port are really to be found, as curl's flag of that
// name does: TLS still expects the host that was asked for.
type ConnectTo map[string]string

// String implements [flag.Value].
func (c ConnectTo) String() string {
	var all []string
	for from, to := range c {
		all = append(all, from+":"+to)
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

// Set implements [flag.Value]. The form is HOST:PORT:ADDRESS:PORT; it may be given more
// than once.
func (c ConnectTo) Set(value string) error {
	parts := strings.Split(value, ":")
	if len(parts) != 4 || slices.Contains(parts, "") {
		return errors.New("must be HOST:PORT:ADDRESS:PORT")
	}
	c[net.JoinHostPort(parts[0], parts[1])] = net.JoinHostPort(parts[2], parts[3])
	return nil
}

// registerCommon adds the flags that the demo itself sets.
func registerCommon(flags *flag.FlagSet, root *string) ConnectTo {
	connect := ConnectTo{}
	flags.StringVar(root, "root", "", "`folder` that stands for the container's file system")
	flags.Var(connect, "connect-to", "`HOST:PORT:ADDRESS:PORT`: where HOST:PORT is really to be found")
	return connect
}
