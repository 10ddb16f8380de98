package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const exposed = `# HELP go_goroutines Number of goroutines that currently exist.
# TYPE go_goroutines gauge
go_goroutines 97
# HELP mtls_injector_companion_reconciles_total Looks at companions by outcome.
# TYPE mtls_injector_companion_reconciles_total counter
mtls_injector_companion_reconciles_total{outcome="created"} 40
mtls_injector_companion_reconciles_total{outcome="unchanged"} 10
# TYPE took histogram
took_bucket{le="+Inf"} 3
took_sum 1.5
took_count 3
`

func TestParseMetrics(t *testing.T) {
	got, err := parseMetrics(strings.NewReader(exposed))
	require.NoError(t, err)
	assert.Equal(t, map[string]float64{metricGoroutines: 97, metricReconciles: 50, "took": 0}, got)

	_, err = parseMetrics(strings.NewReader("go_goroutines many\n"))
	assert.ErrorContains(t, err, "reading metrics: text format parsing error in line 1")
}

func TestScrape(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(exposed))
	}))
	t.Cleanup(server.Close)
	got, err := scrape(t.Context(), server.URL)
	require.NoError(t, err)
	assert.InDelta(t, 97, got[metricGoroutines], 0)

	_, err = scrape(t.Context(), server.URL+"/other")
	assert.EqualError(t, err, "asking for metrics: "+server.URL+"/other answers 404 Not Found")
	server.Close()
	_, err = scrape(t.Context(), server.URL)
	assert.ErrorContains(t, err, "asking for metrics: ")
}
