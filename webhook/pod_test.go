package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"example.io/mtls-injector/intent"
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

// services are those of the namespace in the tests.
func services() []intent.Service {
	return []intent.Service{
		{Name: "cart", Selector: map[string]string{"app": "cart"}},
		{Name: "db", Selector: map[string]string{"app": "db"}, Headless: true},
		{Name: "invoices", Selector: map[string]string{"app": "invoices"}},
		{Name: "vault-client", Selector: map[string]string{"app": "vault-client"}},
	}
}

func surroundings(annotations map[string]string) Surroundings {
	return Surroundings{
		Namespace: &intent.Namespace{Name: "shop", Labels: map[string]string{"kubernetes.io/metadata.name": "shop"}, Annotations: annotations},
		Services:  services(),
	}
}

// everywhere is a Source whose cache is up to date.
func everywhere(s Surroundings) *memory {
	all := map[string]Surroundings{s.Namespace.Name: s}
	return &memory{cached: all, live: all}
}

// TestAdmission sends the pods of testdata/pods and compares the answers.
func TestAdmission(t *testing.T) {
	pods := podFiles(t)
	for name, tt := range map[string]struct {
		pod       string
		namespace map[string]string
		// lives is how often the API server may be asked.
		lives int
		label label
	}{
		"a server":                          {pod: "deployment", label: label{outcomeInjected, reasonPatched}},
		"a client":                          {pod: "client-job", label: label{outcomeInjected, reasonPatched}},
		"both with a Secret and one folder": {pod: "statefulset", label: label{outcomeInjected, reasonPatched}},
		"both and restricted":               {pod: "restricted", label: label{outcomeInjected, reasonPatched}},
		"a node agent":                      {pod: "daemonset", label: label{outcomeInjected, reasonPatched}},
		"a role of the namespace":           {pod: "bare", namespace: map[string]string{"mtls.example.io/role": "client"}, label: label{outcomeInjected, reasonPatched}},
		"a server without Service":          {pod: "bare", namespace: map[string]string{"mtls.example.io/role": "server"}, lives: 1, label: label{outcomeInjected, reasonPatched}},
		"no role":                           {pod: "bare", label: label{outcomeSkipped, "no-role"}},
		"no role but other keys":            {pod: "bare", namespace: map[string]string{"mtls.example.io/delivery": "csi"}, label: label{outcomeSkipped, "no-role"}},
		"opted out":                         {pod: "opted-out", namespace: map[string]string{"mtls.example.io/role": "client"}, label: label{outcomeSkipped, "role-none"}},
		"windows":                           {pod: "windows", label: label{outcomeSkipped, "windows"}},
		"a mirror pod":                      {pod: "mirror", label: label{outcomeSkipped, "mirror-pod"}},
		"mistakes":                          {pod: "mistaken", lives: 1, label: label{outcomeRefused, reasonInvalid}},
		"mistakes of the namespace":         {pod: "bare", namespace: map[string]string{"mtls.example.io/role": "client", "mtls.example.io/duration": "1s"}, lives: 1, label: label{outcomeRefused, reasonInvalid}},
		"names of others":                   {pod: "foreign-names", lives: 1, label: label{outcomeRefused, reasonInvalid}},
		"a conflict":                        {pod: "conflict", label: label{outcomeRefused, reasonConflict}},
	} {
		t.Run(name, func(t *testing.T) {
			source := everywhere(surroundings(tt.namespace))
			metrics := newMetrics(t)
			handler := NewPodHandler(PodOptions{Source: source, Metrics: metrics, Defaults: intent.BuiltinDefaults, Log: logr.Discard()})
			requireGolden(t, name, goldenOf(t, send(handler, reviewOf(t, pods[tt.pod]))))
			assert.Equal(t, tt.lives, source.lives, "reads of the API server")
			assertCounted(t, metrics, tt.label)
		})
	}
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

// TestAdmissionTwice: called again on its own work, the handler has nothing to add.
func TestAdmissionTwice(t *testing.T) {
	for _, name := range []string{"deployment", "client-job", "statefulset", "daemonset", "restricted"} {
		t.Run(name, func(t *testing.T) {
			metrics := newMetrics(t)
			handler := NewPodHandler(PodOptions{Source: everywhere(surroundings(nil)), Metrics: metrics, Defaults: intent.BuiltinDefaults, Log: logr.Discard()})
			review := reviewOf(t, podFiles(t)[name])
			injected := patchedObject(t, review, post(t, handler, review))
			response := post(t, handler, reviewOf(t, json.RawMessage(injected)))
			assert.True(t, response.Allowed)
			assert.Empty(t, response.Patch)
			assert.Equal(t, 1, valueOf(metrics.counters[label{outcomeInjected, reasonUnchanged}]))
		})
	}
}

// TestNamespaceOfTheRequest: the object may claim what it likes.
func TestNamespaceOfTheRequest(t *testing.T) {
	pod := podFiles(t)["deployment"]
	pod.Namespace = "kube-system"
	response := post(t, newTestHandler(t, everywhere(surroundings(nil))), reviewOf(t, pod))
	assert.Equal(t, "spiffe://cluster.local/ns/shop/sa/cart", response.AuditAnnotations["identity"])
}

// TestOddRequests are requests that bring no decision about a pod.
func TestOddRequests(t *testing.T) {
	change := func(old, now string) func(*http.Request) {
		return func(r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			text := string(body)
			if !strings.Contains(text, old) {
				panic("the fixture does not contain " + old)
			}
			setBody(r, strings.Replace(text, old, now, 1))
		}
	}
	for name, tt := range map[string]struct {
		change func(*http.Request)
		label  label
	}{
		"GET":                  {func(r *http.Request) { r.Method = http.MethodGet }, label{outcomeError, reasonBadRequest}},
		"another content type": {func(r *http.Request) { r.Header.Set("Content-Type", "application/yaml") }, label{outcomeError, reasonBadRequest}},
		"no content type":      {func(r *http.Request) { r.Header.Del("Content-Type") }, label{outcomeError, reasonBadRequest}},
		"a content type with parameter": {func(r *http.Request) {
			r.Header.Set("Content-Type", "application/json; charset=utf-8")
		}, label{outcomeInjected, reasonPatched}},
		"an empty body":            {func(r *http.Request) { setBody(r, "") }, label{outcomeError, reasonBadRequest}},
		"no JSON":                  {func(r *http.Request) { setBody(r, "hello") }, label{outcomeError, reasonBadRequest}},
		"half a body":              {func(r *http.Request) { r.Body = io.NopCloser(io.LimitReader(r.Body, 100)) }, label{outcomeError, reasonBadRequest}},
		"a body that breaks":       {func(r *http.Request) { r.Body = io.NopCloser(&broken{}) }, label{outcomeError, reasonBadRequest}},
		"a body said to be large":  {func(r *http.Request) { r.ContentLength = maxBody + 1 }, label{outcomeError, reasonTooLarge}},
		"a body that is too large": {func(r *http.Request) { setBody(r, strings.Repeat(" ", maxBody+1)); r.ContentLength = -1 }, label{outcomeError, reasonTooLarge}},
		"a body of unknown length": {func(r *http.Request) { r.ContentLength = -1 }, label{outcomeInjected, reasonPatched}},
		"v1beta1":                  {change("admission.k8s.io/v1", "admission.k8s.io/v1beta1"), label{outcomeError, reasonBadRequest}},
		"another kind of object":   {change(`"kind":{"group":"","version":"v1","kind":"Pod"}`, `"kind":{"group":"apps","version":"v1","kind":"Deployment"}`), label{outcomeError, reasonBadRequest}},
		"no namespace":             {change(`"namespace":"shop","operation"`, `"operation"`), label{outcomeError, reasonBadRequest}},
		"an update":                {change(`"operation":"CREATE"`, `"operation":"UPDATE"`), label{outcomeAllowed, reasonOperation}},
		"a subresource":            {change(`"namespace":"shop","operation"`, `"subResource":"ephemeralcontainers","namespace":"shop","operation"`), label{outcomeAllowed, reasonSubresource}},
		"an eviction": {func(r *http.Request) {
			setBody(r, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"3f9f0d1c-7c3e-4f55-9a51-6b7f0c1d2e3a",`+
				`"kind":{"group":"policy","version":"v1","kind":"Eviction"},"subResource":"eviction","name":"p","namespace":"shop","operation":"CREATE","object":{"metadata":{"name":"p"}}}}`)
		}, label{outcomeAllowed, reasonSubresource}},
		"a deletion": {func(r *http.Request) {
			setBody(r, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"3f9f0d1c-7c3e-4f55-9a51-6b7f0c1d2e3a",`+
				`"kind":{"version":"v1","kind":"Pod"},"name":"p","namespace":"shop","operation":"DELETE","object":null,"oldObject":{"metadata":{"name":"p"}}}}`)
		}, label{outcomeAllowed, reasonOperation}},
		"no object": {func(r *http.Request) {
			setBody(r, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"3f9f0d1c-7c3e-4f55-9a51-6b7f0c1d2e3a",`+
				`"kind":{"version":"v1","kind":"Pod"},"namespace":"shop","operation":"CREATE","object":null}}`)
		}, label{outcomeError, reasonBadRequest}},
		"a dry run": {change(`"dryRun":false`, `"dryRun":true`), label{outcomeInjected, reasonPatched}},
	} {
		t.Run(name, func(t *testing.T) {
			metrics := newMetrics(t)
			handler := NewPodHandler(PodOptions{Source: shop(), Metrics: metrics, Defaults: intent.BuiltinDefaults, Log: logr.Discard()})
			r := httptest.NewRequest(http.MethodPost, PodPath, nil)
			r.Header.Set("Content-Type", "application/json")
			setBody(r, string(fixture(t, "injected")))
			tt.change(r)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			requireGolden(t, "odd "+name, goldenOf(t, w))
			assertCounted(t, metrics, tt.label)
		})
	}
}

func setBody(r *http.Request, text string) {
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
}

type broken struct{}

func (*broken) Read([]byte) (int, error) { return 0, errors.New("the connection is gone") }

func TestMethodNotAllowedSaysWhatIs(t *testing.T) {
	w := httptest.NewRecorder()
	newTestHandler(t, shop()).ServeHTTP(w, httptest.NewRequest(http.MethodPut, PodPath, nil))
	assert.Equal(t, "POST", w.Header().Get("Allow"))
}

// TestStaleCache: the cache is some milliseconds late, and decisions must not be wrong for it.
func TestStaleCache(t *testing.T) {
	now := surroundings(nil)
	without := surroundings(nil)
	without.Services = nil
	other := surroundings(nil)
	other.Services = services()[2:]
	for name, tt := range map[string]struct {
		pod    string
		source *memory
		lives  int
		// dns is what the status says, allowed whether the pod is.
		dns     string
		allowed bool
	}{
		"a namespace just made": {"deployment", &memory{live: map[string]Surroundings{"shop": now}}, 1, `"dns":["cart","cart.shop",`, true},
		"a Service just made":   {"deployment", &memory{cached: map[string]Surroundings{"shop": without}, live: map[string]Surroundings{"shop": now}}, 1, `"dns":["cart","cart.shop",`, true},
		"a Service just made, besides others": {"deployment", &memory{cached: map[string]Surroundings{"shop": other}, live: map[string]Surroundings{"shop": now}},
			1, `"dns":["cart","cart.shop",`, true},
		"a Service that is known": {"deployment", &memory{cached: map[string]Surroundings{"shop": now}}, 0, `"dns":["cart","cart.shop",`, true},
		"a client needs none":     {"client-job", &memory{cached: map[string]Surroundings{"shop": without}}, 0, "", true},
		"a named Service just made": {"named-service", &memory{cached: map[string]Surroundings{"shop": without}, live: map[string]Surroundings{"shop": now}},
			1, `"dns":["cart","cart.shop",`, true},
		"a refusal that stands": {"mistaken", everywhere(now), 1, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			pods := podFiles(t)
			pods["named-service"] = pods["deployment"].DeepCopy()
			pods["named-service"].Annotations["mtls.example.io/service"] = "cart"
			response := post(t, newTestHandler(t, tt.source), reviewOf(t, pods[tt.pod]))
			assert.Equal(t, tt.allowed, response.Allowed)
			assert.Equal(t, tt.lives, tt.source.lives)
			var operations []struct {
				Path  string
				Value any
			}
			if tt.allowed {
				require.NoError(t, json.Unmarshal(response.Patch, &operations))
			}
			for _, operation := range operations {
				if operation.Path == "/metadata/annotations/mtls.example.io~1status" {
					assert.Contains(t, operation.Value, tt.dns)
				}
			}
		})
	}
}

func TestLookupFails(t *testing.T) {
	metrics := newMetrics(t)
	handler := NewPodHandler(PodOptions{Source: &memory{}, Metrics: metrics, Defaults: intent.BuiltinDefaults, Log: logr.Discard()})
	w := send(handler, fixture(t, "injected"))
	assert.Equal(t, http.StatusInternalServerError, w.Code)
	assert.Equal(t, "the API server is not there\n", w.Body.String())
	assertCounted(t, metrics, label{outcomeError, reasonLookup})
}

// TestDeadline: what the API server says in ?timeout= ends a look-up.
func TestDeadline(t *testing.T) {
	source := &memory{onLive: func(ctx context.Context) (Surroundings, error) {
		<-ctx.Done()
		return Surroundings{}, ctx.Err()
	}}
	r := httptest.NewRequest(http.MethodPost, PodPath+"?timeout=1ms", bytes.NewReader(fixture(t, "injected")))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	newTestHandler(t, source).ServeHTTP(w, r)
	assert.Equal(t, http.StatusInternalServerError, w.Code)
	assert.Equal(t, "context deadline exceeded\n", w.Body.String())
}

// TestCancelledContext: contexts of requests end when the server starts to shut down. What
// was let in is answered all the same, look-ups included.
func TestCancelledContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	source := &memory{onLive: func(ctx context.Context) (Surroundings, error) { return surroundings(nil), ctx.Err() }}
	r := httptest.NewRequest(http.MethodPost, PodPath, bytes.NewReader(fixture(t, "injected"))).WithContext(ctx)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	newTestHandler(t, source).ServeHTTP(w, r)
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	assert.Equal(t, 1, source.lives)
}

func TestRequestContext(t *testing.T) {
	later, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	passed, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for name, tt := range map[string]struct {
		query string
		ctx   context.Context
		want  time.Duration
	}{
		"none":             {"", t.Context(), 9 * time.Second},
		"as asked":         {"timeout=20s", t.Context(), 18 * time.Second},
		"among others":     {"a=b&timeout=20s&c", t.Context(), 18 * time.Second},
		"too long":         {"timeout=1h", t.Context(), 27 * time.Second},
		"negative":         {"timeout=-1s", t.Context(), 9 * time.Second},
		"no duration":      {"timeout=soon", t.Context(), 9 * time.Second},
		"no query":         {"%zz", t.Context(), 9 * time.Second},
		"a later deadline": {"timeout=20s", later, 18 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/", nil).WithContext(tt.ctx)
			r.URL.RawQuery = tt.query
			before := time.Now()
			ctx, cancel := requestContext(r)
			after := time.Now()
			defer cancel()
			deadline, ok := ctx.Deadline()
			require.True(t, ok)
			assert.False(t, deadline.Before(before.Add(tt.want)), deadline)
			assert.False(t, deadline.After(after.Add(tt.want)), deadline)
		})
	}
	t.Run("an earlier deadline", func(t *testing.T) {
		ctx, cancel := requestContext(httptest.NewRequest(http.MethodPost, "/", nil).WithContext(passed))
		defer cancel()
		assert.ErrorIs(t, ctx.Err(), context.DeadlineExceeded)
	})
}

// TestPanic: a panic is the failure of its request only, and what it said stays in the log.
func TestPanic(t *testing.T) {
	metrics := newMetrics(t)
	var log strings.Builder
	explode := true
	handler := NewPodHandler(PodOptions{
		Source: shop(), Metrics: metrics, Log: textLogger(&log, 0),
		Defaults: func() *intent.Defaults {
			if explode {
				panic("the fuse")
			}
			return intent.BuiltinDefaults()
		},
	})
	w := send(handler, fixture(t, "injected"))
	assert.Equal(t, http.StatusInternalServerError, w.Code)
	assert.Equal(t, "internal error: see the log of mtls-injector\n", w.Body.String())
	assert.Contains(t, log.String(), `"error"="panic: the fuse"`)
	assert.Contains(t, log.String(), `"uid"="3f9f0d1c-7c3e-4f55-9a51-6b7f0c1d2e3a"`)
	assert.Contains(t, log.String(), "pod_test.go", "the stack")
	assertCounted(t, metrics, label{outcomeError, reasonPanic})

	explode = false
	assert.NotEmpty(t, post(t, handler, fixture(t, "injected")).Patch)
}

// textLogger writes key="value" pairs of lines up to the verbosity.
func textLogger(w io.Writer, verbosity int) logr.Logger {
	return funcr.New(func(prefix, args string) { _, _ = io.WriteString(w, prefix+args+"\n") }, funcr.Options{Verbosity: verbosity})
}

// TestLog: one line a request, without what stands in annotations.
func TestLog(t *testing.T) {
	for name, tt := range map[string]struct {
		body      []byte
		source    Source
		verbosity int
		want      string
	}{
		"injected": {fixture(t, "injected"), shop(), 0,
			`"level"=0 "msg"="admission" "outcome"="injected" "reason"="patched" "seconds"=S "uid"="3f9f0d1c-7c3e-4f55-9a51-6b7f0c1d2e3a" "namespace"="shop" "pod"="orders-7d9c6b5f4d-"`},
		"a dry run": {bytes.Replace(fixture(t, "injected"), []byte(`"dryRun":false`), []byte(`"dryRun":true`), 1), shop(), 0,
			`"level"=0 "msg"="admission" "outcome"="injected" "reason"="patched" "seconds"=S "uid"="3f9f0d1c-7c3e-4f55-9a51-6b7f0c1d2e3a" "namespace"="shop" "pod"="orders-7d9c6b5f4d-" "dryRun"=true`},
		"skipped":                     {fixture(t, "passthrough"), shop(), 0, ``},
		"skipped, and asked for more": {fixture(t, "passthrough"), shop(), 1, `"level"=1 "msg"="admission" "outcome"="skipped" "reason"="no-role" "seconds"=S "uid"="3f9f0d1c-7c3e-4f55-9a51-6b7f0c1d2e3a" "namespace"="shop" "pod"="orders-7d9c6b5f4d-"`},
		"refused": {reviewOf(t, podFiles(t)["mistaken"]), everywhere(surroundings(nil)), 0,
			`"level"=0 "msg"="admission" "outcome"="refused" "reason"="invalid" "seconds"=S "uid"="3f9f0d1c-7c3e-4f55-9a51-6b7f0c1d2e3a" "namespace"="shop" "pod"="mistaken-" "fields"=FIELDS`},
		"not decoded": {[]byte(`{}`), shop(), 0,
			`"msg"="admission failed" "error"="reading the AdmissionReview: the body is \"\" \"\", but this webhook speaks admission.k8s.io/v1 AdmissionReview only: set admissionReviewVersions to [v1]" "outcome"="error" "reason"="bad-request" "seconds"=S`},
		"not looked up": {fixture(t, "injected"), &memory{}, 0,
			`"msg"="admission failed" "error"="the API server is not there" "outcome"="error" "reason"="lookup" "seconds"=S "uid"="3f9f0d1c-7c3e-4f55-9a51-6b7f0c1d2e3a" "namespace"="shop" "pod"="orders-7d9c6b5f4d-"`},
	} {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder
			send(NewPodHandler(PodOptions{Source: tt.source, Metrics: newMetrics(t), Defaults: intent.BuiltinDefaults, Log: textLogger(&log, tt.verbosity)}), tt.body)
			got := strings.TrimSpace(log.String())
			got = replaceAfter(got, `"seconds"=`, " ", "S")
			got = replaceAfter(got, `"fields"=`, "\n", "FIELDS")
			assert.Equal(t, tt.want, got)
			assert.NotContains(t, log.String(), "pigeon", "the value of an annotation")
		})
	}
}

// replaceAfter replaces what stands between the two marks.
func replaceAfter(text, after, before, by string) string {
	head, tail, ok := strings.Cut(text, after)
	if !ok {
		return text
	}
	_, rest, ok := strings.Cut(tail, before)
	if !ok {
		return head + after + by
	}
	return head + after + by + before + rest
}

// TestConcurrentRequests: requests share memory one after the other, never at a time.
func TestConcurrentRequests(t *testing.T) {
	handler := newTestHandler(t, everywhere(surroundings(nil)))
	pods := podFiles(t)
	want := map[string]string{}
	bodies := map[string][]byte{}
	for name, pod := range pods {
		bodies[name] = reviewOf(t, pod)
		want[name] = send(handler, bodies[name]).Body.String()
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 5 {
				for name, body := range bodies {
					assert.Equal(t, want[name], send(handler, body).Body.String())
				}
			}
		})
	}
	group.Wait()
}

// TestLargeBuffersAreNotKept: one large request must not hold its memory for ever.
func TestLargeBuffersAreNotKept(t *testing.T) {
	pod := podFiles(t)["deployment"]
	pod.Annotations["large"] = strings.Repeat("x", keptBody)
	s := new(scratch)
	h := &podHandler{scratches: sync.Pool{New: func() any { return nil }}}
	require.Nil(t, s.readBody(nil, httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(reviewOf(t, pod)))))
	h.recycle(s)
	assert.Nil(t, h.scratches.Get())
}
