package webhook

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/intent"
)

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
			handler := NewPodHandler(PodOptions{Source: shop(), Metrics: metrics, Defaults: intent.BuiltinDefaults, VerifyWorkload: believe, Log: logr.Discard()})
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
	assert.Equal(t, int64(1), source.lives.Load())
}

func TestLookupContext(t *testing.T) {
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
			came := time.Now().Add(-time.Minute)
			ctx, cancel := call{r, came}.lookupContext()
			defer cancel()
			deadline, ok := ctx.Deadline()
			require.True(t, ok)
			assert.Equal(t, came.Add(tt.want), deadline, "from when the request came, however long its body took")
		})
	}
	t.Run("an earlier deadline", func(t *testing.T) {
		ctx, cancel := call{httptest.NewRequest(http.MethodPost, "/", nil).WithContext(passed), time.Now()}.lookupContext()
		defer cancel()
		assert.ErrorIs(t, ctx.Err(), context.DeadlineExceeded)
	})
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
