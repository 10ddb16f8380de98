package probe

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
)

// Answer is a response to `GET /`, or to the beginning of a login.
type Answer struct {
	// Status is that of HTTP; 0 if another protocol is spoken.
	Status int
	// Server is the header of that name.
	Server string
	// Body is its beginning, or the error's message in other protocols.
	Body string
}

const (
	// maxBody is how much of a body is read: error pages are short.
	maxBody   = 4096
	userAgent = "kubectl-mtls-verify"
)

// request sends a request over the connection, in HTTP/2 or HTTP/1.1. A server that speaks
// something else than HTTP gives an error.
func request(ctx context.Context, conn net.Conn, http2 bool, host string) (*Answer, error) {
	protocols := &http.Protocols{}
	// The transport must not know of TLS: it would want a connection that nobody has read.
	protocols.SetUnencryptedHTTP2(http2)
	protocols.SetHTTP1(!http2)
	transport := &http.Transport{
		DialContext:        func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		Protocols:          protocols,
		DisableKeepAlives:  !http2, // Connection: close
		DisableCompression: true,
	}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+hostOr(host)+"/", http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", userAgent)
	response, err := transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	return answerOf(response)
}

// readAhead is a connection of which something was read already.
type readAhead struct {
	net.Conn

	ahead []byte
}

// Read implements [net.Conn].
func (c *readAhead) Read(p []byte) (int, error) {
	if len(c.ahead) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.ahead)
	c.ahead = c.ahead[n:]
	return n, nil
}

func answerOf(response *http.Response) (*Answer, error) {
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	answer := &Answer{Status: response.StatusCode, Server: response.Header.Get("Server"), Body: string(body)}
	if len(body) > 0 {
		err = nil // the beginning is all that is wanted
	}
	return answer, err
}

func hostOr(name string) string {
	if name == "" || strings.ContainsAny(name, "*/ ") {
		return "localhost"
	}
	return name
}

// plain sends a request without TLS. No answer is one, too.
func (p *prober) plain(ctx context.Context) (*Answer, error) {
	conn, err := p.dial(ctx)
	if err != nil {
		return nil, p.reached(ctx, &Attempt{}, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	text := "GET / HTTP/1.1\r\nHost: " + hostOr(p.serverName()) + "\r\nUser-Agent: " + userAgent + "\r\nConnection: close\r\n\r\n"
	if _, err := io.WriteString(conn, text); err != nil {
		return nil, ctx.Err()
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, ctx.Err()
	}
	answer, _ := answerOf(response)
	return answer, ctx.Err()
}

func containsAny(text string, parts ...string) bool {
	for _, part := range parts {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}
