package webhook

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"example.io/mtls-injector/intent"
)

// TestOddValidations are requests that bring no decision. The failurePolicy has to decide
// then, so the answer must be no AdmissionReview.
func TestOddValidations(t *testing.T) {
	body := func(text string) func(*http.Request) {
		return func(r *http.Request) { setBody(r, text) }
	}
	asked := func(change func(*admissionv1.AdmissionRequest)) func(*http.Request) {
		return body(string(written{object: deployment(server), change: change}.review(t)))
	}
	for name, tt := range map[string]struct {
		change func(*http.Request)
		code   int
		text   string
		label  label
	}{
		"GET":                     {func(r *http.Request) { r.Method = http.MethodGet }, http.StatusMethodNotAllowed, "method GET: only POST is answered", label{outcomeError, reasonBadRequest}},
		"another content type":    {func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, http.StatusUnsupportedMediaType, `content type "text/plain": only application/json is answered`, label{outcomeError, reasonBadRequest}},
		"a body said to be large": {func(r *http.Request) { r.ContentLength = maxBody + 1 }, http.StatusRequestEntityTooLarge, "the body has more than 7340032 bytes", label{outcomeError, reasonTooLarge}},
		"a body that breaks":      {func(r *http.Request) { r.Body = io.NopCloser(&broken{}) }, http.StatusBadRequest, "reading the body:", label{outcomeError, reasonBadRequest}},
		"no JSON":                 {body("hello"), http.StatusBadRequest, "reading the AdmissionReview:", label{outcomeError, reasonBadRequest}},
		"no review":               {body("{}"), http.StatusBadRequest, "this webhook speaks admission.k8s.io/v1 AdmissionReview only", label{outcomeError, reasonBadRequest}},
		"no object": {asked(func(r *admissionv1.AdmissionRequest) { r.Object = runtime.RawExtension{} }), http.StatusBadRequest,
			"the request writes an object, but holds none", label{outcomeError, reasonBadRequest}},
		"an object of another form": {asked(func(r *admissionv1.AdmissionRequest) { r.Object.Raw = []byte(`{"metadata":7}`) }), http.StatusBadRequest,
			"reading metadata: ", label{outcomeError, reasonBadRequest}},
		"a template of another form": {asked(func(r *admissionv1.AdmissionRequest) {
			r.Object.Raw = []byte(`{"spec":{"template":{"spec":{"containers":[{}],"serviceAccountName":7}}}}`)
		}), http.StatusBadRequest, "reading spec.template: ", label{outcomeError, reasonBadRequest}},
		"no namespace": {asked(func(r *admissionv1.AdmissionRequest) { r.Namespace = "" }), http.StatusBadRequest,
			"the request writes a workload, but names no namespace", label{outcomeError, reasonBadRequest}},
		"a namespace that cannot be read": {asked(func(r *admissionv1.AdmissionRequest) { r.Namespace = "away" }), http.StatusInternalServerError,
			"the API server is not there", label{outcomeError, reasonLookup}},
	} {
		t.Run(name, func(t *testing.T) {
			v := newValidated(t)
			w := sendPlain(v.workloads(), tt.change, written{object: deployment(server)}.review(t))
			assert.Equal(t, tt.code, w.Code)
			assert.Contains(t, w.Body.String(), tt.text)
			assert.Contains(t, w.Header().Get("Content-Type"), "text/plain")
			v.assertCounted(t, kindWorkload, tt.label)
		})
	}
}

// TestPanicOfAValidation: it is the failure of its request only, and what it said stays in
// the log.
func TestPanicOfAValidation(t *testing.T) {
	v := newValidated(t)
	var log strings.Builder
	v.log, v.defaults = textLogger(&log, 0), nil
	w := sendPlain(v.workloads(), nil, written{object: deployment(server)}.review(t))
	assert.Equal(t, http.StatusInternalServerError, w.Code)
	assert.Equal(t, "internal error: see the log of mtls-injector\n", w.Body.String())
	assert.Contains(t, log.String(), `"msg"="validation failed" "error"="panic: runtime error: invalid memory address or nil pointer dereference"`)
	assert.Contains(t, log.String(), `"uid"="3f9f0d1c-7c3e-4f55-9a51-6b7f0c1d2e3a"`)
	assert.Contains(t, log.String(), "workloads.go", "the stack")
	v.assertCounted(t, kindWorkload, label{outcomeError, reasonPanic})
}

// TestLogOfValidations: one line a request, without what stands in annotations.
func TestLogOfValidations(t *testing.T) {
	const request = `"seconds"=S "uid"="3f9f0d1c-7c3e-4f55-9a51-6b7f0c1d2e3a" "kind"="Deployment" "namespace"="shop" "name"="cart"`
	dryRun := func(r *admissionv1.AdmissionRequest) { r.DryRun = new(true) }
	wrong := deployment("mtls.example.io/role: pigeon")
	for name, tt := range map[string]struct {
		written   written
		mode      intent.Mode
		verbosity int
		want      string
	}{
		"right":                     {written{object: deployment(server)}, intent.ModeEnforce, 0, ""},
		"right, and asked for more": {written{object: deployment(server)}, intent.ModeEnforce, 1, `"level"=1 "msg"="validation" "of"="workload" "outcome"="allowed" "reason"="valid" ` + request},
		"skipped":                   {written{object: deployment("")}, intent.ModeEnforce, 0, ""},
		"refused": {written{object: wrong}, intent.ModeEnforce, 0,
			`"level"=0 "msg"="validation" "of"="workload" "outcome"="refused" "reason"="invalid" ` + request + ` "fields"=["spec.template.metadata.annotations[mtls.example.io/role]"]`},
		"warned": {written{object: wrong, change: dryRun}, intent.ModeWarn, 0,
			`"level"=0 "msg"="validation" "of"="workload" "outcome"="warned" "reason"="invalid" ` + request + ` "dryRun"=true "fields"=["spec.template.metadata.annotations[mtls.example.io/role]"]`},
		"failed": {written{object: deployment(server), change: func(r *admissionv1.AdmissionRequest) { r.Namespace = "away" }}, intent.ModeEnforce, 0,
			`"msg"="validation failed" "error"="the API server is not there" "of"="workload" "outcome"="error" "reason"="lookup" ` + strings.Replace(request, "shop", "away", 1)},
	} {
		t.Run(name, func(t *testing.T) {
			v := newValidated(t)
			var log strings.Builder
			v.log, v.defaults.Workloads = textLogger(&log, tt.verbosity), tt.mode
			sendPlain(v.workloads(), nil, tt.written.review(t))
			assert.Equal(t, tt.want, replaceAfter(strings.TrimSpace(log.String()), `"seconds"=`, " ", "S"))
			assert.NotContains(t, log.String(), "pigeon", "the value of an annotation")
		})
	}
}

// TestStrangeTextOfValidations: whatever stands in an annotation, the refusal arrives.
func TestStrangeTextOfValidations(t *testing.T) {
	for _, text := range []string{`"`, `\`, "\u2028<&>", "\t\n\x00", "ü😀", strings.Repeat("x", 5000)} {
		v := newValidated(t)
		review := written{object: deployment("mtls.example.io/role: sever"), change: func(r *admissionv1.AdmissionRequest) {
			r.Object.Raw = bytes.ReplaceAll(r.Object.Raw, []byte(`"sever"`), []byte(quote(t, text)))
		}}
		response := post(t, v.workloads(), review.review(t))
		require.False(t, response.Allowed)
		assert.Len(t, response.Result.Details.Causes, 1)
	}
}

// TestLookingForBundles: only where a ConfigMap is to be mounted.
func TestLookingForBundles(t *testing.T) {
	const missing = `ConfigMap "trust" with the CA bundle does not exist in namespace "shop", and pods do not start without it: have trust-manager write it there`
	for name, tt := range map[string]struct {
		annotations string
		err         error
		asked       int64
		want        []string
		logged      string
	}{
		"the usual one":        {server, nil, 1, nil, ""},
		"another, missing":     {server + ", mtls.example.io/ca-bundle: trust", nil, 1, []string{missing}, ""},
		"not to be known":      {server + ", mtls.example.io/ca-bundle: trust", errors.New("too busy"), 1, nil, `"msg"="cannot tell whether the CA bundle exists" "error"="too busy"`},
		"a ClusterTrustBundle": {server + ", mtls.example.io/ca-bundle: ClusterTrustBundle/roots", nil, 0, nil, ""},
		"no role":              {"", nil, 0, nil, ""},
		"refused anyway":       {"mtls.example.io/role: sever", nil, 0, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			v := newValidated(t)
			var log strings.Builder
			v.bundles.err, v.log = tt.err, textLogger(&log, 0)
			assert.Equal(t, tt.want, written{object: deployment(tt.annotations)}.send(t, v.workloads()).warnings)
			assert.Equal(t, tt.asked, v.bundles.asked.Load())
			assert.Contains(t, log.String(), tt.logged)
			assert.Equal(t, tt.logged != "" || tt.annotations == "mtls.example.io/role: sever", log.String() != "")
		})
	}
}

// FuzzValidation sends anything at all. Nothing is refused but what could be read, and
// nothing is wrong with us.
func FuzzValidation(f *testing.F) {
	for _, annotations := range []string{server, "mtls.example.io/role: sever", "mtls.example.io/service: 'a,b'"} {
		f.Add(written{object: deployment(annotations)}.review(f))
		f.Add(written{object: workloadOf("batch/v1", "CronJob", annotations), old: deployment("")}.review(f))
	}
	f.Add(written{object: "{apiVersion: v1, kind: Namespace, metadata: {name: n, annotations: {mtls.example.io/role: sever}}}"}.review(f))
	f.Add([]byte(reviewText(`{"metadata":{}}`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		v := newValidated(t)
		for _, handler := range []http.Handler{v.workloads(), v.namespaces()} {
			w := sendPlain(handler, nil, data)
			switch w.Code {
			case http.StatusOK:
				response := decodeResponse(t, w.Body.Bytes())
				require.True(t, response.Allowed || response.Result.Code == http.StatusUnprocessableEntity)
			case http.StatusInternalServerError:
				require.Equal(t, "the API server is not there\n", w.Body.String())
			default:
				require.Equal(t, http.StatusBadRequest, w.Code)
			}
		}
	})
}
