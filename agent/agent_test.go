package agent_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/agent"
)

// fakeReloader hands each reload to the test, which answers.
type fakeReloader struct {
	before bool
	calls  chan chan error
}

func newFakeReloader() *fakeReloader { return &fakeReloader{calls: make(chan chan error)} }

func (f *fakeReloader) RanBefore(context.Context) bool { return f.before }
func (f *fakeReloader) String() string                 { return "a reload" }
func (f *fakeReloader) Reload(ctx context.Context) error {
	answer := make(chan error)
	select {
	case f.calls <- answer:
		return <-answer
	case <-ctx.Done():
		return ctx.Err()
	}
}

// answer waits for a reload and answers it.
func (f *fakeReloader) answer(t *testing.T, err error) {
	t.Helper()
	select {
	case answer := <-f.calls:
		answer <- err
	case <-t.Context().Done():
	case <-time.After(time.Minute):
		t.Fatal("no reload within a minute")
	}
}

// buffer is a log that is read while it is written.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// running is an agent that a test has started.
type running struct {
	t       *testing.T
	log     *buffer
	address string
	stop    context.CancelFunc
	ended   chan error
}

// start runs an agent that looks often.
func start(t *testing.T, files agent.Files, reloader agent.Reloader, change func(*agent.Options)) *running {
	t.Helper()
	r := &running{t: t, log: &buffer{}, address: freeAddress(t), ended: make(chan error, 1)}
	opts := agent.Options{
		Files: files, Reloader: reloader, MetricsAddress: r.address, StartTimeout: time.Minute, Version: "v1",
		Log: slog.New(slog.NewJSONHandler(io.MultiWriter(r.log, t.Output()), nil)),
		// Events alone are to do it: looking from time to time is never.
		Intervals: agent.Intervals{Start: time.Hour, Poll: time.Hour, Quiet: time.Millisecond, Retry: time.Millisecond},
	}
	if change != nil {
		change(&opts)
	}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(t.Context())
	go func() { r.ended <- agent.Run(ctx, opts) }()
	t.Cleanup(func() { r.stop(); <-r.ended })
	return r
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, listener.Close()) }()
	return listener.Addr().String()
}

// metric returns the value of a metric; empty if it is not there.
func (r *running) metric(name string) string {
	response, err := http.Get("http://" + r.address + "/metrics")
	if err != nil {
		return ""
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (r *running) waitFor(what string, f func() bool) {
	r.t.Helper()
	require.Eventually(r.t, f, time.Minute, 5*time.Millisecond, what)
}

func (r *running) waitForMetric(name, value string) {
	r.t.Helper()
	r.waitFor(name+" "+value, func() bool { return r.metric(name) == value })
}

func TestStartGuard(t *testing.T) {
	s := newScene(t)
	r := start(t, s.files(), nil, nil)
	r.waitForMetric("mtls_agent_checks_failed_total", "1")
	assert.Equal(t, "0", r.metric("mtls_agent_files_valid"))
	assert.Contains(t, r.log.String(), s.server.path+" is empty: its files have not been written")

	s.trust.write(map[string][]byte{"ca.crt": certPEM(s.ca.cert)})
	cert := s.issue(nil)
	r.waitForMetric("mtls_agent_files_valid", "1")
	assert.NotEqual(t, "0", r.metric("mtls_agent_certificate_not_after_timestamp_seconds"))
	assert.NotEmpty(t, cert.NotAfter)
	assert.Equal(t, "1", r.metric(`mtls_agent_build_info{version="v1",go_version="`+runtime.Version()+`"}`))
	assert.Equal(t, "0", r.metric(`mtls_agent_reloads_total{result="success"}`))
	r.stop()
	require.NoError(t, <-r.ended)
	r.ended <- nil
	assert.Empty(t, r.metric("mtls_agent_files_valid"), "nothing listens any more")
}

func TestStartTimeout(t *testing.T) {
	dir := t.TempDir()
	err := agent.Run(t.Context(), agent.Options{
		Files:        agent.Files{Cert: dir + "/tls.crt", Key: dir + "/tls.key"},
		StartTimeout: time.Millisecond, Log: slog.New(slog.DiscardHandler),
	})
	require.ErrorContains(t, err, "the files were not right within 1ms:\n"+dir+" is empty: ")
}

func TestReload(t *testing.T) {
	s := newScene(t)
	s.issue(nil)
	reloader := newFakeReloader()
	r := start(t, s.files(), reloader, nil)
	r.waitForMetric("mtls_agent_files_valid", "1")
	// The folders are watched once they have been looked at again.
	const success = `mtls_agent_reloads_total{result="success"}`

	s.issue(nil)
	reloader.answer(t, nil)
	r.waitForMetric(success, "1")
	assert.NotEqual(t, "0", r.metric("mtls_agent_last_reload_timestamp_seconds"))
	assert.Equal(t, "1", r.metric("mtls_agent_reload_duration_seconds_count"))

	// Another bundle.
	s.trust.write(map[string][]byte{"ca.crt": certPEM(newAuthority(t, "next", nil).cert, s.ca.cert)})
	reloader.answer(t, nil)
	r.waitForMetric(success, "2")

	// The same contents again, and then bad ones: nobody is told.
	cert, err := os.ReadFile(s.server.file("tls.crt"))
	require.NoError(t, err)
	key, err := os.ReadFile(s.server.file("tls.key"))
	require.NoError(t, err)
	s.server.write(map[string][]byte{"tls.crt": cert, "tls.key": key})
	s.server.write(map[string][]byte{"tls.crt": cert, "tls.key": keyPEM(t, newKey(t))})
	r.waitForMetric("mtls_agent_files_valid", "0")
	assert.Contains(t, r.log.String(), "does not belong to the certificate")

	// Back to what the program has: nothing to do. Then another one.
	s.server.write(map[string][]byte{"tls.crt": cert, "tls.key": key})
	r.waitForMetric("mtls_agent_files_valid", "1")
	assert.Equal(t, "2", r.metric(success))
	s.issue(nil)
	reloader.answer(t, nil)
	r.waitForMetric(success, "3")
	assert.Equal(t, "0", r.metric(`mtls_agent_reloads_total{result="failure"}`))
}

func TestReloadIsRetried(t *testing.T) {
	s := newScene(t)
	s.issue(nil)
	reloader := newFakeReloader()
	r := start(t, s.files(), reloader, func(o *agent.Options) { o.Intervals.Poll = 50 * time.Millisecond })
	r.waitForMetric("mtls_agent_files_valid", "1")
	const success, failure = `mtls_agent_reloads_total{result="success"}`, `mtls_agent_reloads_total{result="failure"}`

	wrong := errors.New("no such luck")
	s.issue(nil)
	for range 4 {
		reloader.answer(t, wrong)
	}
	assert.Equal(t, "0", r.metric(failure))
	reloader.answer(t, wrong) // the last of one round
	r.waitForMetric(failure, "1")
	reloader.answer(t, wrong) // the first of the next
	reloader.answer(t, nil)
	r.waitForMetric(success, "1")
	assert.Equal(t, "1", r.metric(failure))
	assert.Contains(t, r.log.String(), `"msg":"the reload failed","reload":"a reload","attempt":5,"error":"no such luck"`)
	assert.Contains(t, r.log.String(), `"msg":"the program has not been told of the new files, trying again later"`)
}

// TestReloadOfBadFiles has files that become bad between two attempts.
func TestReloadOfBadFiles(t *testing.T) {
	s := newScene(t)
	s.issue(nil)
	reloader := newFakeReloader()
	r := start(t, s.files(), reloader, nil)
	r.waitForMetric("mtls_agent_files_valid", "1")
	s.issue(nil)
	answer := <-reloader.calls
	s.issue(func(c *x509.Certificate) { c.DNSNames = nil })
	answer <- errors.New("not now")
	r.waitForMetric("mtls_agent_files_valid", "0")
	s.issue(nil)
	reloader.answer(t, nil)
	r.waitForMetric(`mtls_agent_reloads_total{result="success"}`, "1")
}

// TestStartedAgain has an agent that was away while files may have been replaced.
func TestStartedAgain(t *testing.T) {
	s := newScene(t)
	s.issue(nil)
	reloader := newFakeReloader()
	reloader.before = true
	r := start(t, s.files(), reloader, nil)
	reloader.answer(t, nil)
	r.waitForMetric(`mtls_agent_reloads_total{result="success"}`, "1")
}

// TestLateFolder has a folder that is not there at first: it is found from time to time.
func TestLateFolder(t *testing.T) {
	s := newScene(t)
	s.issue(nil)
	moved := s.server.path + "-moved"
	require.NoError(t, os.Rename(s.server.path, moved))
	t.Cleanup(func() { _ = os.RemoveAll(moved) })
	r := start(t, s.files(), nil, func(o *agent.Options) { o.Intervals.Start = 10 * time.Millisecond })
	r.waitFor("it is told", func() bool { return strings.Contains(r.log.String(), "does not exist: mount the volume") })
	require.NoError(t, os.Rename(moved, s.server.path))
	r.waitForMetric("mtls_agent_files_valid", "1")
	assert.Equal(t, 1, strings.Count(r.log.String(), "does not exist"), "each outcome is told once")
}

func TestMetricsAddressIsTaken(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	err = agent.Run(t.Context(), agent.Options{MetricsAddress: listener.Addr().String(), Log: slog.New(slog.DiscardHandler)})
	require.ErrorContains(t, err, "serving metrics: listen tcp")
	require.ErrorContains(t, err, "address already in use; the pod's containers share their ports: take another")
}
