package e2e

import (
	"context"
	"fmt"
	"math"
	"net"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"example.io/mtls-injector/e2e/demo/peer"
)

const (
	// callInterval is the pause between two handshakes with a server.
	callInterval = 50 * time.Millisecond
	serverPort   = "8443"
)

// calls are a client's handshakes with one server: one after the other, each on a
// connection of its own, with the files that are there at that moment.
type calls struct {
	app string
	// byHand is how often the server was restarted by somebody else than the injector.
	byHand int

	mu         sync.Mutex
	handshakes int
	failure    error
	// servers and clients are the certificates that were shown, by serial number.
	servers, clients map[string]bool
	// margin is the shortest that a server's certificate had still to live.
	margin time.Duration
	ended  chan struct{}
}

// call calls the server of that name until ctx ends, one of its pods after the other. The
// first failure is the last call.
func (r *rotation) call(ctx context.Context, client *peer.Client, app string, failed func(error)) *calls {
	c := &calls{
		app: app, servers: map[string]bool{}, clients: map[string]bool{},
		margin: math.MaxInt64, ended: make(chan struct{}),
	}
	go func() {
		defer close(c.ended)
		ticker := time.NewTicker(callInterval)
		defer ticker.Stop()
		for i := 0; ctx.Err() == nil; i++ {
			if err := c.record(r.callOnce(client, app, i)); err != nil {
				failed(fmt.Errorf("calling %s: %w", app, err))
				return
			}
			select {
			case <-ctx.Done():
			case <-ticker.C:
			}
		}
	}()
	return c
}

// callOnce calls the i-th of the server's pods.
func (r *rotation) callOnce(client *peer.Client, app string, i int) peer.Outcome {
	endpoints := r.kubelet.Endpoints(labels.Set{"app": app})
	if len(endpoints) == 0 {
		return peer.Outcome{Error: "there is no endpoint"}
	}
	return callAt(client, app+"."+r.namespace, endpoints[i%len(endpoints)].Address)
}

// callAt calls a Service at an address. Nothing cuts the call short but its own timeout.
func callAt(client *peer.Client, service, address string) peer.Outcome {
	host := net.JoinHostPort(service+".svc.cluster.local", serverPort)
	once := *client
	once.URL, once.Connect = "https://"+host+"/", peer.ConnectTo{host: address}
	return once.Call(context.Background())
}

// record counts a call. It returns an error if that failed.
func (c *calls) record(outcome peer.Outcome) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if outcome.Error != "" {
		c.failure = fmt.Errorf("handshake %d: %s", c.handshakes+1, outcome.Error)
		return c.failure
	}
	c.handshakes++
	c.servers[outcome.Server.Serial] = true
	c.clients[outcome.Reply.Caller.Serial] = true
	c.margin = min(c.margin, time.Until(outcome.Server.NotAfter))
	return nil
}

// String tells what came of them.
func (c *calls) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var text strings.Builder
	fmt.Fprintf(&text, "%s: %d handshakes, %d certificates of servers (with at least %s to live), %d of the client",
		c.app, c.handshakes, len(c.servers), c.margin.Round(time.Second), len(c.clients))
	if c.failure != nil {
		fmt.Fprintf(&text, ", ended by %v", c.failure)
	}
	return text.String()
}
