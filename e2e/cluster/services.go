package cluster

// How the API server reaches Services. There is no kube-proxy, so a cluster IP leads
// nowhere: the API server sends what is for one to a proxy of ours, as it does in clusters
// whose nodes it reaches through Konnectivity.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Route returns where on this machine, as host:port, a connection to a Service goes, whose
// address is its cluster IP and port.
type Route func(ctx context.Context, address string) (string, error)

// egressSelector sends connections to Services through the proxy, and nothing else.
const egressSelector = `apiVersion: apiserver.k8s.io/v1beta1
kind: EgressSelectorConfiguration
egressSelections:
- name: cluster
  connection:
    proxyProtocol: HTTPConnect
    transport: {uds: {udsName: %q}}
`

// serviceProxy answers CONNECT on a socket in the cluster's folder.
type serviceProxy struct {
	route  atomic.Pointer[Route]
	server *http.Server
	served chan error
	tunnel sync.WaitGroup
}

// RouteServices has the API server's connections to Services go where route says, from now
// on. The cluster must have been started with Options.RouteServices.
func (c *Cluster) RouteServices(route Route) error {
	if c.services == nil {
		return errors.New("the cluster was not started with Options.RouteServices")
	}
	c.services.route.Store(&route)
	return nil
}

// startServiceProxy returns the path of the configuration that makes the API server use it.
func (c *Cluster) startServiceProxy(ctx context.Context) (string, error) {
	socket := filepath.Join(c.dir, "egress.sock")
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return "", fmt.Errorf("listening for connections to Services: %w", err)
	}
	p := &serviceProxy{served: make(chan error, 1)}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
	go func() { p.served <- p.server.Serve(listener) }()
	c.services = p
	c.onStop(p.stop)
	config := filepath.Join(c.dir, "egress.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, egressSelector, socket), 0o600); err != nil {
		return "", fmt.Errorf("writing the API server's egress configuration: %w", err)
	}
	return config, nil
}

func (p *serviceProxy) stop() error {
	err := p.server.Close()
	if served := <-p.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	// The API server has ended before, and its connections with it.
	p.tunnel.Wait()
	return err
}

// ServeHTTP connects a connection to the Service's. Refused is refused: nothing is tried
// again, as kube-proxy tries nothing again.
func (p *serviceProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "only CONNECT is served here", http.StatusMethodNotAllowed)
		return
	}
	backend, err := p.dial(r.Context(), r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	p.tunnel.Add(1)
	defer p.tunnel.Done()
	defer func() { _ = backend.Close() }()
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = client.Close() }()
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	// Whichever side ends first ends both.
	ended := make(chan struct{}, 2)
	copyTo := func(to io.Writer, from io.Reader) {
		_, _ = io.Copy(to, from)
		ended <- struct{}{}
	}
	go copyTo(backend, buffered)
	go copyTo(client, backend)
	<-ended
}

func (p *serviceProxy) dial(ctx context.Context, address string) (net.Conn, error) {
	route := p.route.Load()
	if route == nil {
		return nil, fmt.Errorf("no Service is routed, and so not %s", address)
	}
	target, err := (*route)(ctx, address)
	if err != nil {
		return nil, err
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", target)
}
