//go:build node

package nodetest

// Handshakes all the time, as a client pod would make them.

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// callers makes a new connection and a request of each server, all the time, with the files
// of the observer's pod.
type callers struct {
	*rotation
	files *corev1.Pod

	mu     sync.Mutex
	ok     int
	failed []string
	// seen has the servers' certificates by their serial numbers, and when each was first met.
	seen map[string]map[string]time.Time
}

// call starts to call the servers. What it returns ends that.
func (r *rotation) call(servers []rotationServer) (*callers, func()) {
	r.Helper()
	var pod corev1.Pod
	require.NoError(r, r.Client.Get(r.Context(), client.ObjectKey{Namespace: r.namespace, Name: observer}, &pod))
	c := &callers{rotation: r, files: &pod, seen: map[string]map[string]time.Time{}}
	ctx, cancel := context.WithCancel(r.Context())
	var group sync.WaitGroup
	for _, s := range servers {
		var service corev1.Service
		require.NoError(r, r.Client.Get(r.Context(), client.ObjectKey{Namespace: r.namespace, Name: s.name}, &service))
		group.Go(func() { c.callServer(ctx, s.name, service.Spec.ClusterIP) })
	}
	return c, func() { cancel(); group.Wait() }
}

// callServer makes some 20 connections a second.
func (c *callers) callServer(ctx context.Context, name, ip string) {
	pace := time.NewTicker(50 * time.Millisecond)
	defer pace.Stop()
	var good *tls.Config
	for {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		if config, err := c.config(); err == nil {
			good = config
		} else if good == nil {
			c.note(name, nil, err)
			continue
		}
		config := good.Clone()
		config.ServerName = name
		cert, err := handshake(ctx, ip, config)
		if ctx.Err() != nil {
			return
		}
		c.note(name, cert, err)
	}
}

// config reads the pod's files. Half of a swap is an error.
func (c *callers) config() (*tls.Config, error) {
	folder := volumeOf(c.files, "kubernetes.io~csi", "mtls-")
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key"))
	if err != nil {
		return nil, err
	}
	bundle, err := os.ReadFile(filepath.Join(volumeOf(c.files, "kubernetes.io~configmap", "mtls-ca"), "ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		return nil, errors.New("the bundle is empty")
	}
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// handshake makes a connection and a request, and returns what the server has shown.
func handshake(ctx context.Context, ip string, config *tls.Config) (*x509.Certificate, error) {
	const patient = 20 * time.Second
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+net.JoinHostPort(ip, fmt.Sprint(rotationPort)), nil)
	if err != nil {
		return nil, err
	}
	response, err := (&http.Client{Transport: transport, Timeout: patient}).Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && !strings.HasPrefix(string(body), "hello") {
		err = fmt.Errorf("it says %q", body)
	}
	return response.TLS.PeerCertificates[0], err
}

// note counts.
func (c *callers) note(name string, cert *x509.Certificate, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.failed = append(c.failed, fmt.Sprintf("%s %s: %v", time.Now().Format("15:04:05.000"), name, err))
		return
	}
	c.ok++
	if c.seen[name] == nil {
		c.seen[name] = map[string]time.Time{}
	}
	if serial := cert.SerialNumber.String(); c.seen[name][serial].IsZero() {
		c.seen[name][serial] = time.Now()
	}
}

// certificates is how many certificates of a server were met.
func (c *callers) certificates(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.seen[name])
}
