package agent

import (
	"bytes"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMetrics has Prometheus' own parser and linter read what is written.
func TestMetrics(t *testing.T) {
	m := &metrics{version: `v1 "quoted" \ back`}
	notAfter := time.Unix(1_800_000_000, 0)
	m.checked(Report{Problems: []string{"a", "b"}})
	m.checked(Report{NotAfter: notAfter})
	m.checked(Report{NotAfter: notAfter, Problems: []string{"a"}})
	m.succeeded(time.Now().Add(-3 * time.Second))
	m.succeeded(time.Now().Add(-time.Hour))
	m.gaveUp()

	recorder := httptest.NewRecorder()
	m.ServeHTTP(recorder, httptest.NewRequest("GET", "/metrics", nil))
	assert.Equal(t, "text/plain; version=0.0.4; charset=utf-8", recorder.Header().Get("Content-Type"))
	text := recorder.Body.Bytes()
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	require.NoError(t, err)
	assert.Empty(t, problems)

	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	require.NoError(t, err)
	require.Len(t, families, 7)
	assert.Equal(t, `v1 "quoted" \ back`, families["mtls_agent_build_info"].Metric[0].Label[0].GetValue())
	assert.Equal(t, 1.8e9, families["mtls_agent_certificate_not_after_timestamp_seconds"].Metric[0].Gauge.GetValue())
	assert.Equal(t, 2.0, families["mtls_agent_checks_failed_total"].Metric[0].Counter.GetValue())
	assert.Zero(t, families["mtls_agent_files_valid"].Metric[0].Gauge.GetValue())
	assert.InDelta(t, time.Now().Unix(), families["mtls_agent_last_reload_timestamp_seconds"].Metric[0].Gauge.GetValue(), 60)
	results := map[string]float64{}
	for _, metric := range families["mtls_agent_reloads_total"].Metric {
		results[metric.Label[0].GetValue()] = metric.Counter.GetValue()
	}
	assert.Equal(t, map[string]float64{"success": 2, "failure": 1}, results)
	histogram := families["mtls_agent_reload_duration_seconds"].Metric[0].Histogram
	assert.Equal(t, uint64(2), histogram.GetSampleCount())
	assert.InDelta(t, 3603, histogram.GetSampleSum(), 60)
	counts := map[float64]uint64{}
	for _, bucket := range histogram.Bucket {
		counts[bucket.GetUpperBound()] = bucket.GetCumulativeCount()
	}
	assert.Equal(t, uint64(0), counts[2])
	assert.Equal(t, uint64(1), counts[60])
}
