package webhook

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var update = flag.Bool("update", false, "write the golden files")

// golden is an answer in a form for people.
type golden struct {
	HTTPStatus       int               `json:"httpStatus"`
	Body             string            `json:"body,omitempty"`
	Allowed          bool              `json:"allowed"`
	Status           *metav1.Status    `json:"status,omitempty"`
	Warnings         []string          `json:"warnings,omitempty"`
	AuditAnnotations map[string]string `json:"auditAnnotations,omitempty"`
	Patch            []json.RawMessage `json:"patch,omitempty"`
}

func goldenOf(t *testing.T, w *httptest.ResponseRecorder) golden {
	t.Helper()
	if w.Code != http.StatusOK {
		require.Contains(t, w.Header().Get("Content-Type"), "text/plain")
		return golden{HTTPStatus: w.Code, Body: w.Body.String()}
	}
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	r := decodeResponse(t, w.Body.Bytes())
	require.Equal(t, "3f9f0d1c-7c3e-4f55-9a51-6b7f0c1d2e3a", string(r.UID))
	require.Equal(t, r.Patch != nil, r.PatchType != nil)
	g := golden{HTTPStatus: w.Code, Allowed: r.Allowed, Status: r.Result, Warnings: r.Warnings, AuditAnnotations: r.AuditAnnotations}
	if r.Patch != nil {
		require.Equal(t, admissionv1.PatchTypeJSONPatch, *r.PatchType)
		require.NoError(t, json.Unmarshal(r.Patch, &g.Patch))
	}
	return g
}

// requireGolden compares with testdata/golden, or writes it with -update.
func requireGolden(t *testing.T, name string, g golden) {
	t.Helper()
	var got bytes.Buffer
	encoder := json.NewEncoder(&got)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	require.NoError(t, encoder.Encode(g))
	path := filepath.Join("testdata", "golden", strings.ReplaceAll(name, " ", "-")+".json")
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, got.Bytes(), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), got.String())
}

// assertCounted asserts that one request was counted under the label, and nothing else.
func assertCounted(t *testing.T, m *Metrics, want label) {
	t.Helper()
	for l, counter := range m.counters {
		expected := 0
		if l == want {
			expected = 1
		}
		assert.Equal(t, expected, valueOf(counter), l)
	}
	assert.Contains(t, m.counters, want)
	assert.Zero(t, valueOf(m.inFlight))
	assert.Equal(t, uint64(1), observations(t, m))
}

// valueOf is a counter's or gauge's value.
func valueOf(c prometheus.Collector) int { return int(testutil.ToFloat64(c)) }

func observations(t *testing.T, m *Metrics) uint64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(m.duration))
	families, err := registry.Gather()
	require.NoError(t, err)
	return families[0].GetMetric()[0].GetHistogram().GetSampleCount()
}
