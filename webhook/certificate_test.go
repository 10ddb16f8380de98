package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCheckCertificate(t *testing.T) {
	day := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	dir := t.TempDir()
	writeCertificate(t, dir, 1, day, day.Add(24*time.Hour))
	server, err := NewServer(ServerOptions{CertDir: dir, CertName: "tls.crt", KeyName: "tls.key"})
	require.NoError(t, err)
	assert.NoError(t, server.checkCertificate(day.Add(time.Hour)))
	assert.EqualError(t, server.checkCertificate(day.Add(-time.Hour)), "the serving certificate is not valid before 2026-03-02T00:00:00Z")
	assert.EqualError(t, server.checkCertificate(day.Add(25*time.Hour)), "the serving certificate expired at 2026-03-03T00:00:00Z")
}

// made is a source in the test's hands.
type made struct {
	certificate *tls.Certificate
	err         error
	untrusted   error
}

func (m *made) Start(ctx context.Context) error { <-ctx.Done(); return nil }
func (m *made) NeedLeaderElection() bool        { return false }
func (m *made) Trusted() error                  { return m.untrusted }

func (m *made) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return m.certificate, m.err
}

// TestCertificateSource: a source of another kind takes the place of the files, and its word
// counts.
func TestCertificateSource(t *testing.T) {
	dir := t.TempDir()
	leaf := writeValidCertificate(t, dir, 1)
	source := &made{}
	server, err := NewServer(ServerOptions{Certificate: source, CertDir: "/nowhere"})
	require.NoError(t, err)
	now := time.Now()
	assert.EqualError(t, server.checkCertificate(now), "no serving certificate is loaded")
	source.err = errors.New("not yet")
	assert.EqualError(t, server.checkCertificate(now), "serving certificate: not yet")
	source.err, source.certificate = nil, &tls.Certificate{Leaf: leaf}
	assert.NoError(t, server.checkCertificate(now))
	source.untrusted = errors.New("nobody trusts it")
	assert.EqualError(t, server.checkCertificate(now), "nobody trusts it")
	assert.EqualError(t, server.checkCertificate(leaf.NotAfter.Add(time.Hour)), "the serving certificate expired at "+leaf.NotAfter.Format(time.RFC3339))
}

// TestExpiry: the metric is that of the certificate in use, and none where there is none.
func TestExpiry(t *testing.T) {
	const name = "mtls_injector_serving_certificate_not_after_timestamp_seconds"
	series := func(notAfter time.Time) string {
		return fmt.Sprintf("# HELP %s End of the lifetime of the webhook's serving certificate in use, in seconds since the epoch.\n"+
			"# TYPE %s gauge\n%s %d\n", name, name, name, notAfter.Unix())
	}
	dir, day := t.TempDir(), time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	writeCertificate(t, dir, 1, day, day.Add(24*time.Hour))
	files, err := newCertificateFiles(dir, "tls.crt", "tls.key")
	require.NoError(t, err)
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(newExpiry(files)))
	assert.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(series(day.Add(24*time.Hour)))))
	writeCertificate(t, dir, 2, day, day.Add(48*time.Hour))
	require.NoError(t, files.ReadCertificate())
	assert.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(series(day.Add(48*time.Hour)))))

	for name, source := range map[string]*made{"none": {}, "an error": {err: errors.New("not yet")}} {
		registry := prometheus.NewPedanticRegistry()
		require.NoError(t, registry.Register(newExpiry(source)))
		families, err := registry.Gather()
		require.NoError(t, err, name)
		assert.Empty(t, families, name)
	}
}
