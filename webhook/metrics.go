package webhook

// What is counted, and the words for it.

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.io/mtls-injector/intent"
)

// The outcomes of a request, as metrics, logs and audit annotations call them.
const (
	outcomeAllowed  = "allowed"  // nothing for us: another operation, a subresource
	outcomeInjected = "injected" // an opted-in pod
	outcomeSkipped  = "skipped"  // a pod left alone, for one of intent.SkipReasons
	outcomeRefused  = "refused"  // a pod that may not be made as it is
	outcomeError    = "error"    // no decision: the API server's failurePolicy decides
)

// The reasons that go with the outcomes; those of skipped are intent.SkipReasons.
const (
	reasonOperation   = "operation"
	reasonSubresource = "subresource"

	reasonPatched   = "patched"
	reasonUnchanged = "unchanged" // called again, and all was there

	reasonInvalid  = "invalid"  // by its annotations
	reasonConflict = "conflict" // by what else stands in the pod

	reasonBadRequest = "bad-request"
	reasonTooLarge   = "too-large"
	reasonLookup     = "lookup" // Namespace or Services could not be read
	reasonEncode     = "encode"
	reasonPanic      = "panic"
)

type label struct{ outcome, reason string }

// labels lists every pair that can occur, so that all series exist from the start.
func labels() []label {
	all := []label{
		{outcomeAllowed, reasonOperation},
		{outcomeAllowed, reasonSubresource},
		{outcomeInjected, reasonPatched},
		{outcomeInjected, reasonUnchanged},
		{outcomeRefused, reasonInvalid},
		{outcomeRefused, reasonConflict},
		{outcomeError, reasonBadRequest},
		{outcomeError, reasonTooLarge},
		{outcomeError, reasonLookup},
		{outcomeError, reasonEncode},
		{outcomeError, reasonPanic},
	}
	for reason := range intent.SkipReasons() {
		all = append(all, label{outcomeSkipped, string(reason)})
	}
	return all
}

// Metrics counts what the handler did. The series are
//
//	mtls_injector_admissions_total{outcome,reason}
//	mtls_injector_admission_duration_seconds
//	mtls_injector_admissions_in_flight
type Metrics struct {
	total    *prometheus.CounterVec
	counters map[label]prometheus.Counter
	duration prometheus.Histogram
	inFlight prometheus.Gauge
}

// NewMetrics makes the metrics and registers them. It returns an error when the registerer
// has metrics of these names already.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mtls_injector_admissions_total",
			Help: "Admission requests by what became of them (allowed, injected, skipped, refused, error) and why.",
		}, []string{"outcome", "reason"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mtls_injector_admission_duration_seconds",
			Help: "Time from the start of an admission request to the end of its answer.",
			// From the fastest answer out of the cache to the longest timeout of a webhook.
			Buckets: []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 10, 30},
		}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mtls_injector_admissions_in_flight",
			Help: "Admission requests being answered now.",
		}),
	}
	for _, c := range []prometheus.Collector{m.total, m.duration, m.inFlight} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	all := labels()
	m.counters = make(map[label]prometheus.Counter, len(all))
	for _, l := range all {
		m.counters[l] = m.total.WithLabelValues(l.outcome, l.reason)
	}
	return m, nil
}

// count records a request that is over.
func (m *Metrics) count(l label, took time.Duration) {
	if counter, ok := m.counters[l]; ok {
		counter.Inc()
	} else {
		m.total.WithLabelValues(l.outcome, l.reason).Inc()
	}
	m.duration.Observe(took.Seconds())
}
