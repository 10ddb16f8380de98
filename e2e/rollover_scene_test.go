package e2e

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/demo/peer"
	"example.io/mtls-injector/e2e/node"
)

const (
	rolloverFolder = "testdata/rollover"
	// syncInterval is how often the kubelet looks at ConfigMaps and Secrets.
	syncInterval = 200 * time.Millisecond
)

// rollover is what a CA is rolled over on: two servers, and clients that call them all the
// time.
type rollover struct {
	*rotation
	trust *trusting
	// tally counts the calls of the present phase.
	tally atomic.Pointer[tally]
	// callers are the clients, by pod.
	callers map[string]*peer.Client
}

// newRollover starts all, and returns when there are servers to call.
func newRollover(t *testing.T) *rollover {
	t.Helper()
	trust := newTrusting(t)
	r := &rollover{
		rotation: &rotation{T: t, Cluster: trust.Cluster, program: buildPeer(t), roots: map[string]string{}},
		trust:    trust,
		callers:  map[string]*peer.Client{},
	}
	runWebhook(t, r.Cluster, cluster.WebhookOptions{Config: rolloverFolder + "/injector.yaml"})
	r.namespace = clustertest.Namespace(t, r.Cluster, nil)
	var err error
	r.node, err = node.New(r.Cluster, t.TempDir())
	require.NoError(t, err)
	r.kubelet = &node.Kubelet{
		Node: r.node, Namespace: r.namespace, Labels: client.MatchingLabels{"part-of": "rollover"},
		Start: r.startAny, OnError: r.logOnce(),
	}
	r.background(r.kubelet.Run)
	r.phase() // of calls that come before there are servers
	r.deploy(rolloverFolder+"/workloads.yaml", "orders", "ledger")
	return r
}

// startAny starts a server's process, or has a client call.
func (r *rollover) startAny(ctx context.Context, c *node.Container) (node.Process, error) {
	if c.Pod.Labels["app"] != "caller" {
		return r.start(ctx, c)
	}
	caller := containerClient(c.Pod.Name, c.Root, c.Env)
	r.mu.Lock()
	r.roots[c.Pod.Name], r.callers[c.Pod.Name] = c.Root, caller
	r.mu.Unlock()
	calling, hangUp := context.WithCancel(r.Context())
	p := &callingProcess{hangUp: hangUp, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		r.callAll(calling, caller)
	}()
	return p, nil
}

// callingProcess is a client in the place of a container.
type callingProcess struct {
	hangUp context.CancelFunc
	ended  chan struct{}
}

// Address is empty: nobody calls a client.
func (p *callingProcess) Address() string { return "" }

// Stop returns when the last call has ended.
func (p *callingProcess) Stop() error {
	p.hangUp()
	<-p.ended
	return nil
}

// callAll calls the servers in turn until ctx ends, each time on a connection of its own.
func (r *rollover) callAll(ctx context.Context, caller *peer.Client) {
	ticker := time.NewTicker(callInterval)
	defer ticker.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		app := []string{"orders", "ledger"}[i%2]
		// What begins in a phase belongs to it.
		r.tally.Load().record(app, r.callOnce(caller, app, i/2))
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// tally is what came of calls.
type tally struct {
	mu         sync.Mutex
	handshakes int
	failures   []string
	signers    map[string]bool // "app CA"
}

func (t *tally) record(app string, met peer.Outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if met.Error != "" {
		t.failures = append(t.failures, fmt.Sprintf("%s calling %s: %s", time.Now().Format(time.TimeOnly), app, met.Error))
		return
	}
	t.handshakes++
	t.signers[app+" "+met.Server.Issuer] = true
	t.signers["caller "+met.Reply.Caller.Issuer] = true
}

// result returns the number of handshakes, who signed for those that took part, and failures.
func (t *tally) result() (handshakes int, signers, failures []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.handshakes, slices.Sorted(maps.Keys(t.signers)), slices.Clone(t.failures)
}

// phase begins one and returns its tally.
func (r *rollover) phase() *tally {
	t := &tally{signers: map[string]bool{}}
	r.tally.Store(t)
	return t
}

// meet waits for a hundred handshakes from now, and returns who signed.
func (r *rollover) meet() []string {
	r.Helper()
	t := r.phase()
	var signers []string
	require.NoError(r, r.WaitFor(r.Context(), "a hundred handshakes", func(context.Context) error {
		var handshakes int
		if handshakes, signers, _ = t.result(); handshakes < 100 {
			return fmt.Errorf("there were %d", handshakes)
		}
		return nil
	}))
	return signers
}

// sync keeps ConfigMaps and Secrets in running pods up to date, as kubelets do.
func (r *rollover) sync() {
	log := r.logOnce()
	r.background(func(ctx context.Context) error {
		ticker := time.NewTicker(syncInterval)
		defer ticker.Stop()
		for ctx.Err() == nil {
			// The Secret of a pod that is on its way out may be gone already.
			if err := r.node.Sync(ctx); err != nil && ctx.Err() == nil {
				log(err)
			}
			select {
			case <-ctx.Done():
			case <-ticker.C:
			}
		}
		return nil
	})
}

// living returns the folder that stands for "/" of each pod that is not being deleted.
func (r *rollover) living(ctx context.Context) (map[string]string, error) {
	var pods corev1.PodList
	if err := r.Client.List(ctx, &pods, client.InNamespace(r.namespace), r.kubelet.Labels); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	roots := map[string]string{}
	for i := range pods.Items {
		pod := &pods.Items[i]
		if pod.DeletionTimestamp != nil {
			continue
		}
		root, ok := r.roots[pod.Name]
		if !ok {
			return nil, fmt.Errorf("pod %s has not started", pod.Name)
		}
		roots[pod.Name] = root
	}
	if len(roots) == 0 {
		return nil, errors.New("there is no pod")
	}
	return roots, nil
}

// awaitTrust waits until the mounted bundle of every pod holds those CAs and no others.
func (r *rollover) awaitTrust(cas ...string) {
	r.Helper()
	require.NoError(r, r.WaitFor(r.Context(), "the bundle to be in all pods", func(ctx context.Context) error {
		roots, err := r.living(ctx)
		for pod, root := range roots {
			names, readErr := subjects(node.Path(root, "/etc/tls/ca/ca.crt"))
			if readErr == nil && !slices.Equal(names, cas) {
				readErr = fmt.Errorf("pod %s trusts %v", pod, names)
			}
			err = errors.Join(err, readErr)
		}
		return err
	}))
}

// subjects returns the common names of a file's certificates, sorted.
func subjects(path string) ([]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var names []string
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		names = append(names, cert.Subject.CommonName)
	}
	slices.Sort(names)
	return names, nil
}

// clients returns the clients of the pods that are not being deleted.
func (r *rollover) clients() []*peer.Client {
	r.Helper()
	roots, err := r.living(r.Context())
	require.NoError(r, err)
	r.mu.Lock()
	defer r.mu.Unlock()
	var clients []*peer.Client
	for pod := range roots {
		if caller, ok := r.callers[pod]; ok {
			clients = append(clients, caller)
		}
	}
	return clients
}

// stolen copies a key pair out of a pod of that app, from and to the same path.
func (r *rollover) stolen(app, path, to string) {
	r.Helper()
	roots, err := r.living(r.Context())
	require.NoError(r, err)
	pods, err := r.WaitForPods(r.Context(), r.namespace, map[string]string{"app": app}, 2)
	require.NoError(r, err)
	require.NoError(r, os.MkdirAll(node.Path(to, path), 0o750))
	for _, name := range []string{"tls.crt", "tls.key"} {
		data, err := os.ReadFile(filepath.Join(node.Path(roots[pods[0].Name], path), name))
		require.NoError(r, err)
		require.NoError(r, os.WriteFile(filepath.Join(node.Path(to, path), name), data, 0o600))
	}
}
