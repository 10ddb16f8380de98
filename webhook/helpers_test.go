package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"example.io/mtls-injector/intent"
)

// TestMain silences what libraries log: net/http tells of every handshake that is refused.
func TestMain(m *testing.M) {
	ctrllog.SetLogger(logr.Discard())
	log.SetOutput(io.Discard)
	m.Run()
}

// memory is a Source that holds what a test puts in: cached by namespace, and what the
// API server would say. Live fails for namespaces that it does not have.
type memory struct {
	cached, live map[string]Surroundings
	// lives counts the calls of Live.
	lives atomic.Int64
	// onLive, when set, is called in place of looking live up.
	onLive func(context.Context) (Surroundings, error)
	// taken are the Secrets, as namespace/name, that are somebody else's.
	taken map[string]bool
	// secrets counts the calls of SecretTaken; onSecret is called first when set.
	secrets  atomic.Int64
	onSecret func(context.Context) error
}

func (m *memory) Cached(namespace string) (Surroundings, bool) {
	found, ok := m.cached[namespace]
	return found, ok
}

func (m *memory) Live(ctx context.Context, namespace string) (Surroundings, error) {
	m.lives.Add(1)
	if m.onLive != nil {
		return m.onLive(ctx)
	}
	if found, ok := m.live[namespace]; ok {
		return found, nil
	}
	return Surroundings{}, errors.New("the API server is not there")
}

func (m *memory) SecretTaken(ctx context.Context, namespace, name string) (bool, error) {
	m.secrets.Add(1)
	if m.onSecret != nil {
		if err := m.onSecret(ctx); err != nil {
			return false, err
		}
	}
	return m.taken[namespace+"/"+name], nil
}

// shop is a Source with the namespace of the fixtures, in which one Service selects
// their pod.
func shop() *memory {
	return &memory{cached: map[string]Surroundings{"shop": {
		Namespace: &intent.Namespace{Name: "shop", Labels: map[string]string{"kubernetes.io/metadata.name": "shop"}},
		Services: []intent.Service{
			{Name: "invoices", Selector: map[string]string{"app.kubernetes.io/name": "invoices"}},
			{Name: "orders", Selector: map[string]string{"app.kubernetes.io/name": "orders"}},
		},
	}}}
}

// believe takes every pod's word for its workload.
func believe(context.Context, *intent.Pod, bool) (*field.Error, error) { return nil, nil }

func newMetrics(t testing.TB) *Metrics {
	t.Helper()
	m, err := NewMetrics(prometheus.NewRegistry())
	require.NoError(t, err)
	return m
}

func newTestHandler(t testing.TB, source Source) http.Handler {
	t.Helper()
	return NewPodHandler(PodOptions{Source: source, Metrics: newMetrics(t), Defaults: intent.BuiltinDefaults, VerifyWorkload: believe, Log: logr.Discard()})
}

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "reviews", name+".json"))
	require.NoError(t, err)
	return data
}

// send posts a body as the API server does.
func send(handler http.Handler, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, PodPath+"?timeout=10s", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

// post sends a review and returns the decision.
func post(t testing.TB, handler http.Handler, body []byte) *admissionv1.AdmissionResponse {
	t.Helper()
	w := send(handler, body)
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	return decodeResponse(t, w.Body.Bytes())
}

func decodeResponse(t testing.TB, body []byte) *admissionv1.AdmissionResponse {
	t.Helper()
	var review admissionv1.AdmissionReview
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(&review))
	require.Equal(t, "admission.k8s.io/v1", review.APIVersion)
	require.Equal(t, "AdmissionReview", review.Kind)
	require.NotNil(t, review.Response)
	return review.Response
}

// patchedObject applies the patch of a response to the object of its request.
func patchedObject(t testing.TB, body []byte, response *admissionv1.AdmissionResponse) []byte {
	t.Helper()
	var review admissionv1.AdmissionReview
	require.NoError(t, json.Unmarshal(body, &review))
	require.True(t, response.Allowed)
	require.Equal(t, admissionv1.PatchTypeJSONPatch, *response.PatchType)
	patch, err := jsonpatch.DecodePatch(response.Patch)
	require.NoError(t, err)
	patched, err := patch.Apply(review.Request.Object.Raw)
	require.NoError(t, err)
	return patched
}
