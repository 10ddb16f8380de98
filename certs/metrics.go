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
	removed         outcome = "removed"
	secretInUse     outcome = "secret-in-use"
	ownerUnverified outcome = "owner-unverified"
	terminating     outcome = "namespace-terminating"
	failed          outcome = "failed"
)

// metrics count what the controller does.
type metrics struct {
	applies      *prometheus.CounterVec
	reconciles   *prometheus.CounterVec
	restarts     *prometheus.CounterVec
	renewals     prometheus.Counter
	readySeconds prometheus.Histogram
}

// newMetrics registers the metrics, unless registerer is nil.
func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		applies: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mtls_injector_companion_applies_total",
			Help: "Writes of companion Certificates, and deletions of them and of their Secrets, by result: created, updated, removed, failed. A workload at rest causes none.",
		}, []string{"result"}),
		reconciles: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mtls_injector_companion_reconciles_total",
			Help: "Looks at a workload's companion Certificate by what they came to.",
		}, []string{"outcome"}),
		restarts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mtls_injector_companion_restarts_total",
			Help: "Restarts of workloads, asked for because a certificate was renewed, by result: updated (the pod template), failed.",
		}, []string{"result"}),
		renewals: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mtls_injector_companion_renewals_total",
			Help: "Renewals of companion Certificates that this process saw.",
		}),
		readySeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "mtls_injector_companion_ready_seconds",
			Help:    "Time from a workload's first pod to its companion Certificate being Ready.",
			Buckets: []float64{0.5, 1, 2, 5, 10, 30, 60, 300},
		}),
	}
	for _, result := range []outcome{created, updated, removed, failed} {
		m.applies.WithLabelValues(string(result))
	}
	for _, o := range []outcome{
		created, updated, unchanged, removed, secretInUse, noPod, notWanted, refused, nameTaken, ownerUnverified, terminating, failed,
	} {
		m.reconciles.WithLabelValues(string(o))
	}
	for _, result := range []outcome{updated, failed} {
		m.restarts.WithLabelValues(string(result))
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.applies, m.reconciles, m.restarts, m.renewals, m.readySeconds} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) applied(result outcome) { m.applies.WithLabelValues(string(result)).Inc() }

func (m *metrics) reconciled(o outcome) { m.reconciles.WithLabelValues(string(o)).Inc() }
