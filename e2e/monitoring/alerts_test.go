package monitoring

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/internal/binaries"
)

const (
	alertsFile = "../../charts/mtls-injector/files/alerts.yaml"
	runbook    = "../../docs/runbook.md"
	// runbookURL is where alerts say that the runbook is, unless values say otherwise.
	runbookURL = "https://example.io/mtls-injector/docs/runbook.md"
)

// rule is a rule of a Prometheus rule file.
type rule struct {
	Record, Alert, Expr string
	Labels, Annotations map[string]string
}

type ruleFile struct {
	Groups []struct {
		Name  string
		Rules []rule
	}
}

// testFile is a file of tests for promtool.
type testFile struct {
	Tests []struct {
		Name  string
		Input []struct{ Series string } `json:"input_series"`
		Cases []struct {
			Alert    string `json:"alertname"`
			Expected []struct {
				Labels map[string]string `json:"exp_labels"`
			} `json:"exp_alerts"`
		} `json:"alert_rule_test"`
	}
}

// programs builds Prometheus once for all tests.
var programs = sync.OnceValues(func() (*binaries.Prometheus, error) {
	return binaries.EnsurePrometheus(context.Background(), clustertest.Stderr)
})

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(text, into), file)
}

// rules returns the rules that are shipped.
func rules(t *testing.T) []rule {
	t.Helper()
	var file ruleFile
	readYAML(t, alertsFile, &file)
	var all []rule
	for _, group := range file.Groups {
		all = append(all, group.Rules...)
	}
	require.NotEmpty(t, all)
	return all
}

// alerts returns those that are alerts.
func alerts(t *testing.T) []rule {
	t.Helper()
	return slices.DeleteFunc(rules(t), func(r rule) bool { return r.Alert == "" })
}

func promtool(t *testing.T, args ...string) {
	t.Helper()
	prometheus, err := programs()
	require.NoError(t, err)
	out, err := exec.CommandContext(t.Context(), prometheus.Tool, args...).CombinedOutput()
	assert.NoError(t, err, "%s", out)
}

func TestAlertsAreValid(t *testing.T) {
	promtool(t, "check", "rules", "--lint=all", "--lint-fatal", alertsFile)
}

func TestAlertsFireAndDoNot(t *testing.T) {
	for _, file := range testFiles(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			t.Parallel()
			promtool(t, "test", "rules", file)
		})
	}
}

func testFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/alerts/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

// TestEveryAlertIsTested: each alert, in each of its severities, fires in one test, and stays
// quiet in all of another that feeds it the metrics that it looks at.
func TestEveryAlertIsTested(t *testing.T) {
	var file testFile
	for _, name := range testFiles(t) {
		var one testFile
		readYAML(t, name, &one)
		file.Tests = append(file.Tests, one.Tests...)
	}
	for _, alert := range alerts(t) {
		severity := alert.Labels["severity"]
		t.Run(alert.Alert+"/"+severity, func(t *testing.T) {
			var fires, quiet []string
			looksAt := metricsOf(rules(t), alert.Expr)
			for _, test := range file.Tests {
				asked, fired := false, false
				for _, c := range test.Cases {
					if c.Alert != alert.Alert {
						continue
					}
					asked = true
					for _, expected := range c.Expected {
						fired = fired || expected.Labels["severity"] == severity
					}
				}
				fed := false
				for _, input := range test.Input {
					fed = fed || looksAt.MatchString(input.Series)
				}
				switch {
				case fired:
					fires = append(fires, test.Name)
				case asked && fed:
					quiet = append(quiet, test.Name)
				}
			}
			assert.NotEmpty(t, fires, "no test in which it fires")
			assert.NotEmpty(t, quiet, "no test in which it could fire and does not")
		})
	}
}

// metricsOf matches the series that an expression looks at, through recording rules. A name
// given as a regular expression is one here, too.
func metricsOf(all []rule, expr string) *regexp.Regexp {
	for _, r := range all {
		if r.Record != "" && strings.Contains(expr, r.Record) {
			expr += r.Expr
			expr += metricsOf(all, r.Expr).String()
		}
	}
	names := regexp.MustCompile(`\b(?:mtls_injector|certmanager|apiserver)_[a-z_|()]*[a-z]|\bup\b`).FindAllString(expr, -1)
	return regexp.MustCompile(`^(?:` + strings.Join(names, "|") + `)\b`)
}

// TestEveryAlertHasARunbook: each alert links to a section of the runbook, and each section is
// of an alert.
func TestEveryAlertHasARunbook(t *testing.T) {
	text, err := os.ReadFile(runbook)
	require.NoError(t, err)
	var sections, names []string
	for _, heading := range regexp.MustCompile(`(?m)^## (MTLS\w+)$`).FindAllStringSubmatch(string(text), -1) {
		sections = append(sections, heading[1])
	}
	for _, alert := range alerts(t) {
		names = append(names, alert.Alert)
		assert.Equal(t, runbookURL+"#"+strings.ToLower(alert.Alert), alert.Annotations["runbook_url"])
		assert.Contains(t, []string{"warning", "critical"}, alert.Labels["severity"], alert.Alert)
		assert.NotEmpty(t, alert.Annotations["summary"], alert.Alert)
		assert.NotEmpty(t, alert.Annotations["description"], alert.Alert)
	}
	assert.Equal(t, slices.Compact(names), sections, "in the order of the rule file")
}
