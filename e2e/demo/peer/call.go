package peer

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"time"
)

// callTimeout bounds a call, with all the calls that it leads to.
const callTimeout = 10 * time.Second

// Client calls a URL with a client certificate.
type Client struct {
	Files
	URL     string
	Connect ConnectTo
}

// RegisterCall adds the flags of curl that the examples use. What they leave out is
// taken from the variables MTLS_CLIENT_CERT, MTLS_CLIENT_KEY and MTLS_CA_CERT. The URL
// is the argument that is no flag.
func RegisterCall(flags *flag.FlagSet, getenv func(string) string) *Client {
	c := newClient(getenv)
	c.Connect = registerCommon(flags, &c.Root)
	flags.StringVar(&c.Cert, "cert", c.Cert, "certificate `file`; none: show no certificate")
	flags.StringVar(&c.Key, "key", c.Key, "key `file`")
	flags.StringVar(&c.CA, "cacert", c.CA, "`file` of CA certificates for the server")
	flags.Bool("fail-with-body", true, "as in curl; this program always does")
	return c
}

func newClient(getenv func(string) string) *Client {
	return &Client{Files: Files{
		Cert: getenv("MTLS_CLIENT_CERT"), Key: getenv("MTLS_CLIENT_KEY"), CA: getenv("MTLS_CA_CERT"),
	}}
}

// Call makes one request on a connection of its own.
func (c *Client) Call(ctx context.Context) Outcome {
	outcome := Outcome{URL: c.URL}
	if err := c.call(ctx, &outcome); err != nil {
		outcome.Error = err.Error()
	}
	return outcome
}

func (c *Client) call(ctx context.Context, outcome *Outcome) error {
	config, err := c.config()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL, nil)
	if err != nil {
		return fmt.Errorf("making the request: %w", err)
	}
	transport := &http.Transport{TLSClientConfig: config, DialContext: c.dial, DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	outcome.Server = identityOf(resp.TLS)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answers %s", resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(&outcome.Reply); err != nil {
		return fmt.Errorf("reading the reply: %w", err)
	}
	return nil
}

func (c *Client) config() (*tls.Config, error) {
	servers, err := c.trust()
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: servers}
	if c.Cert == "" {
		return config, nil
	}
	pair, err := c.load()
	if err != nil {
		return nil, err
	}
	// Shown whether or not the server knows its CA: that is for the server to judge.
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil }
	return config, nil
}

func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if to, ok := c.Connect[address]; ok {
		address = to
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}
