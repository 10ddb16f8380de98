package certs

import (
	"github.com/prometheus/client_golang/prometheus"
)

// outcome is what a reconcile came to; the words are labels of the metrics.
type outcome string

const (
	created         outcome = "created"
	updated         outcome = "updated"
	unchanged       outcome = "unchanged"
	noPod           outcome = "no-pod"
	notWanted       outcome = "not-wanted"
	refused         outcome = "refused"
	nameTaken       outcome = "name-taken"
	ownerUnverified outcome = "owner-unverified"
	terminating     outcome = "namespace-terminating"
	failed          outcome = "failed"
)

// metrics count what the controller does.
type metrics struct {
	applies    *prometheus.CounterVec
	reconciles *prometheus.CounterVec
}

// newMetrics registers the metrics, unless registerer is nil.
func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		applies: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mtls_injector_companion_applies_total",
			Help: "Writes of companion Certificates by result: created, updated, failed. A workload at rest causes none.",
		}, []string{"result"}),
		reconciles: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mtls_injector_companion_reconciles_total",
			Help: "Looks at a workload's companion Certificate by what they came to.",
		}, []string{"outcome"}),
	}
	for _, result := range []outcome{created, updated, failed} {
		m.applies.WithLabelValues(string(result))
	}
	for _, o := range []outcome{
		created, updated, unchanged, noPod, notWanted, refused, nameTaken, ownerUnverified, terminating, failed,
	} {
		m.reconciles.WithLabelValues(string(o))
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.applies, m.reconciles} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) applied(result outcome) { m.applies.WithLabelValues(string(result)).Inc() }

func (m *metrics) reconciled(o outcome) { m.reconciles.WithLabelValues(string(o)).Inc() }
