package webhook

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/stretchr/testify/assert"

	"example.io/mtls-injector/intent"
)

// TestPanic: a panic is the failure of its request only, and what it said stays in the log.
func TestPanic(t *testing.T) {
	metrics := newMetrics(t)
	var log strings.Builder
	explode := true
	handler := NewPodHandler(PodOptions{
		Source: shop(), Metrics: metrics, Log: textLogger(&log, 0),
		VerifyWorkload: believe,
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
	assert.Contains(t, log.String(), "verdict_test.go", "the stack")
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
			send(NewPodHandler(PodOptions{Source: tt.source, Metrics: newMetrics(t), Defaults: intent.BuiltinDefaults, VerifyWorkload: believe, Log: textLogger(&log, tt.verbosity)}), tt.body)
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
