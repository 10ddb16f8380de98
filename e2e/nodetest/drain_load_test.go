//go:build node

package nodetest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// How the load is made: so many callers of each kind, and how long each waits between two calls.
const (
	drainCallers = 4
	pause        = 20 * time.Millisecond
	callLimit    = 10 * time.Second
)

// tally counts calls.
type tally struct {
	mu            sync.Mutex
	calls, failed int
	why           map[string]int
}

func (c *tally) count(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	if err != nil {
		c.failed++
		if c.why == nil {
			c.why = map[string]int{}
		}
		c.why[err.Error()]++
	}
}

// String tells the failures, each kind once.
func (c *tally) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := fmt.Sprintf("%d of %d failed", c.failed, c.calls)
	for _, why := range slices.Sorted(maps.Keys(c.why)) {
		text += fmt.Sprintf("\n%5d  %s", c.why[why], why)
	}
	return text
}

// load is a constant load on a Service by its cluster IP, as the node's other pods would make it.
type load struct {
	url string
	tls *tls.Config
	// kept is of callers that keep their connection, fresh of those that make one for each call.
	kept, fresh tally
}

// newLoad has a client's pod give the certificate, and finds the Service.
func newLoad(t *testing.T, namespace, service string) *load {
	t.Helper()
	create(t, newPod(namespace, "caller", toolsImage, "role=client"))
	awaitReady(t, namespace, "caller")
	pair, err := tls.X509KeyPair([]byte(readFile(t, namespace, "caller", "/etc/tls/client/tls.crt")), []byte(readFile(t, namespace, "caller", "/etc/tls/client/tls.key")))
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM([]byte(readFile(t, namespace, "caller", "/etc/tls/ca/ca.crt"))))
	var svc corev1.Service
	require.NoError(t, node.Client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: service}, &svc))
	return &load{
		url: fmt.Sprintf("https://%s:%d/", svc.Spec.ClusterIP, svc.Spec.Ports[0].Port),
		tls: &tls.Config{
			MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{pair},
			ServerName: service + "." + namespace + ".svc",
		},
	}
}

// during makes the load while something is done, and a second before and after.
func (l *load) during(t *testing.T, do func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	for range drainCallers {
		ended.Go(func() { l.call(ctx, false, &l.kept) })
		ended.Go(func() { l.call(ctx, true, &l.fresh) })
	}
	defer func() {
		stop()
		ended.Wait()
	}()
	l.awaitCalls(t, 50)
	do()
	l.awaitCalls(t, 50)
}

// awaitCalls waits until callers of both kinds have made that many calls more.
func (l *load) awaitCalls(t *testing.T, more int) {
	t.Helper()
	count := func(c *tally) int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.calls
	}
	kept, fresh := count(&l.kept)+more, count(&l.fresh)+more
	require.NoError(t, node.WaitFor(t.Context(), "calls", func(context.Context) error {
		if count(&l.kept) < kept || count(&l.fresh) < fresh {
			return fmt.Errorf("there are only %s; %s", &l.kept, &l.fresh)
		}
		return nil
	}))
}

// call calls until the context ends.
func (l *load) call(ctx context.Context, fresh bool, counted *tally) {
	transport := &http.Transport{TLSClientConfig: l.tls.Clone(), DisableKeepAlives: fresh, MaxIdleConnsPerHost: 1}
	defer transport.CloseIdleConnections()
	caller := &http.Client{Transport: transport, Timeout: callLimit}
	for tick := time.NewTicker(pause); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
		counted.count(l.once(caller))
	}
}

// once makes a call. It ends by itself, whatever the context does meanwhile.
func (l *load) once(caller *http.Client) error {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, l.url, nil)
	if err != nil {
		return err
	}
	response, err := caller.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", response.Status)
	}
	return nil
}
