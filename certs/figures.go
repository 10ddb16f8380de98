package certs

// The metrics of pods that are not injected.

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// figure is how many pods of a namespace are not injected, and when that was so.
type figure struct {
	pods int
	at   time.Time
}

// figures is a Collector of the leader, of what was counted last. The others have nothing
// to tell: what they counted when they led, if they ever did, says nothing of today.
type figures struct {
	mu      sync.Mutex
	leading bool
	// of has the namespaces that are opted in and were counted.
	of map[string]figure

	notInjected, lastCheck *prometheus.Desc
}

func newFigures() *figures {
	return &figures{
		of: map[string]figure{},
		notInjected: prometheus.NewDesc("mtls_injector_pods_not_injected",
			"Pods in opted-in namespaces that should be injected and are not: older than the webhook or what opts them in, or let through by failurePolicy Ignore. Namespaces without any have no series.",
			[]string{"namespace"}, nil),
		lastCheck: prometheus.NewDesc("mtls_injector_pods_not_injected_last_check_timestamp_seconds",
			"When the pods of that opted-in namespace were counted whose count is the oldest, in seconds since the epoch.",
			nil, nil),
	}
}

// lead has the figures told until the context, and with it the lead, ends.
func (f *figures) lead(ctx context.Context) error {
	f.setLeading(true)
	<-ctx.Done()
	f.setLeading(false)
	return nil
}

func (f *figures) setLeading(leading bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leading = leading
}

func (f *figures) put(namespace string, counted figure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of[namespace] = counted
}

func (f *figures) forget(namespace string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.of, namespace)
}

// Describe implements [prometheus.Collector].
func (f *figures) Describe(out chan<- *prometheus.Desc) {
	out <- f.notInjected
	out <- f.lastCheck
}

// Collect implements [prometheus.Collector].
func (f *figures) Collect(out chan<- prometheus.Metric) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.leading || len(f.of) == 0 {
		return
	}
	var oldest time.Time
	for namespace, counted := range f.of {
		if oldest.IsZero() || counted.at.Before(oldest) {
			oldest = counted.at
		}
		if counted.pods > 0 {
			out <- prometheus.MustNewConstMetric(f.notInjected, prometheus.GaugeValue, float64(counted.pods), namespace)
		}
	}
	out <- prometheus.MustNewConstMetric(f.lastCheck, prometheus.GaugeValue, float64(oldest.Unix()))
}
