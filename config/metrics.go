package config

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics tell how the reloads go and which configuration is in force, so that replicas
// that disagree stand out.
type metrics struct {
	reloads    *prometheus.CounterVec
	successful prometheus.Gauge
	loaded     prometheus.Gauge
	info       *prometheus.GaugeVec
}

const (
	resultSuccess = "success"
	resultFailure = "failure"
)

// newMetrics registers the metrics, unless registerer is nil.
func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mtls_injector_config_reloads_total",
			Help: "Readings of a new or changed configuration file by result, the one at the start included.",
		}, []string{"result"}),
		successful: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mtls_injector_config_last_reload_successful",
			Help: "1 when the configuration file as it is now is in force, 0 when an older one is because the file is wrong.",
		}),
		loaded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mtls_injector_config_last_reload_success_timestamp_seconds",
			Help: "When the configuration in force was loaded, in seconds since 1970.",
		}),
		info: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mtls_injector_config_info",
			Help: "Always 1; the label is the beginning of the SHA-256 of the configuration file in force, or builtin.",
		}, []string{"hash"}),
	}
	for _, result := range []string{resultSuccess, resultFailure} {
		m.reloads.WithLabelValues(result) // present from the start, at 0
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.reloads, m.successful, m.loaded, m.info} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) succeeded(hash string) {
	m.reloads.WithLabelValues(resultSuccess).Inc()
	m.successful.Set(1)
	m.loaded.SetToCurrentTime()
	m.info.Reset()
	m.info.WithLabelValues(hash).Set(1)
}

func (m *metrics) failed() {
	m.reloads.WithLabelValues(resultFailure).Inc()
	m.successful.Set(0)
}
