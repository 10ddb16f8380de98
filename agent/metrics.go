package agent

// What Prometheus is told. Its own client is larger than all else in the program, and with it
// the program would not fit into 16 MiB together with its probes (docs/decisions/0014-agent.md);
// so these few metrics are written here, and Prometheus' parser and linter read them in tests.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// reloadBuckets are upper bounds of the histogram, in seconds.
var reloadBuckets = [...]float64{0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30, 60}

// metrics are the values. Its zero value is that of the start.
type metrics struct {
	version string

	mu                        sync.Mutex
	notAfter, lastReload      time.Time
	valid                     bool
	failed, reloaded, refused uint64
	// within counts the reloads that took no longer than each bucket's bound.
	within  [len(reloadBuckets)]uint64
	seconds float64
}

// checked tells of a check of the files.
func (m *metrics) checked(r Report) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !r.NotAfter.IsZero() {
		m.notAfter = r.NotAfter
	}
	m.valid = len(r.Problems) == 0
	if !m.valid {
		m.failed++
	}
}

// succeeded tells of a reload; seen is when the change was seen.
func (m *metrics) succeeded(seen time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reloaded++
	m.lastReload = time.Now()
	took := time.Since(seen).Seconds()
	m.seconds += took
	for i, bound := range reloadBuckets {
		if took <= bound {
			m.within[i]++
		}
	}
}

// gaveUp tells of a reload that failed in all its attempts.
func (m *metrics) gaveUp() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refused++
}

// text returns the metrics in Prometheus' text format, version 0.0.4.
func (m *metrics) text() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b bytes.Buffer
	family := func(name, kind, help string) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
	}
	single := func(name, kind, help, value string) {
		family(name, kind, help)
		fmt.Fprintf(&b, "%s %s\n", name, value)
	}
	valid := "0"
	if m.valid {
		valid = "1"
	}
	family("mtls_agent_build_info", "gauge", "Always 1; the labels say what runs.")
	fmt.Fprintf(&b, "mtls_agent_build_info{version=%q,go_version=%q} 1\n", m.version, runtime.Version())
	single("mtls_agent_certificate_not_after_timestamp_seconds", "gauge",
		"When the certificate in the files ends, in seconds since 1970; 0 while there is none.", seconds(m.notAfter))
	single("mtls_agent_files_valid", "gauge", "1 while certificate, key and bundle are there, fit and are valid, else 0.", valid)
	single("mtls_agent_checks_failed_total", "counter", "Checks of the files that found a problem.", strconv.FormatUint(m.failed, 10))
	family("mtls_agent_reloads_total", "counter", "Reloads by result; a failure is one that failed in all its attempts.")
	fmt.Fprintf(&b, "mtls_agent_reloads_total{result=\"success\"} %d\nmtls_agent_reloads_total{result=\"failure\"} %d\n", m.reloaded, m.refused)
	single("mtls_agent_last_reload_timestamp_seconds", "gauge",
		"When the last reload succeeded, in seconds since 1970; 0 before the first.", seconds(m.lastReload))
	const took = "mtls_agent_reload_duration_seconds"
	family(took, "histogram", "From seeing that files were replaced to the signal sent or the request answered.")
	for i, bound := range reloadBuckets {
		fmt.Fprintf(&b, "%s_bucket{le=\"%g\"} %d\n", took, bound, m.within[i])
	}
	fmt.Fprintf(&b, "%s_bucket{le=\"+Inf\"} %d\n%s_sum %g\n%s_count %d\n", took, m.reloaded, took, m.seconds, took, m.reloaded)
	return b.Bytes()
}

// seconds is a time as metrics have it; 0 for none.
func seconds(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return strconv.FormatInt(t.Unix(), 10)
}

// ServeHTTP answers a scrape.
func (m *metrics) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(m.text()) // who has gone asks again
}

// serve listens at once and serves until the context ends.
func (m *metrics) serve(ctx context.Context, address string, log *slog.Logger) (stopped <-chan struct{}, err error) {
	const slow = 5 * time.Second
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serving metrics: %w; the pod's containers share their ports: take another with --metrics-address, or none", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m)
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
