//go:build node

package nodetest

// What agents say of themselves, and what the kernel says of them.

import (
	"context"
	"fmt"
	"net/http"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

// agentMetrics scrapes a pod's agent.
func (r *rotation) agentMetrics(pod *corev1.Pod) map[string]*dto.MetricFamily {
	r.Helper()
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://"+pod.Status.PodIP+":9469/metrics", nil)
	require.NoError(r, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(r, err)
	defer func() { _ = response.Body.Close() }()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	require.NoError(r, err)
	return families
}

// checkReloads looks at the agent of the pod that is signalled, and tells how long it took.
func (r *rotation) checkReloads(pod *corev1.Pod, atLeast int) {
	r.Helper()
	families := r.agentMetrics(pod)
	results := map[string]float64{}
	for _, metric := range families["mtls_agent_reloads_total"].GetMetric() {
		results[metric.GetLabel()[0].GetValue()] = metric.GetCounter().GetValue()
	}
	assert.GreaterOrEqual(r, results["success"], float64(atLeast))
	assert.Zero(r, results["failure"])
	assert.InDelta(r, 1, families["mtls_agent_files_valid"].GetMetric()[0].GetGauge().GetValue(), 0)
	histogram := families["mtls_agent_reload_duration_seconds"].GetMetric()[0].GetHistogram()
	most := "more than a minute"
	for _, bucket := range histogram.GetBucket() {
		if bucket.GetCumulativeCount() == histogram.GetSampleCount() {
			most = fmt.Sprintf("at most %g s", bucket.GetUpperBound())
			break
		}
	}
	r.Logf("measured: reload latency, from seeing the swap to the signal, of %d reloads: %.3f s on average, %s",
		histogram.GetSampleCount(), histogram.GetSampleSum()/float64(histogram.GetSampleCount()), most)
}

// checkMemory tells what the kernel has charged an agent's container, and that it was never
// ended for it.
func (r *rotation) checkMemory(pod *corev1.Pod) {
	r.Helper()
	used := memoryOfAgent(r.T, pod)
	r.Logf("measured: agent memory of %s: %s", pod.Labels["app"], used)
}

// podOf returns the one pod of a workload that stays.
func (r *rotation) podOf(ctx context.Context, app string) *corev1.Pod {
	r.Helper()
	for _, pod := range r.pods(ctx) {
		if pod.Labels["app"] == app {
			return &pod
		}
	}
	require.Fail(r, "no pod", app)
	return nil
}
