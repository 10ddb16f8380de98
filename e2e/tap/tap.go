// Package tap stands between a program and the API server: it shows a test each request
// that changes something, and lets it end the program at any one of them, before the API
// server has heard of it or when the program has not yet heard of the answer.
package tap

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	certutil "k8s.io/client-go/util/cert"
)

// Moment is when, in the course of a request, the program is ended.
type Moment string

const (
	// Before is before the request is forwarded: what it asks for is not done.
	Before Moment = "before"
	// After is when it has been answered, and the answer not been given back: what it asks
	// for is done, and the program does not know.
	After Moment = "after"
)

// errBroken is what the program would be told if it still lived.
var errBroken = errors.New("the test has broken this request off")

// Tap is a running proxy.
type Tap struct {
	url, token string
	ca         []byte
	upstream   http.RoundTripper
	server     *http.Server
	ended      chan struct{} // closed when the server has ended
	err        error         // how it ended; read after ended

	mu        sync.Mutex
	namespace string
	steps     []Step
	breakAt   *breakpoint
}

type breakpoint struct {
	step   Step
	moment Moment
	crash  func()
}

// Start starts a proxy on this machine to the API server of the configuration. Whoever
// comes with the token of [Tap.WriteKubeconfig] goes through as the configuration's user.
func Start(config *rest.Config) (*Tap, error) {
	target, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("tap: the API server's address: %w", err)
	}
	t := &Tap{token: rand.Text(), ended: make(chan struct{})}
	if t.upstream, err = rest.TransportFor(config); err != nil {
		return nil, fmt.Errorf("tap: the API server's credentials: %w", err)
	}
	pair, err := t.makeCertificate()
	if err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("tap: %w", err)
	}
	t.url = "https://" + listener.Addr().String()
	quiet := log.New(io.Discard, "", 0) // of programs that end in the middle of a request
	t.server = &http.Server{
		Handler:           t.authenticated(t.proxy(target, quiet)),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          quiet,
	}
	go func() {
		defer close(t.ended)
		t.err = t.server.ServeTLS(listener, "", "")
	}()
	return t, nil
}

func (t *Tap) makeCertificate() (tls.Certificate, error) {
	chain, key, err := certutil.GenerateSelfSignedCertKey("127.0.0.1", []net.IP{net.IPv4(127, 0, 0, 1)}, nil)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("tap: making a certificate: %w", err)
	}
	t.ca = chain
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("tap: reading its certificate: %w", err)
	}
	return pair, nil
}

func (t *Tap) proxy(target *url.URL, log *log.Logger) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Del("Authorization") // which is for us
		},
		Transport:     roundTripper(t.roundTrip),
		FlushInterval: -1, // a watch is told at once
		ErrorLog:      log,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, "tap: "+err.Error(), http.StatusBadGateway)
		},
	}
}

// Close breaks off what is going on and ends the proxy.
func (t *Tap) Close() error {
	err := t.server.Close()
	<-t.ended
	if !errors.Is(t.err, http.ErrServerClosed) {
		err = errors.Join(err, t.err)
	}
	if err != nil {
		return fmt.Errorf("tap: %w", err)
	}
	return nil
}

// WriteKubeconfig writes how to get through as a file of mode 0600.
func (t *Tap) WriteKubeconfig(path string) error {
	const name = "tap"
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: t.url, CertificateAuthorityData: t.ca}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: t.token}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return fmt.Errorf("tap: writing the kubeconfig: %w", err)
	}
	return nil
}

// Record begins a new recording, of what is changed in a namespace; "" is everywhere.
func (t *Tap) Record(namespace string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.namespace, t.steps, t.breakAt = namespace, nil, nil
}

// Steps returns what has been recorded, in the order in which it was asked for.
func (t *Tap) Steps() []Step {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.steps)
}

// Break calls crash, once, when the present recording comes to the step. That request is
// not answered: crash is meant to end the program that made it, and to return when it has
// ended. A program that lives on is told 502.
func (t *Tap) Break(at Step, moment Moment, crash func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.breakAt = &breakpoint{step: at, moment: moment, crash: crash}
}

// authenticated keeps others on this machine from what the configuration's user may do.
func (t *Tap) authenticated(next http.Handler) http.Handler {
	want := []byte("Bearer " + t.token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			http.Error(w, "tap: another token", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// roundTripper makes a function an http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// roundTrip forwards a request, unless the program is to be ended there.
func (t *Tap) roundTrip(r *http.Request) (*http.Response, error) {
	here := t.record(r)
	if here != nil && here.moment == Before {
		here.crash()
		return nil, errBroken
	}
	response, err := t.upstream.RoundTrip(r)
	if here == nil || err != nil {
		return response, err
	}
	// The answer has begun, so the change is made.
	here.crash()
	return nil, errors.Join(errBroken, response.Body.Close())
}

// record adds the request to the recording. It returns the breakpoint that it comes to.
func (t *Tap) record(r *http.Request) *breakpoint {
	step, namespace, changes := stepOf(r)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !changes || t.namespace != "" && t.namespace != namespace {
		return nil
	}
	step.N = 1
	for slices.Contains(t.steps, step) {
		step.N++
	}
	t.steps = append(t.steps, step)
	here := t.breakAt
	if here == nil || here.step != step {
		return nil
	}
	t.breakAt = nil
	return here
}
