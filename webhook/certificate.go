package webhook

// The serving certificate: where it comes from, whether it is good, and until when.

import (
	"crypto/tls"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// CertificateSource is where the serving certificate comes from.
type CertificateSource interface {
	// Runnable keeps the certificate fresh. It should also be a
	// [manager.LeaderElectionRunnable] that needs no election.
	manager.Runnable
	// GetCertificate returns the certificate in use, for [tls.Config]. Its Leaf is set.
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Trusted returns why API servers do not accept the certificate, for another reason than
	// its lifetime. It returns nil when that is not known.
	Trusted() error
}

// certificateFiles are read again when they change. Whether API servers trust what they hold
// is the business of those who wrote them.
type certificateFiles struct{ *certwatcher.CertWatcher }

func newCertificateFiles(dir, cert, key string) (*certificateFiles, error) {
	watcher, err := certwatcher.New(filepath.Join(dir, cert), filepath.Join(dir, key))
	if err != nil {
		return nil, fmt.Errorf("serving certificate: %w", err)
	}
	return &certificateFiles{watcher}, nil
}

// Trusted implements [CertificateSource].
func (*certificateFiles) Trusted() error { return nil }

// checkCertificate reports a serving certificate that the API server would not accept.
func (s *Server) checkCertificate(now time.Time) error {
	loaded, err := s.certificate.GetCertificate(nil)
	switch {
	case err != nil:
		return fmt.Errorf("serving certificate: %w", err)
	case loaded == nil || loaded.Leaf == nil:
		return errors.New("no serving certificate is loaded")
	case now.Before(loaded.Leaf.NotBefore):
		return fmt.Errorf("the serving certificate is not valid before %s", loaded.Leaf.NotBefore.Format(time.RFC3339))
	case now.After(loaded.Leaf.NotAfter):
		return fmt.Errorf("the serving certificate expired at %s", loaded.Leaf.NotAfter.Format(time.RFC3339))
	default:
		return s.certificate.Trusted()
	}
}

// expiry is a collector that says until when the certificate in use is valid. Without one it
// says nothing, rather than that it expired in 1970.
type expiry struct {
	source CertificateSource
	desc   *prometheus.Desc
}

func newExpiry(source CertificateSource) *expiry {
	return &expiry{source, prometheus.NewDesc("mtls_injector_serving_certificate_not_after_timestamp_seconds",
		"End of the lifetime of the webhook's serving certificate in use, in seconds since the epoch.", nil, nil)}
}

// Describe implements [prometheus.Collector].
func (e *expiry) Describe(out chan<- *prometheus.Desc) { out <- e.desc }

// Collect implements [prometheus.Collector].
func (e *expiry) Collect(out chan<- prometheus.Metric) {
	if loaded, err := e.source.GetCertificate(nil); err == nil && loaded != nil && loaded.Leaf != nil {
		out <- prometheus.MustNewConstMetric(e.desc, prometheus.GaugeValue, float64(loaded.Leaf.NotAfter.Unix()))
	}
}
