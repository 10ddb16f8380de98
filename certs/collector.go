package certs

// Metrics of every companion, made from the cache when they are asked for, so that none
// outlives its companion.

import (
	"context"
	"sync/atomic"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// collector is a Collector of the leader: the others have no companions in their cache.
type collector struct {
	cached  client.Reader
	taken   func() int
	leading atomic.Bool
	// patience is how long the cache may take.
	patience time.Duration

	states, notAfter *prometheus.Desc
}

func newCollector(cached client.Reader, taken func() int) *collector {
	return &collector{
		cached: cached, taken: taken, patience: 2 * time.Second,
		states: prometheus.NewDesc("mtls_injector_companions",
			"Companion Certificates by state: ready, pending, failed, and those that cannot be for somebody has their name (name-taken).",
			[]string{"state"}, nil),
		notAfter: prometheus.NewDesc("mtls_injector_companion_not_after_timestamp_seconds",
			"End of a companion Certificate's lifetime, in seconds since the epoch.",
			[]string{"namespace", "name", "role", "workload_kind", "workload"}, nil),
	}
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	out <- c.states
	out <- c.notAfter
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(out chan<- prometheus.Metric) {
	if !c.leading.Load() {
		return
	}
	// The cache answers at once, unless it cannot be filled: then it would answer never, and
	// keep all other metrics waiting.
	ctx, cancel := context.WithTimeout(context.Background(), c.patience)
	defer cancel()
	var list cmapi.CertificateList
	// Nor are the other metrics to fail while cert-manager is not installed.
	if err := c.cached.List(ctx, &list, client.UnsafeDisableDeepCopy); ctx.Err() != nil || meta.IsNoMatchError(err) {
		return
	} else if err != nil {
		out <- prometheus.NewInvalidMetric(c.states, err)
		return
	}
	counts := map[State]int{StateReady: 0, StatePending: 0, StateFailed: 0, StateTaken: c.taken()}
	for i := range list.Items {
		cert := &list.Items[i]
		if !isCompanion(cert) {
			continue
		}
		counts[StateOf(cert)]++
		if end := cert.Status.NotAfter; end != nil {
			l := cert.Labels
			out <- prometheus.MustNewConstMetric(c.notAfter, prometheus.GaugeValue, float64(end.Unix()),
				cert.Namespace, cert.Name, l[LabelRole], l[LabelWorkloadKind], l[LabelWorkload])
		}
	}
	for s, n := range counts {
		out <- prometheus.MustNewConstMetric(c.states, prometheus.GaugeValue, float64(n), string(s))
	}
}
