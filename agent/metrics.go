package agent

// What Prometheus is told.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	resultSuccess = "success"
	resultFailure = "failure"
)

type metrics struct {
	registry   *prometheus.Registry
	notAfter   prometheus.Gauge
	valid      prometheus.Gauge
	failed     prometheus.Counter
	reloads    *prometheus.CounterVec
	lastReload prometheus.Gauge
	duration   prometheus.Histogram
}

func newMetrics(version string) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		notAfter: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mtls_agent_certificate_not_after_timestamp_seconds",
			Help: "When the certificate in the files ends, in seconds since 1970; 0 while there is none.",
		}),
		valid: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mtls_agent_files_valid",
			Help: "1 while certificate, key and bundle are there, fit and are valid, else 0.",
		}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mtls_agent_checks_failed_total",
			Help: "Checks of the files that found a problem.",
		}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mtls_agent_reloads_total",
			Help: "Reloads by result; a failure is one that failed in all its attempts.",
		}, []string{"result"}),
		lastReload: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mtls_agent_last_reload_timestamp_seconds",
			Help: "When the last reload succeeded, in seconds since 1970; 0 before the first.",
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "mtls_agent_reload_duration_seconds",
			Help:    "From seeing that files were replaced to the signal sent or the request answered.",
			Buckets: []float64{0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30, 60},
		}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "mtls_agent_build_info", Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()},
	})
	info.Set(1)
	for _, result := range []string{resultSuccess, resultFailure} {
		m.reloads.WithLabelValues(result) // present from the start, at 0
	}
	m.registry.MustRegister(m.notAfter, m.valid, m.failed, m.reloads, m.lastReload, m.duration, info)
	return m
}

// checked tells of a check of the files.
func (m *metrics) checked(r Report) {
	if !r.NotAfter.IsZero() {
		m.notAfter.Set(float64(r.NotAfter.Unix()))
	}
	if len(r.Problems) > 0 {
		m.valid.Set(0)
		m.failed.Inc()
		return
	}
	m.valid.Set(1)
}

// reloaded tells of a reload that succeeded; seen is when the change was seen.
func (m *metrics) reloaded(seen time.Time) {
	m.reloads.WithLabelValues(resultSuccess).Inc()
	m.lastReload.SetToCurrentTime()
	m.duration.Observe(time.Since(seen).Seconds())
}

// serve listens at once and serves until the context ends.
func (m *metrics) serve(ctx context.Context, address string, log *slog.Logger) (stopped <-chan struct{}, err error) {
	const slow = 5 * time.Second
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serving metrics: %w; the pod's containers share their ports: take another with --metrics-address, or none", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		// Memory is small: a few scrapers are enough.
		MaxRequestsInFlight: 2, DisableCompression: true,
	}))
	server := &http.Server{
		Handler: mux, ReadTimeout: slow, WriteTimeout: slow, IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("serving metrics ended", "error", err)
		}
	}()
	context.AfterFunc(ctx, func() { _ = server.Close() }) // a scrape that is cut is tried again
	return done, nil
}
