package webhook

// The handler: from the request to the verdict.

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

// PodPath is where the pod handler is served.
const PodPath = "/mutate-v1-pod"

// PodOptions are what the pod handler works with. Every field is needed.
type PodOptions struct {
	Source  Source
	Metrics *Metrics
	// Defaults returns the configuration in force. It is called once a request.
	Defaults func() *intent.Defaults
	// VerifyWorkload asks the API server whether a pod is of the workload that it says it
	// is of; named says that the pod is to get the workload's name, too. It returns what is
	// wrong with the pod, or an error when it cannot be told.
	VerifyWorkload func(ctx context.Context, pod *intent.Pod, named bool) (*field.Error, error)
	Log            logr.Logger
}

// NewPodHandler returns the handler of [PodPath]: mutating admission of v1 Pods.
//
// A decision is an AdmissionReview with HTTP status 200, whether the pod is injected,
// left alone or refused; a refusal carries a Status of 422 Invalid with a cause for each
// problem. When there is no decision, because the request makes no sense (400, 405,
// 408, 413, 415) or its namespace cannot be read (500), the status says so, the body says why in
// plain text, and the webhook's failurePolicy decides.
func NewPodHandler(opts PodOptions) http.Handler {
	return &podHandler{PodOptions: opts, scratches: sync.Pool{New: func() any { return new(scratch) }}}
}

type podHandler struct {
	PodOptions
	scratches sync.Pool
}

// ServeHTTP implements [http.Handler].
func (h *podHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	h.Metrics.inFlight.Inc()
	defer h.Metrics.inFlight.Dec()

	s, _ := h.scratches.Get().(*scratch)
	v := h.serve(s, w, call{r, started})
	v.write(w, s.out)
	if v.reason != reasonPanic { // which may have left anything behind
		h.recycle(s)
	}
	took := time.Since(started)
	h.Metrics.count(v.label, took)
	v.report(h.Log, took)
}

// recycle keeps the memory for another request, unless it is unusually much.
func (h *podHandler) recycle(s *scratch) {
	s.reader.release()
	if s.body.Cap() <= keptBody {
		h.scratches.Put(s)
	}
}

// serve decides and writes the answer to s.out. A panic in any of that is the failure of
// this request only.
func (h *podHandler) serve(s *scratch, w http.ResponseWriter, c call) (v verdict) {
	defer func() {
		if cause := recover(); cause != nil {
			v = panicked(cause).verdict(v.request)
		}
	}()
	growStack()
	var near nearby
	q, f := s.read(w, c.Request, func(q *request) bool {
		near = h.lookUp(q.Namespace)
		return near.concerns(q.Pod, s.body.Bytes())
	})
	if f != nil {
		return f.verdict(nil)
	}
	v.request = q // for the report of a panic
	v = h.decide(c, q, near)
	if v.failed == nil {
		if err := s.encode(&v); err != nil {
			return unencodable(err).verdict(q)
		}
	}
	return v
}

// decide is the whole of the decision. near is what decided whether the pod's spec was
// read, and so must decide the rest; if it is not known, the spec was read.
func (h *podHandler) decide(c call, q *request, near nearby) verdict {
	switch {
	case q.SubResource != "":
		return verdict{label: label{outcomeAllowed, reasonSubresource}, request: q}
	case !q.Kind.isPod():
		err := fmt.Errorf("the request is for %s, but this webhook answers for v1 Pod only: correct the rules of its configuration", q.Kind)
		return badRequest(http.StatusBadRequest, err).verdict(q)
	case q.Operation != operationCreate:
		return verdict{label: label{outcomeAllowed, reasonOperation}, request: q}
	case q.Pod == nil:
		return badRequest(http.StatusBadRequest, errors.New("the request creates a pod, but holds no object")).verdict(q)
	case q.Namespace == "":
		return badRequest(http.StatusBadRequest, errors.New("the request creates a pod, but names no namespace")).verdict(q)
	}
	// The object's own namespace may be empty, and is nobody's proof of anything.
	q.Pod.Metadata.Namespace = q.Namespace
	result, err := h.resolve(c, q, near)
	switch {
	case err != nil:
		return lookupFailed(err).verdict(q)
	case result.Intent == nil:
		return uninjected(q, &result)
	}
	v := inject(q, &result)
	h.warnOfSecret(c, &v)
	return v
}

// uninjected is the verdict on a pod that gets nothing: refused, or left alone.
func uninjected(q *request, resolved *intent.Result) verdict {
	v := verdict{label: label{outcomeSkipped, string(resolved.Skip)}, request: q, warnings: resolved.Warnings}
	if len(resolved.Errors) > 0 {
		v.label, v.refused = label{outcomeRefused, reasonInvalid}, resolved.Errors
	}
	return v
}

func inject(q *request, resolved *intent.Result) verdict {
	patch := injector.Patch(q.Pod, resolved.Intent)
	v := verdict{
		label:    label{outcomeInjected, reasonPatched},
		request:  q,
		intent:   resolved.Intent,
		warnings: append(slices.Clip(resolved.Warnings), patch.Warnings...),
	}
	switch {
	case len(patch.Errors) > 0:
		v.label, v.refused = label{outcomeRefused, reasonConflict}, patch.Errors
	case len(patch.Operations) == 0:
		v.reason = reasonUnchanged
	default:
		v.operations = patch.Operations
	}
	return v
}

// growStack makes the goroutine's stack large enough for the decoding in one step. Every
// HTTP/2 stream has a new goroutine, whose stack would be doubled and copied several times
// deep inside of the decoder; growing it here, where there is little to copy, saves a tenth
// of a request's time.
//
//go:noinline
func growStack() {
	var frame [stackSize]byte
	runtime.KeepAlive(&frame)
}

// stackSize is what decoding a pod takes of the stack, and a little more.
const stackSize = 12 << 10
