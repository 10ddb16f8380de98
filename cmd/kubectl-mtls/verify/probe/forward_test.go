package probe

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
)

// stream is the kubelet's end of a data stream.
type stream struct {
	net.Conn

	wasReset bool
}

func (s *stream) Reset() error       { s.wasReset = true; return s.Close() }
func (*stream) Headers() http.Header { return nil }
func (*stream) Identifier() uint32   { return 1 }

func TestForward(t *testing.T) {
	near, kubelet := net.Pipe()
	data := &stream{Conn: near}
	done := false
	conn := forward(data, strings.NewReader(""), func() { done = true })
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	go func() {
		text := make([]byte, 2)
		_, _ = io.ReadFull(kubelet, text)
		_, _ = kubelet.Write(append(text, '!'))
	}()
	_, err := conn.Write([]byte("hi"))
	require.NoError(t, err)
	answer := make([]byte, 3)
	_, err = io.ReadFull(conn, answer)
	require.NoError(t, err)
	assert.Equal(t, "hi!", string(answer))

	require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Millisecond)))
	_, err = conn.Read(answer)
	assert.True(t, IsTimeout(err), err)
	require.NoError(t, conn.Close())
	assert.True(t, data.wasReset)
	assert.True(t, done)
}

// What the kubelet says of a connection that it could not make is the error of the connection.
func TestForwardFails(t *testing.T) {
	near, kubelet := net.Pipe()
	const reason = "failed to connect to localhost:8443 inside namespace: dial tcp4 127.0.0.1:8443: connect: connection refused"
	conn := forward(&stream{Conn: near}, strings.NewReader(reason), func() {})
	require.NoError(t, kubelet.Close())
	_, err := conn.Read(make([]byte, 1))
	require.EqualError(t, err, reason)
	assert.True(t, IsRefused(err))
	_, err = conn.Read(make([]byte, 1))
	require.EqualError(t, err, reason, "and it is so ever after")

	near, kubelet = net.Pipe()
	conn = forward(&stream{Conn: near}, strings.NewReader(""), func() {})
	require.NoError(t, kubelet.Close())
	_, err = conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF, "an end without a reason is an end")
}

// The API server's refusal comes through, whichever way is tried.
func TestForwardForbidden(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"pods \"web\" is forbidden: no"}`)
	}))
	t.Cleanup(server.Close)
	address, err := url.Parse(server.URL + "/api/v1/namespaces/shop/pods/web/portforward")
	require.NoError(t, err)
	_, err = NewForward(&rest.Config{Host: server.URL}, address, 8443)
	require.EqualError(t, err, `port-forward: unable to upgrade connection: pods "web" is forbidden: no`)
	assert.True(t, IsForbidden(err))
}

// nowhere is a way that does not lead anywhere.
type nowhere struct{ err error }

func (n nowhere) Dial(context.Context) (net.Conn, error) { return nil, n.err }

func TestRunFails(t *testing.T) {
	_, err := Run(t.Context(), nowhere{errors.New("lost connection to pod")}, Config{Timeout: time.Second})
	require.EqualError(t, err, "lost connection to pod")
	r, err := Run(t.Context(), nowhere{errors.New("dial: connection refused")}, Config{Timeout: time.Second})
	require.NoError(t, err)
	assert.True(t, IsRefused(r.First.Err))
}

// PostgreSQL is asked before TLS begins, and may say no.
func TestStartTLS(t *testing.T) {
	for answer, want := range map[string]string{"N": "the server does not take TLS", "": "EOF"} {
		near, far := net.Pipe()
		go func() {
			_, _ = io.ReadFull(far, make([]byte, 8))
			_, _ = io.WriteString(far, answer)
			_ = far.Close()
		}()
		p := &prober{dialer: piped{near}, config: Config{Timeout: 10 * time.Second, StartTLS: "postgres"}}
		a, err := p.attempt(t.Context(), p.clientConfig(nil), true)
		require.NoError(t, err)
		require.EqualError(t, a.Err, want)
		assert.Equal(t, answer, string(a.NotTLS))
	}
}

type piped struct{ net.Conn }

func (p piped) Dial(context.Context) (net.Conn, error) { return p.Conn, nil }
