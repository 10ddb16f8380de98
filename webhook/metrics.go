package webhook

// What is counted, and the words for it.

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.io/mtls-injector/intent"
)

// The outcomes of a request, as metrics, logs and audit annotations call them.
const (
	outcomeAllowed  = "allowed"  // nothing for us: another operation, a subresource; or a valid workload
	outcomeInjected = "injected" // an opted-in pod
	outcomeSkipped  = "skipped"  // a pod left alone, for one of intent.SkipReasons
	outcomeRefused  = "refused"  // what may not be made as it is
	outcomeWarned   = "warned"   // a workload or Namespace that is wrong, but not to be refused
	outcomeError    = "error"    // no decision: the API server's failurePolicy decides
)

// The reasons that go with the outcomes; those of skipped are intent.SkipReasons.
const (
	reasonOperation   = "operation"
	reasonSubresource = "subresource"

	reasonValid      = "valid"
	reasonOff        = "off"         // by the configuration
	reasonOwned      = "owned"       // a workload that another one's controller made
	reasonNoTemplate = "no-template" // a custom object that makes no pods

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

// The kinds of objects that are validated, as metrics and logs call them.
const (
	kindWorkload  = "workload"
	kindNamespace = "namespace"
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

// validationLabels lists the same for the validation of workloads and Namespaces.
func validationLabels() map[string][]label {
	common := []label{
		{outcomeAllowed, reasonValid},
		{outcomeAllowed, reasonOff},
		{outcomeAllowed, reasonOperation},
		{outcomeAllowed, reasonSubresource},
		{outcomeWarned, reasonInvalid},
		{outcomeRefused, reasonInvalid},
		{outcomeError, reasonBadRequest},
		{outcomeError, reasonTooLarge},
		{outcomeError, reasonEncode},
		{outcomeError, reasonPanic},
	}
	workload := []label{
		{outcomeAllowed, reasonOwned},
		{outcomeAllowed, reasonNoTemplate},
		{outcomeWarned, reasonConflict},
		{outcomeRefused, reasonConflict},
		{outcomeError, reasonLookup},
	}
	for reason := range intent.SkipReasons() {
		workload = append(workload, label{outcomeSkipped, string(reason)})
	}
	return map[string][]label{kindNamespace: common, kindWorkload: slices.Concat(common, workload)}
}

// Metrics counts what the handlers did: the first three the pods', the last one the others'.
// The series are
//
//	mtls_injector_admissions_total{outcome,reason}
//	mtls_injector_admission_duration_seconds
//	mtls_injector_admissions_in_flight
//	mtls_injector_validations_total{kind,outcome,reason}
type Metrics struct {
	total    *prometheus.CounterVec
	counters map[label]prometheus.Counter
	duration prometheus.Histogram
	inFlight prometheus.Gauge

	validations *prometheus.CounterVec
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
		validations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mtls_injector_validations_total",
			Help: "Validations of workloads and Namespaces by what became of them (allowed, skipped, warned, refused, error) and why.",
		}, []string{"kind", "outcome", "reason"}),
	}
	for _, c := range []prometheus.Collector{m.total, m.duration, m.inFlight, m.validations} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	all := labels()
	m.counters = make(map[label]prometheus.Counter, len(all))
	for _, l := range all {
		m.counters[l] = m.total.WithLabelValues(l.outcome, l.reason)
	}
	for kind, all := range validationLabels() {
		for _, l := range all {
			m.validations.WithLabelValues(kind, l.outcome, l.reason)
		}
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

// countValidation records a validation that is over.
func (m *Metrics) countValidation(kind string, l label) {
	m.validations.WithLabelValues(kind, l.outcome, l.reason).Inc()
}
