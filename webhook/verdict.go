package webhook

// What became of a request, and how that is told: to the client, and in the log.

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/go-logr/logr"
	"gomodules.xyz/jsonpatch/v2"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/intent"
)

// verdict is what becomes of a request.
type verdict struct {
	label
	// request is nil when it could not be read.
	request    *request
	intent     *intent.Intent
	operations []jsonpatch.Operation
	refused    field.ErrorList
	warnings   []string
	failed     *failure
}

// failure is why there is no decision, and the HTTP status that says so.
type failure struct {
	reason string
	code   int
	err    error
	// stack is where a panic happened.
	stack []byte
}

func badRequest(code int, err error) *failure {
	return &failure{reason: reasonBadRequest, code: code, err: err}
}

// panicked is the failure of a request whose handler panicked; it is called while it does.
func panicked(cause any) *failure {
	return &failure{reason: reasonPanic, code: http.StatusInternalServerError, err: fmt.Errorf("panic: %v", cause), stack: debug.Stack()}
}

func unencodable(err error) *failure {
	return &failure{reason: reasonEncode, code: http.StatusInternalServerError, err: fmt.Errorf("encoding the answer: %w", err)}
}

func lookupFailed(err error) *failure {
	return &failure{reason: reasonLookup, code: http.StatusInternalServerError, err: err}
}

func (f *failure) verdict(q *request) verdict {
	return verdict{label: label{outcomeError, f.reason}, request: q, failed: f}
}

// message is for the one who makes the pod. What a panic said is for the log only.
func (f *failure) message() string {
	if f.stack != nil {
		return "internal error: see the log of mtls-injector"
	}
	return f.err.Error()
}

// write sends the answer, which stands in out unless there is none. An error of writing
// means that the API server no longer listens, and there is nobody left to tell.
func (v *verdict) write(w http.ResponseWriter, out []byte) {
	if v.failed != nil {
		http.Error(w, v.failed.message(), v.failed.code)
		return
	}
	header := w.Header()
	header.Set("Content-Type", jsonMedia)
	header.Set("Content-Length", strconv.Itoa(len(out)))
	_, _ = w.Write(out)
}

// report logs one line, for pods that are left alone only when asked for more. It holds
// nothing of what stands in annotations or the rest of the object.
func (v *verdict) report(log logr.Logger, took time.Duration) {
	if v.outcome == outcomeAllowed || v.outcome == outcomeSkipped {
		log = log.V(1)
	}
	if !log.Enabled() {
		return
	}
	fields := append(make([]any, 0, 18), "outcome", v.outcome, "reason", v.reason, "seconds", took.Seconds())
	if q := v.request; q != nil {
		fields = append(fields, "uid", q.UID, "namespace", q.Namespace, "pod", q.podName())
		if q.DryRun {
			fields = append(fields, "dryRun", true)
		}
	}
	v.tell(log, "admission", fields)
}

// tell logs what became of the request: a mishap as an error, a refusal with its fields.
func (v *verdict) tell(log logr.Logger, what string, fields []any) {
	switch {
	case v.failed != nil && v.failed.stack != nil:
		log.Error(v.failed.err, what+" failed", append(fields, "stack", string(v.failed.stack))...)
	case v.failed != nil:
		log.Error(v.failed.err, what+" failed", fields...)
	case len(v.refused) > 0:
		log.Info(what, append(fields, "fields", fieldsOf(v.refused))...)
	default:
		log.Info(what, fields...)
	}
}

// fieldsOf names the fields that were refused, without their values.
func fieldsOf(errs field.ErrorList) []string {
	fields := make([]string, len(errs))
	for i, err := range errs {
		fields[i] = err.Field
	}
	return fields
}
