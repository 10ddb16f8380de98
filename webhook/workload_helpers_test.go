package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"example.io/mtls-injector/intent"
)

// bundles are the CA bundles of a test: what is there, by namespace/name.
type bundles struct {
	there map[string]bool
	err   error
	asked atomic.Int64
}

func (b *bundles) BundleMissing(_ context.Context, namespace, name string) (bool, error) {
	b.asked.Add(1)
	return !b.there[namespace+"/"+name], b.err
}

// validated is what the handlers of workloads and Namespaces have in a test.
type validated struct {
	source   Source
	bundles  *bundles
	metrics  *Metrics
	defaults *intent.Defaults
	log      logr.Logger
}

// newValidated is the namespace of [surroundings], with its CA bundle.
func newValidated(t testing.TB) *validated {
	t.Helper()
	return &validated{
		source: everywhere(surroundings(nil)), bundles: &bundles{there: map[string]bool{"shop/mtls-ca-bundle": true}},
		metrics: newMetrics(t), defaults: intent.BuiltinDefaults(), log: logr.Discard(),
	}
}

func (v *validated) podOptions() PodOptions {
	return PodOptions{Source: v.source, Metrics: v.metrics, Defaults: func() *intent.Defaults { return v.defaults }, VerifyWorkload: believe, Log: v.log}
}

func (v *validated) workloads() http.Handler {
	return NewWorkloadHandler(WorkloadOptions{PodOptions: v.podOptions(), Bundles: v.bundles})
}

func (v *validated) namespaces() http.Handler { return NewNamespaceHandler(v.podOptions()) }

// assertCounted asserts that one validation was counted under the label, and nothing else.
func (v *validated) assertCounted(t *testing.T, kind string, want label) {
	t.Helper()
	for known, all := range validationLabels() {
		for _, l := range all {
			expected := 0
			if known == kind && l == want {
				expected = 1
			}
			assert.Equal(t, expected, valueOf(v.metrics.validations.WithLabelValues(known, l.outcome, l.reason)), "%s %v", known, l)
		}
	}
	assert.Contains(t, validationLabels()[kind], want)
	assert.Equal(t, len(validationLabels()[kindWorkload])+len(validationLabels()[kindNamespace]), testutil.CollectAndCount(v.metrics.validations))
}

// written is a request to write an object, as YAML; old is set for an update.
type written struct {
	object, old string
	change      func(*admissionv1.AdmissionRequest)
}

// review returns the AdmissionReview. As at the API server, the request's kind is the
// object's.
func (w written) review(t testing.TB) []byte {
	t.Helper()
	var object struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        struct{ Name string }
	}
	require.NoError(t, yaml.Unmarshal([]byte(w.object), &object))
	gvk := object.GroupVersionKind()
	request := &admissionv1.AdmissionRequest{
		UID:  "3f9f0d1c-7c3e-4f55-9a51-6b7f0c1d2e3a",
		Kind: metav1.GroupVersionKind{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind},
		Name: object.Metadata.Name, Namespace: "shop", Operation: admissionv1.Create,
		Object: rawOf(t, w.object), DryRun: new(false),
	}
	if w.old != "" {
		request.Operation, request.OldObject = admissionv1.Update, rawOf(t, w.old)
	}
	if w.change != nil {
		w.change(request)
	}
	data, err := json.Marshal(&admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: request,
	})
	require.NoError(t, err)
	return data
}

func rawOf(t testing.TB, text string) runtime.RawExtension {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	require.NoError(t, err)
	return runtime.RawExtension{Raw: data}
}

// told is what the one who writes the object reads.
type told struct {
	// refused is the message of the refusal, empty when there is none.
	refused  string
	warnings []string
}

func (w written) send(t testing.TB, handler http.Handler) told {
	t.Helper()
	response := post(t, handler, w.review(t))
	require.Empty(t, response.Patch)
	if response.Allowed {
		require.Nil(t, response.Result)
		return told{warnings: response.Warnings}
	}
	require.Equal(t, metav1.StatusReasonInvalid, response.Result.Reason)
	require.Equal(t, int32(http.StatusUnprocessableEntity), response.Result.Code)
	return told{response.Result.Message, response.Warnings}
}

// sendPlain posts any body to any handler, and returns the status and the text.
func sendPlain(handler http.Handler, change func(*http.Request), body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/?timeout=10s", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

// workloadOf returns a workload "cart" of the kind, behind the Service "cart", whose template
// has these annotations, in YAML's flow style.
func workloadOf(apiVersion, kind, annotations string) string {
	template := "{metadata: {labels: {app: cart}, annotations: {" + annotations + "}}, " +
		"spec: {containers: [{name: main, image: registry.example.com/cart}]}}"
	if kind == "CronJob" {
		template = "{metadata: {labels: {}}, spec: {template: " + template + "}}"
		return "{apiVersion: " + apiVersion + ", kind: CronJob, metadata: {name: cart, namespace: shop}, spec: {jobTemplate: " + template + "}}"
	}
	return "{apiVersion: " + apiVersion + ", kind: " + kind + ", metadata: {name: cart, namespace: shop}, spec: {template: " + template + "}}"
}

func deployment(annotations string) string { return workloadOf("apps/v1", "Deployment", annotations) }

const server = "mtls.example.io/role: server"
