package monitoring

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/helm"
)

const chart = "../../charts/mtls-injector"

// template renders the chart with all that it has for monitoring.
func template(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cli, err := helm.New(t.Context(), "", t.TempDir(), clustertest.Stderr)
	require.NoError(t, err)
	return cli.Run(t.Context(), append([]string{"template", "mtls-injector", chart, "--namespace=mtls", "--values=testdata/chart/values.yaml"}, args...)...)
}

// render is template, as objects.
func render(t *testing.T, args ...string) []*unstructured.Unstructured {
	t.Helper()
	text, err := template(t, args...)
	require.NoError(t, err)
	var objects []*unstructured.Unstructured
	for document := range strings.SplitSeq("\n"+text, "\n---\n") {
		object := &unstructured.Unstructured{}
		require.NoError(t, yaml.Unmarshal([]byte(document), &object.Object))
		if object.Object != nil {
			objects = append(objects, object)
		}
	}
	return objects
}

// one renders and returns the only object of a kind in the namespace monitoring.
func one(t *testing.T, kind string, args ...string) *unstructured.Unstructured {
	t.Helper()
	found := all(t, kind, args...)
	require.Len(t, found, 1)
	return found[0]
}

// all renders and returns the objects of a kind in the namespace monitoring, by name.
func all(t *testing.T, kind string, args ...string) []*unstructured.Unstructured {
	t.Helper()
	var found []*unstructured.Unstructured
	for _, object := range render(t, args...) {
		if object.GetKind() == kind && object.GetNamespace() == "monitoring" {
			found = append(found, object)
		}
	}
	slices.SortFunc(found, func(a, b *unstructured.Unstructured) int { return strings.Compare(a.GetName(), b.GetName()) })
	return found
}

func TestChartMonitors(t *testing.T) {
	var want []map[string]any
	readYAML(t, "testdata/chart/monitors.yaml", &want)
	var got []map[string]any
	for _, object := range append(all(t, "PodMonitor"), one(t, "ServiceMonitor")) {
		got = append(got, object.Object)
	}
	assert.Empty(t, cmp.Diff(want, got))
}

// TestChartRule: what is shipped is the file that is tested, to the letter.
func TestChartRule(t *testing.T) {
	var want map[string]any
	readYAML(t, alertsFile, &want)
	object := one(t, "PrometheusRule")
	assert.Empty(t, cmp.Diff(want, object.Object["spec"]))
	assert.Equal(t, "alert-rules", object.GetLabels()["role"])
}

func TestChartRuleVariations(t *testing.T) {
	object := one(t, "PrometheusRule", "--set=metrics.prometheusRule.alertLabels.team=platform,metrics.prometheusRule.alertLabels.severity=page",
		"--set=metrics.prometheusRule.runbookUrl=https://wiki.example.com/mtls,metrics.prometheusRule.disabledAlerts={MTLSInjectorWebhookErrors,MTLSInjectorSlow}")
	spec, err := yaml.Marshal(object.Object["spec"])
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(file, spec, 0o600))
	promtool(t, "check", "rules", file)

	want := rules(t)
	kept := want[:0]
	for _, r := range want {
		if r.Alert == "MTLSInjectorWebhookErrors" || r.Alert == "MTLSInjectorSlow" {
			continue
		}
		if r.Alert != "" {
			r.Labels["team"] = "platform"
			r.Annotations["runbook_url"] = "https://wiki.example.com/mtls#" + strings.ToLower(r.Alert)
		}
		kept = append(kept, r)
	}
	var got ruleFile
	require.NoError(t, yaml.Unmarshal(spec, &got))
	var all []rule
	for _, group := range got.Groups {
		all = append(all, group.Rules...)
	}
	assert.Empty(t, cmp.Diff(kept, all))
}

func TestChartRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ set, want string }{
		"an alert that there is not": {
			"metrics.prometheusRule.disabledAlerts={MTLSInjectorSlwo}",
			`metrics.prometheusRule.disabledAlerts: there is no alert "MTLSInjectorSlwo"`,
		},
		"a PodMonitor for agents without metrics": {
			"config.agent.metricsPort=0",
			"metrics.agentPodMonitor.enabled: there is nothing to scrape with config.agent.metricsPort 0",
		},
		"a ServiceMonitor without a Service": {
			"metrics.service.enabled=false",
			"metrics.serviceMonitor.enabled: there is nothing to scrape without metrics.service.enabled; use metrics.podMonitor",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := template(t, "--set="+tc.set)
			assert.ErrorContains(t, err, ": "+tc.want+"\n")
		})
	}
}

func TestChartDashboard(t *testing.T) {
	want, err := os.ReadFile(dashboardFile)
	require.NoError(t, err)
	object := one(t, "ConfigMap")
	got, _, err := unstructured.NestedStringMap(object.Object, "data")
	require.NoError(t, err)
	assert.Empty(t, cmp.Diff(map[string]string{"mtls-injector.json": strings.TrimSuffix(string(want), "\n")}, got))
	assert.Equal(t, "mtls-injector-dashboard", object.GetName())
	assert.Equal(t, "1", object.GetLabels()["grafana_dashboard"])
	assert.Equal(t, map[string]string{"grafana_folder": "mTLS"}, object.GetAnnotations())
}
