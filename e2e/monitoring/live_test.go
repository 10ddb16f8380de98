package monitoring

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"example.io/mtls-injector/e2e/internal/binaries"
)

// TestLive evaluates all that is shipped on the metrics of the programs themselves.
func TestLive(t *testing.T) {
	s := newScene(t)
	t.Run("the companions' renewal windows are known by role", s.testWindows)
	t.Run("every panel of the dashboard has data", s.testPanels)
	t.Run("every variable of the dashboard has values", s.testVariables)
	t.Run("every rule is evaluated", s.testRules)
	t.Run("every selector of every rule selects something", s.testSelectors)
	t.Run("the alerts that have a reason are active", s.testAlerts)
	t.Run("a selector by usage selects nothing", s.testUsage)
	t.Run("the Prometheus Operator's API takes what the chart makes", s.testOperator)
}

// testWindows joins cert-manager's metrics, scraped without honouring labels, with ours,
// scraped honouring them.
func (s *scene) testWindows(t *testing.T) {
	want := map[string]float64{"shop/web-mtls server Deployment/web mesh-ca": 720 * 3600, "shop/sync-mtls client Deployment/sync shop-ca": 168 * 3600}
	s.await(t, "both windows", func(ctx context.Context) error {
		samples, err := s.prometheus.query(ctx, "mtls_injector:companion_renewal_window_seconds")
		if err != nil {
			return err
		}
		got := map[string]float64{}
		for _, one := range samples {
			l := one.Labels
			got[fmt.Sprintf("%s/%s %s %s/%s %s", l["namespace"], l["name"], l["role"], l["workload_kind"], l["workload"], l["issuer_name"])] = one.Value
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

func (s *scene) testPanels(t *testing.T) {
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			t.Run(p.Title+"/"+target.RefID, func(t *testing.T) {
				s.await(t, "data", func(ctx context.Context) error { return s.hasData(ctx, expand(target.Expr)) })
			})
		}
	}
}

// hasData tells whether an expression gives a number, which NaN is not.
func (s *scene) hasData(ctx context.Context, expr string) error {
	samples, err := s.prometheus.query(ctx, expr)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(samples, func(one sample) bool { return !math.IsNaN(one.Value) }) {
		return fmt.Errorf("%s gives %v", expr, samples)
	}
	return nil
}

func (s *scene) testVariables(t *testing.T) {
	parts := regexp.MustCompile(`^label_values\((\w+), (\w+)\)$`)
	for _, v := range readDashboard(t).Templating.List {
		if v.Type == "datasource" {
			continue
		}
		found := parts.FindStringSubmatch(v.Definition)
		require.NotNil(t, found, v.Name)
		var values []string
		require.NoError(t, s.prometheus.ask(t.Context(), "label/"+found[2]+"/values", url.Values{"match[]": {found[1]}}, &values))
		assert.NotEmpty(t, values, v.Name)
	}
}

func (s *scene) testRules(t *testing.T) {
	s.await(t, "all rules to be evaluated", func(ctx context.Context) error {
		var data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
		if err := s.prometheus.ask(ctx, "rules", nil, &data); err != nil {
			return err
		}
		n := 0
		for _, group := range data.Groups {
			for _, r := range group.Rules {
				n++
				if r.Health != "ok" {
					return fmt.Errorf("%s is %s: %s", r.Name, r.Health, r.LastError)
				}
			}
		}
		if want := len(rules(t)); n != want {
			return fmt.Errorf("they are %d, not %d", n, want)
		}
		return nil
	})
}

// testSelectors finds names, labels and values that no program exposes, which would leave an
// alert silent for ever.
func (s *scene) testSelectors(t *testing.T) {
	for _, r := range rules(t) {
		selectors, err := s.prometheus.selectors(t.Context(), r.Expr)
		require.NoError(t, err)
		require.NotEmpty(t, selectors)
		for _, selector := range selectors {
			t.Run(r.Record+r.Alert+"/"+r.Labels["severity"], func(t *testing.T) {
				s.await(t, "series", func(ctx context.Context) error {
					series, err := s.prometheus.query(ctx, selector)
					if err == nil && len(series) == 0 {
						err = fmt.Errorf("%s selects nothing", selector)
					}
					return err
				})
			})
		}
	}
}

func (s *scene) testAlerts(t *testing.T) {
	want := []string{"MTLSInjectorCompanionNameTaken", "MTLSInjectorFailOpen", "MTLSInjectorPodsNotInjected", "MTLSInjectorUnreachable"}
	s.await(t, "the alerts", func(ctx context.Context) error {
		active, err := s.prometheus.query(ctx, `group by (alertname) (ALERTS{alertname!="MTLSInjectorRefusalsSpiking"})`)
		if err != nil {
			return err
		}
		var got []string
		for _, one := range active {
			got = append(got, one.Labels["alertname"])
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

// testUsage: many rules on the web select by usage, a label that cert-manager's metrics do not
// have.
func (s *scene) testUsage(t *testing.T) {
	const metric = "certmanager_certificate_expiration_timestamp_seconds"
	all, err := s.prometheus.query(t.Context(), metric)
	require.NoError(t, err)
	assert.NotEmpty(t, all)
	some, err := s.prometheus.query(t.Context(), metric+`{usage="client auth"}`)
	require.NoError(t, err)
	assert.Empty(t, some)
}

// testOperator has the API server check the chart's objects against the operator's schema.
func (s *scene) testOperator(t *testing.T) {
	crds, err := binaries.PrometheusOperatorCRDs(t.Context())
	require.NoError(t, err)
	_, err = envtest.InstallCRDs(s.Config, envtest.CRDInstallOptions{Paths: []string{crds}, ErrorIfPathMissing: true})
	require.NoError(t, err)
	_, err = s.CreateNamespace(t.Context(), "monitoring", nil, nil)
	require.NoError(t, err)
	strict := client.WithFieldValidation(s.Client, metav1.FieldValidationStrict)
	for _, object := range render(t) {
		if object.GetNamespace() == "monitoring" {
			assert.NoError(t, strict.Create(t.Context(), object), object.GetKind())
		}
	}
}
