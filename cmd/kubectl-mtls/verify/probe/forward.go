package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// Forward is the way to a port of a pod that `kubectl port-forward` takes, without a local
// port: each connection is a pair of streams to the kubelet.
type Forward struct {
	port       int
	connection httpstream.Connection

	mutex    sync.Mutex
	requests int
}

// IsForbidden reports whether the user may not take the way. The API server's status comes
// through an upgrade as its text only.
func IsForbidden(err error) bool {
	return err != nil && strings.Contains(err.Error(), "unable to upgrade connection: ") && strings.Contains(err.Error(), "is forbidden: ")
}

// NewForward opens the way. url is that of the pod's subresource portforward.
func NewForward(config *rest.Config, url *url.URL, port int) (*Forward, error) {
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, fmt.Errorf("port-forward: %w", err)
	}
	dialer := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	tunnel, err := portforward.NewSPDYOverWebsocketDialerForStreaming(url, config)
	if err != nil {
		return nil, fmt.Errorf("port-forward: %w", err)
	}
	// As kubectl does: the newer way, and the older one where a server or proxy lacks it, or
	// the user has only the right of the older one.
	dialer = portforward.NewFallbackDialerForStreaming(tunnel, dialer, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	connection, _, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, fmt.Errorf("port-forward: %w", err)
	}
	return &Forward{port: port, connection: connection}, nil
}

// Close ends all connections.
func (f *Forward) Close() error { return f.connection.Close() }

// Dial implements [Dialer].
func (f *Forward) Dial(context.Context) (net.Conn, error) {
	f.mutex.Lock()
	f.requests++
	headers := http.Header{}
	headers.Set(corev1.PortHeader, strconv.Itoa(f.port))
	headers.Set(corev1.PortForwardRequestIDHeader, strconv.Itoa(f.requests))
	f.mutex.Unlock()

	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	failures, err := f.connection.CreateStream(headers)
	if err != nil {
		return nil, fmt.Errorf("port-forward: %w", err)
	}
	_ = failures.Close() // nothing is written to it
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := f.connection.CreateStream(headers)
	if err != nil {
		f.connection.RemoveStreams(failures)
		return nil, fmt.Errorf("port-forward: %w", err)
	}
	return forward(data, failures, func() { f.connection.RemoveStreams(failures, data) }), nil
}

// forward makes a connection of the two streams. A pipe between gives it deadlines.
func forward(data httpstream.Stream, failures io.Reader, done func()) net.Conn {
	near, far := net.Pipe()
	c := &forwarded{Conn: near, reset: func() { _ = data.Reset(); done() }, failure: make(chan error, 1)}
	go func() {
		message, err := io.ReadAll(failures)
		if err == nil && len(message) > 0 {
			err = errors.New(string(message))
		}
		c.failure <- err
	}()
	go func() {
		_, _ = io.Copy(far, data)
		_ = far.Close()
	}()
	go func() {
		_, _ = io.Copy(data, far)
		_ = data.Close()
	}()
	return c
}

// failureTimeout is how long an end waits for its reason.
const failureTimeout = 2 * time.Second

// forwarded is a connection through the kubelet.
type forwarded struct {
	net.Conn

	reset   func()
	failure chan error
	once    sync.Once
	err     error
}

// Read implements [net.Conn]. Where the kubelet ends it, it says why.
func (c *forwarded) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if errors.Is(err, io.EOF) {
		return n, c.why(err)
	}
	return n, err
}

// Write implements [net.Conn].
func (c *forwarded) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if errors.Is(err, io.ErrClosedPipe) {
		return n, c.why(err)
	}
	return n, err
}

func (c *forwarded) why(otherwise error) error {
	c.once.Do(func() {
		c.err = otherwise
		wait := time.NewTimer(failureTimeout)
		defer wait.Stop()
		select {
		case err := <-c.failure:
			if err != nil {
				c.err = err
			}
		case <-wait.C:
		}
	})
	return c.err
}

// Close implements [net.Conn].
func (c *forwarded) Close() error {
	err := c.Conn.Close()
	c.reset()
	return err
}
