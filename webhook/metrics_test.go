package webhook

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/intent"
)

func TestMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	m, err := NewMetrics(registry)
	require.NoError(t, err)
	m.inFlight.Inc()
	m.count(label{outcomeInjected, reasonPatched}, 3*time.Millisecond)
	m.count(label{outcomeInjected, reasonPatched}, 30*time.Microsecond)
	m.count(label{outcomeSkipped, string(intent.SkipWindows)}, time.Minute)

	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP mtls_injector_admissions_in_flight Admission requests being answered now.
# TYPE mtls_injector_admissions_in_flight gauge
mtls_injector_admissions_in_flight 1
# HELP mtls_injector_admissions_total Admission requests by what became of them (allowed, injected, skipped, refused, error) and why.
# TYPE mtls_injector_admissions_total counter
mtls_injector_admissions_total{outcome="allowed",reason="operation"} 0
mtls_injector_admissions_total{outcome="allowed",reason="subresource"} 0
mtls_injector_admissions_total{outcome="error",reason="bad-request"} 0
mtls_injector_admissions_total{outcome="error",reason="encode"} 0
mtls_injector_admissions_total{outcome="error",reason="lookup"} 0
mtls_injector_admissions_total{outcome="error",reason="panic"} 0
mtls_injector_admissions_total{outcome="error",reason="too-large"} 0
mtls_injector_admissions_total{outcome="injected",reason="patched"} 2
mtls_injector_admissions_total{outcome="injected",reason="unchanged"} 0
mtls_injector_admissions_total{outcome="refused",reason="conflict"} 0
mtls_injector_admissions_total{outcome="refused",reason="invalid"} 0
mtls_injector_admissions_total{outcome="skipped",reason="mirror-pod"} 0
mtls_injector_admissions_total{outcome="skipped",reason="no-role"} 0
mtls_injector_admissions_total{outcome="skipped",reason="role-none"} 0
mtls_injector_admissions_total{outcome="skipped",reason="windows"} 1
`), "mtls_injector_admissions_in_flight", "mtls_injector_admissions_total"))
	assert.Equal(t, uint64(3), observations(t, m))

	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	assert.Equal(t, []promlint.Problem(nil), problems)
}

// TestMetricsOfValidations: all series are there from the start.
func TestMetricsOfValidations(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	m, err := NewMetrics(registry)
	require.NoError(t, err)
	m.countValidation(kindWorkload, label{outcomeSkipped, string(intent.SkipRoleNone)})
	m.countValidation(kindNamespace, label{outcomeRefused, reasonInvalid})
	m.countValidation(kindNamespace, label{outcomeRefused, reasonInvalid})

	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP mtls_injector_validations_total Validations of workloads and Namespaces by what became of them (allowed, skipped, warned, refused, error) and why.
# TYPE mtls_injector_validations_total counter
mtls_injector_validations_total{kind="namespace",outcome="allowed",reason="off"} 0
mtls_injector_validations_total{kind="namespace",outcome="allowed",reason="operation"} 0
mtls_injector_validations_total{kind="namespace",outcome="allowed",reason="subresource"} 0
mtls_injector_validations_total{kind="namespace",outcome="allowed",reason="valid"} 0
mtls_injector_validations_total{kind="namespace",outcome="error",reason="bad-request"} 0
mtls_injector_validations_total{kind="namespace",outcome="error",reason="encode"} 0
mtls_injector_validations_total{kind="namespace",outcome="error",reason="panic"} 0
mtls_injector_validations_total{kind="namespace",outcome="error",reason="too-large"} 0
mtls_injector_validations_total{kind="namespace",outcome="refused",reason="invalid"} 2
mtls_injector_validations_total{kind="namespace",outcome="warned",reason="invalid"} 0
mtls_injector_validations_total{kind="workload",outcome="allowed",reason="no-template"} 0
mtls_injector_validations_total{kind="workload",outcome="allowed",reason="off"} 0
mtls_injector_validations_total{kind="workload",outcome="allowed",reason="operation"} 0
mtls_injector_validations_total{kind="workload",outcome="allowed",reason="owned"} 0
mtls_injector_validations_total{kind="workload",outcome="allowed",reason="subresource"} 0
mtls_injector_validations_total{kind="workload",outcome="allowed",reason="valid"} 0
mtls_injector_validations_total{kind="workload",outcome="error",reason="bad-request"} 0
mtls_injector_validations_total{kind="workload",outcome="error",reason="encode"} 0
mtls_injector_validations_total{kind="workload",outcome="error",reason="lookup"} 0
mtls_injector_validations_total{kind="workload",outcome="error",reason="panic"} 0
mtls_injector_validations_total{kind="workload",outcome="error",reason="too-large"} 0
mtls_injector_validations_total{kind="workload",outcome="refused",reason="conflict"} 0
mtls_injector_validations_total{kind="workload",outcome="refused",reason="invalid"} 0
mtls_injector_validations_total{kind="workload",outcome="skipped",reason="mirror-pod"} 0
mtls_injector_validations_total{kind="workload",outcome="skipped",reason="no-role"} 0
mtls_injector_validations_total{kind="workload",outcome="skipped",reason="role-none"} 1
mtls_injector_validations_total{kind="workload",outcome="skipped",reason="windows"} 0
mtls_injector_validations_total{kind="workload",outcome="warned",reason="conflict"} 0
mtls_injector_validations_total{kind="workload",outcome="warned",reason="invalid"} 0
`), "mtls_injector_validations_total"))
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	assert.Empty(t, problems)
}

// TestMetricsOfANewReason: a reason that the list forgot is counted all the same.
func TestMetricsOfANewReason(t *testing.T) {
	m := newMetrics(t)
	m.count(label{outcomeSkipped, "full-moon"}, 0)
	assert.Equal(t, 1, valueOf(m.total.WithLabelValues(outcomeSkipped, "full-moon")))
}

func TestMetricsTwice(t *testing.T) {
	registry := prometheus.NewRegistry()
	_, err := NewMetrics(registry)
	require.NoError(t, err)
	_, err = NewMetrics(registry)
	assert.EqualError(t, err, "duplicate metrics collector registration attempted")
}
