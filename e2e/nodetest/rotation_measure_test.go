//go:build node

package nodetest

// What agents say of themselves, and what the kernel says of them.

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

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
	for _, status := range pod.Status.InitContainerStatuses {
		if status.Name != agent {
			continue
		}
		assert.Zero(r, status.RestartCount, "the agent of %s", pod.Name)
		_, id, _ := strings.Cut(status.ContainerID, "://")
		group := cgroupOf(r, id)
		now, peak := readBytes(r, group, "memory.usage_in_bytes", "memory.current"), readBytes(r, group, "memory.max_usage_in_bytes", "memory.peak")
		r.Logf("measured: agent memory of %s: %.1f MiB now, of which %.1f MiB of its own; the most, with startup probes and the runtime, %.1f MiB of 16",
			pod.Labels["app"], mebibytes(now), mebibytes(anonymous(r, group)), mebibytes(peak))
		return
	}
	require.Fail(r, "pod has no agent", pod.Name)
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }

// cgroupOf returns a container's group in the hierarchy that counts memory.
func cgroupOf(r *rotation, id string) string {
	r.Helper()
	var found string
	for _, root := range []string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup"} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() && strings.Contains(entry.Name(), id) {
				found = path
				return fs.SkipAll
			}
			return nil // groups come and go
		})
		require.NoError(r, err)
		if found != "" {
			return found
		}
	}
	require.Fail(r, "no cgroup", id)
	return ""
}

// readBytes reads the first of the files that is there: they are those of two versions of cgroups.
func readBytes(r *rotation, group string, names ...string) int64 {
	r.Helper()
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(group, name))
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
		require.NoError(r, err)
		return n
	}
	require.Fail(r, "no such file", "%s: %q", group, names)
	return 0
}

// anonymous is memory that is no file's.
func anonymous(r *rotation, group string) int64 {
	r.Helper()
	file, err := os.Open(filepath.Join(group, "memory.stat"))
	require.NoError(r, err)
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(file)
	require.NoError(r, err)
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if fields[0] == "rss" || fields[0] == "anon" {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			require.NoError(r, err)
			return n
		}
	}
	return 0
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
