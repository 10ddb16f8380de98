package webhook

// The server around the handlers: certificate, protocols, readiness, and the way to stop.

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	"example.io/mtls-injector/intent"
)

// ServerOptions say where and with what certificate the webhook is served.
type ServerOptions struct {
	// Host and Port to listen on; an empty host is every address.
	Host string
	Port int
	// Certificate is where the serving certificate comes from. When nil it comes from files:
	// CertDir holds it and its key, PEM files of the names below, as a mounted Secret of type
	// kubernetes.io/tls does. They are read again when they change.
	Certificate                CertificateSource
	CertDir, CertName, KeyName string
	// HTTP2 offers HTTP/2 besides HTTP/1.1.
	HTTP2 bool
}

// Server serves the webhook: controller-runtime's server with TLS 1.3, a certificate that
// may change while it runs, readiness that means something, and a way to stop without
// losing requests. Give Hooks to the manager, and call SetupWithManager on it.
type Server struct {
	hooks       ctrlwebhook.Server
	mux         *http.ServeMux
	certificate CertificateSource
	draining    atomic.Bool
	// bodyTimeout is how long after its headers a request's body may take to come.
	bodyTimeout time.Duration
}

// NewServer reads the certificate for the first time if it comes from files, so it returns
// an error when that is missing or wrong. It does not listen yet.
func NewServer(opts ServerOptions) (*Server, error) {
	s := &Server{mux: http.NewServeMux(), certificate: opts.Certificate, bodyTimeout: maxTimeout}
	if s.certificate == nil {
		files, err := newCertificateFiles(opts.CertDir, opts.CertName, opts.KeyName)
		if err != nil {
			return nil, err
		}
		s.certificate = files
	}
	s.hooks = ctrlwebhook.NewServer(ctrlwebhook.Options{
		Host: opts.Host, Port: opts.Port,
		// Handlers go into the mux directly: Register would wrap them in metrics of
		// controller-runtime's that say less than ours and cost more.
		WebhookMux: s.mux,
		TLSOpts:    []func(*tls.Config){s.configureTLS(opts.HTTP2)},
	})
	return s, nil
}

// configureTLS asks for TLS 1.3, which every Kubernetes in support speaks.
//
// HTTP/2 used to be turned off in webhooks because a client could make a server work on
// streams that it had reset already (CVE-2023-44487, CVE-2023-39325). Since Go 1.21.3 the
// server runs no more handlers at a time than a connection may have streams, so it
// is safe to offer. The API server speaks it with webhooks that it reaches by URL on
// localhost; with those behind a Service it asks for HTTP/1.1, to spread its requests
// over the replicas (kubernetes/kubernetes#75791).
func (s *Server) configureTLS(http2 bool) func(*tls.Config) {
	return func(c *tls.Config) {
		c.MinVersion = tls.VersionTLS13
		c.GetCertificate = s.certificate.GetCertificate
		c.NextProtos = []string{"http/1.1"}
		if http2 {
			c.NextProtos = []string{"h2", "http/1.1"}
		}
	}
}

// Hooks is the server as the manager wants it.
func (s *Server) Hooks() ctrlwebhook.Server { return s.hooks }

// Options are what the webhook works with. Every field is needed.
type Options struct {
	// Defaults returns the configuration in force, or nil when there is none yet.
	Defaults func() *intent.Defaults
	// VerifyWorkload is for [PodOptions].
	VerifyWorkload func(ctx context.Context, pod *intent.Pod, named bool) (*field.Error, error)
	Registerer     prometheus.Registerer
	Log            logr.Logger
}

// SetupWithManager has the manager run the server, its certificate's watch and the
// informers that it needs, and answer for its health. The manager's cache should be
// configured with [CacheByObject].
func (s *Server) SetupWithManager(ctx context.Context, mgr manager.Manager, opts Options) error {
	cluster, err := NewCluster(ctx, mgr.GetCache(), mgr.GetAPIReader())
	if err != nil {
		return err
	}
	metrics, err := NewMetrics(opts.Registerer)
	if err != nil {
		return fmt.Errorf("webhook metrics: %w", err)
	}
	if err := opts.Registerer.Register(newExpiry(s.certificate)); err != nil {
		return fmt.Errorf("webhook metrics: %w", err)
	}
	pods := PodOptions{Source: cluster, Metrics: metrics, Defaults: opts.Defaults, VerifyWorkload: opts.VerifyWorkload, Log: opts.Log}
	s.handle(PodPath, NewPodHandler(pods))
	s.handle(WorkloadPath, NewWorkloadHandler(WorkloadOptions{PodOptions: pods, Bundles: cluster}))
	s.handle(NamespacePath, NewNamespaceHandler(pods))
	mgr.GetWebhookServer() // adds it to what the manager runs
	if err := mgr.Add(s.certificate); err != nil {
		return fmt.Errorf("serving certificate: %w", err)
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	for name, check := range s.readiness(cluster.Synced, opts.Defaults) {
		if err := mgr.AddReadyzCheck(name, check); err != nil {
			return err
		}
	}
	return nil
}

// handle serves a path. While draining it asks clients to close their connection, which
// for HTTP/2 becomes a GOAWAY, so that they come back to another replica, and none sends a
// request just when the server hangs up.
//
// No request holds memory for a body that does not come: its deadline is the longest that
// an API server waits. controller-runtime's server has deadlines of its own for headers
// (32 s) and idle connections (90 s), and none for bodies.
func (s *Server) handle(path string, handler http.Handler) {
	s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		// It fails only for a writer that is no connection's.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.bodyTimeout))
		if s.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		handler.ServeHTTP(w, r)
	})
}

// readiness returns the checks that must all hold before the API server may send requests.
func (s *Server) readiness(synced func() bool, defaults func() *intent.Defaults) map[string]healthz.Checker {
	return map[string]healthz.Checker{
		"caches": check(synced, "Namespaces and Services are not all known yet"),
		"configuration": check(func() bool { return defaults() != nil },
			"no configuration is loaded"),
		"certificate": func(*http.Request) error { return s.checkCertificate(time.Now()) },
		"server":      s.hooks.StartedChecker(),
		"serving":     check(func() bool { return !s.draining.Load() }, "the server is about to stop"),
	}
}

func check(ok func() bool, otherwise string) healthz.Checker {
	return func(*http.Request) error {
		if ok() {
			return nil
		}
		return errors.New(otherwise)
	}
}

// Drain returns the context that the manager should run with. When ctx ends the server
// says at once that it is not ready, and serves on for the delay, in which the cluster
// learns to send requests elsewhere; then the returned context ends, and the server
// answers what it has begun.
func (s *Server) Drain(ctx context.Context, delay time.Duration) context.Context {
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		s.draining.Store(true)
		time.AfterFunc(delay, stop)
	})
	return run
}
