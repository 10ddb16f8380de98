package webhook

// What the handlers of workloads and of Namespaces have in common: how requests are read and
// answered, and when a problem refuses.

import (
	stdjson "encoding/json"
	"errors"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"example.io/mtls-injector/intent"
)

const operationUpdate = "UPDATE"

// validator answers the requests of a validating webhook.
type validator struct {
	// kind is what metrics and logs call the objects.
	kind string
	// consequence says what becomes of pods when a problem is let pass.
	consequence string
	// annotations returns where objects of a kind have the annotations that count.
	annotations func(groupVersionKind) []string
	// decide says what is wrong with an object, in the verdict's refused, and odd about it.
	decide func(call, *validation) verdict

	metrics  *Metrics
	defaults func() *intent.Defaults
	log      logr.Logger
}

// validation is a request with its objects, and the configuration by which it is decided.
type validation struct {
	request     *request
	object, old jsontext.Value
	defaults    *intent.Defaults
}

// ServeHTTP implements [http.Handler].
func (h *validator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	var s scratch
	v := h.serve(&s, w, call{r, started})
	v.write(w, s.out)
	h.metrics.countValidation(h.kind, v.label)
	h.report(&v, time.Since(started))
}

// serve decides and writes the answer to s.out. A panic in any of that is the failure of
// this request only.
func (h *validator) serve(s *scratch, w http.ResponseWriter, c call) (v verdict) {
	defer func() {
		if cause := recover(); cause != nil {
			v = panicked(cause).verdict(v.request)
		}
	}()
	q, f := s.read(w, c.Request, func(*request) bool { return false })
	if f != nil {
		return f.verdict(nil)
	}
	v.request = q // for the report of a panic
	v = h.validate(c, q, s.body.Bytes())
	if v.failed == nil {
		if err := s.encodeValidation(&v); err != nil {
			return unencodable(err).verdict(q)
		}
	}
	return v
}

// validate decides, and lets pass with a warning what is not to be refused.
func (h *validator) validate(c call, q *request, body jsontext.Value) verdict {
	r := &validation{request: q, defaults: h.defaults()}
	switch {
	case r.defaults.Workloads == intent.ModeOff:
		return verdict{label: label{outcomeAllowed, reasonOff}, request: q}
	case q.SubResource != "":
		return verdict{label: label{outcomeAllowed, reasonSubresource}, request: q}
	case q.Operation != operationCreate && q.Operation != operationUpdate:
		return verdict{label: label{outcomeAllowed, reasonOperation}, request: q}
	}
	whole := member(body, "request")
	r.object, r.old = member(whole, "object"), member(whole, "oldObject")
	if r.object.Kind() != jsontext.KindBeginObject {
		return badRequest(http.StatusBadRequest, errors.New("the request writes an object, but holds none")).verdict(q)
	}
	v := h.decide(c, r)
	if v.outcome == outcomeRefused && (r.defaults.Workloads == intent.ModeWarn || !h.touches(r)) {
		v.outcome = outcomeWarned
		warnings := make([]string, 0, len(v.refused)+len(v.warnings))
		for _, err := range v.refused {
			warnings = append(warnings, h.consequence+": "+err.Error())
		}
		v.warnings = append(warnings, v.warnings...)
	}
	return v
}

// touches reports whether the request sets annotations of ours. What is there already is
// no reason to refuse an update of something else: nobody is to be locked out of scaling, or
// of a new image.
func (h *validator) touches(r *validation) bool {
	path := h.annotations(r.request.Kind)
	return r.request.Operation == operationCreate || !maps.Equal(ours(annotationsAt(r.old, path)), ours(annotationsAt(r.object, path)))
}

// ours returns those annotations that decide something. Those that the injector writes
// itself, when it restarts a workload, do not.
func ours(annotations map[string]string) map[string]string {
	maps.DeleteFunc(annotations, func(key, _ string) bool {
		return !strings.HasPrefix(key, intent.Prefix) || key == intent.AnnotationStatus || key == intent.AnnotationCertificateHash
	})
	return annotations
}

// annotationsAt returns the annotations at the path, or none where they make no sense.
func annotationsAt(object jsontext.Value, path []string) map[string]string {
	var annotations map[string]string
	if decodeMember(object, &annotations, path...) != nil {
		return nil
	}
	return annotations
}

// encodeValidation writes the AdmissionReview that tells the verdict.
func (s *scratch) encodeValidation(v *verdict) (err error) {
	response := &admissionv1.AdmissionResponse{
		UID: types.UID(v.request.UID), Allowed: v.outcome != outcomeRefused, Warnings: limitWarnings(v.warnings),
	}
	if v.outcome != outcomeAllowed {
		response.AuditAnnotations = map[string]string{auditOutcome: v.outcome}
	}
	if !response.Allowed {
		kind := schema.GroupKind{Group: v.request.Kind.Group, Kind: v.request.Kind.Kind}
		status := apierrors.NewInvalid(kind, v.request.Name, v.refused).Status()
		response.Result = &status
	}
	meta := metav1.TypeMeta{APIVersion: reviewAPIVersion, Kind: reviewKind}
	s.out, err = stdjson.Marshal(&admissionv1.AdmissionReview{TypeMeta: meta, Response: response})
	return err
}

// report logs one line, as [verdict.report] does.
func (h *validator) report(v *verdict, took time.Duration) {
	log := h.log
	if v.outcome == outcomeAllowed || v.outcome == outcomeSkipped {
		log = log.V(1)
	}
	fields := []any{"of", h.kind, "outcome", v.outcome, "reason", v.reason, "seconds", took.Seconds()}
	if q := v.request; q != nil {
		fields = append(fields, "uid", q.UID, "kind", q.Kind.Kind, "namespace", q.Namespace, "name", q.Name)
		if q.DryRun {
			fields = append(fields, "dryRun", true)
		}
	}
	v.tell(log, "validation", fields)
}
