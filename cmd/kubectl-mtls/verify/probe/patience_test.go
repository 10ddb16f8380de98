package probe

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// slowServer serves one handshake after the other, and then what serve does.
func slowServer(t *testing.T, config *tls.Config, serve func(net.Conn)) Dialer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	config.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	config.MinVersion = tls.VersionTLS13
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				if conn.(*tls.Conn).HandshakeContext(t.Context()) == nil {
					serve(conn)
				}
			}()
		}
	}()
	return dialerFunc(func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", listener.Addr().String())
	})
}

type dialerFunc func(ctx context.Context) (net.Conn, error)

func (f dialerFunc) Dial(ctx context.Context) (net.Conn, error) { return f(ctx) }

// TestLateVerdict has servers that take their time: silence is no consent where an answer is
// due, and a refusal counts that comes after the request.
func TestLateVerdict(t *testing.T) {
	silent := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	for name, c := range map[string]struct {
		config     *tls.Config
		serve      func(net.Conn)
		unanswered string
		alert      string
	}{
		"HTTP that never answers":        {config: &tls.Config{NextProtos: []string{"http/1.1"}}, serve: silent, unanswered: "i/o timeout"},
		"HTTP that ends without a word":  {config: &tls.Config{NextProtos: []string{"http/1.1"}}, serve: func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1)) }, unanswered: "EOF"},
		"a protocol of its own, waiting": {config: &tls.Config{}, serve: silent},
		"a late refusal": {
			config: &tls.Config{
				NextProtos: []string{"http/1.1"}, ClientAuth: tls.RequestClientCert,
				VerifyConnection: func(tls.ConnectionState) error {
					time.Sleep(2 * minGrace)
					return errors.New("no")
				},
			},
			alert: "tls: bad certificate",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &prober{dialer: slowServer(t, c.config, c.serve), config: Config{Timeout: 2 * patientGrace}}
			a, err := p.ask(t.Context(), nil)
			require.NoError(t, err)
			assert.True(t, a.Completed)
			assert.Nil(t, a.Answer)
			assert.Equal(t, c.alert, a.Alert)
			if c.unanswered == "" {
				assert.NoError(t, a.Unanswered)
				return
			}
			require.ErrorContains(t, a.Unanswered, c.unanswered)
		})
	}
}
