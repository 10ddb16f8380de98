package webhook

// The handler of workloads: what is wrong with a pod template is told to the one who writes
// it, and not in the events of a ReplicaSet.

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/intent"
)

// WorkloadPath is where the handler of workloads is served.
const WorkloadPath = "/validate-workloads"

// WorkloadOptions are what the handler of workloads works with. Every field is needed.
type WorkloadOptions struct {
	PodOptions
	Bundles Bundles
}

// NewWorkloadHandler returns the handler of [WorkloadPath]: validating admission of
// everything that has a pod template at spec.template, and of CronJobs. The template is held
// to what its pods will be held to, on CREATE and UPDATE.
//
// What comes back is as with [NewPodHandler]; paths begin at the workload. Problems are
// warnings where the configuration says so (admission.workloads), and always on an UPDATE
// that leaves the template's annotations of ours as they were. A workload that a controller
// made is not looked at: its owner was, and its pods will be.
func NewWorkloadHandler(opts WorkloadOptions) http.Handler {
	h := &workloadHandler{pods: podHandler{PodOptions: opts.PodOptions}, bundles: opts.Bundles}
	return &validator{
		kind: kindWorkload, consequence: "pods will be refused",
		annotations: func(kind groupVersionKind) []string {
			return append(kind.workload("").TemplatePath(), "metadata", "annotations")
		},
		decide:  h.decide,
		metrics: opts.Metrics, defaults: opts.Defaults, log: opts.Log,
	}
}

type workloadHandler struct {
	// pods decides about pods; it serves no requests.
	pods    podHandler
	bundles Bundles
}

func (h *workloadHandler) decide(c call, r *validation) verdict {
	q := r.request
	if q.Namespace == "" {
		return badRequest(http.StatusBadRequest, errors.New("the request writes a workload, but names no namespace")).verdict(q)
	}
	w, err := readWorkload(q.Kind, r.object)
	switch {
	case err != nil:
		return badRequest(http.StatusBadRequest, err).verdict(q)
	case w.isOwned():
		return verdict{label: label{outcomeAllowed, reasonOwned}, request: q}
	case w.template == nil:
		return verdict{label: label{outcomeAllowed, reasonNoTemplate}, request: q}
	}
	q.Name = w.name()
	q.Pod = q.Kind.workload(q.Name).PodOf(w.template)
	q.Pod.Metadata.Namespace = q.Namespace
	result, err := h.resolve(c, r, &w)
	if err != nil {
		return lookupFailed(err).verdict(q)
	}
	v := h.verdict(c, q, &w, &result)
	v.warnings = append(w.misplaced(r.object), v.warnings...)
	return v
}

// resolve decides as the pod handler does, and anew on live data before anything is refused.
func (h *workloadHandler) resolve(c call, r *validation, w *workload) (intent.Result, error) {
	q := r.request
	if near := h.pods.lookUp(q.Namespace); near.known {
		result := intent.Admit(r.defaults, near.Namespace, q.Pod, near.Services)
		if !near.mayBeStale(&result, q.Pod, c.came) {
			return result, nil
		}
	}
	ctx, cancel := c.lookupContext()
	defer cancel()
	found, err := h.pods.Source.Live(ctx, q.Namespace)
	if err != nil {
		return intent.Result{}, err
	}
	return foresee(r.defaults, &found, q.Pod, w), nil
}

// foresee decides about the pods of a workload whose Services may come after it, as they do
// where both stand in one file. What would be right with these Services is a warning.
func foresee(defaults *intent.Defaults, found *Surroundings, pod *intent.Pod, w *workload) intent.Result {
	now := intent.Admit(defaults, found.Namespace, pod, found.Services)
	w.place(now.Errors)
	if len(now.Errors) == 0 {
		return now
	}
	awaited := intent.AwaitedServices(defaults, found.Namespace, pod, found.Services)
	later := intent.Admit(defaults, found.Namespace, pod, slices.Concat(found.Services, awaited))
	w.place(later.Errors)
	for _, err := range now.Errors {
		if !slices.ContainsFunc(later.Errors, func(other *field.Error) bool { return sameProblem(err, other) }) {
			later.Warnings = append(later.Warnings, "pods will be refused until the Service exists and selects them: "+err.Error())
		}
	}
	return later
}

// sameProblem compares without the hints, which follow a semicolon and tell which Services
// there are.
func sameProblem(a, b *field.Error) bool {
	problem, _, _ := strings.Cut(a.Detail, ";")
	other, _, _ := strings.Cut(b.Detail, ";")
	return a.Field == b.Field && problem == other
}

// verdict says what the workload's pods would get.
func (h *workloadHandler) verdict(c call, q *request, w *workload, result *intent.Result) verdict {
	if result.Intent == nil {
		return uninjected(q, result)
	}
	v := inject(q, result)
	h.pods.warnOfSecret(c, &v)
	w.place(v.refused)
	v.operations = nil
	v.warnings = append(v.warnings, intent.Odd(q.Pod, result.Intent)...)
	v.warnings = append(v.warnings, h.warnOfBundle(c, q, result.Intent)...)
	if v.outcome == outcomeInjected {
		v.label = label{outcomeAllowed, reasonValid}
	}
	return v
}

// warnOfBundle warns when the ConfigMap is not there without which no pod starts. It is
// asked for live, as a warning that is wrong teaches people not to read them; a look that
// fails is for the log only.
func (h *workloadHandler) warnOfBundle(c call, q *request, in *intent.Intent) []string {
	if in.CABundle.Kind != intent.BundleConfigMap {
		return nil
	}
	ctx, cancel := c.lookupContext()
	defer cancel()
	switch missing, err := h.bundles.BundleMissing(ctx, q.Namespace, in.CABundle.Name); {
	case err != nil:
		h.pods.Log.Error(err, "cannot tell whether the CA bundle exists", "uid", q.UID, "namespace", q.Namespace)
	case missing:
		return []string{`ConfigMap "` + in.CABundle.Name + `" with the CA bundle does not exist in namespace "` + q.Namespace +
			`", and pods do not start without it: have trust-manager write it there`}
	}
	return nil
}

// misplaced warns of annotations on the workload itself, or on the Jobs of a CronJob, which
// no pod inherits. Those that the template has, too, were put everywhere by a tool.
func (w *workload) misplaced(object jsontext.Value) []string {
	template := strings.Join(w.path, ".") + ".metadata.annotations"
	var warnings []string
	for _, path := range [][]string{{"metadata", "annotations"}, {"spec", "jobTemplate", "metadata", "annotations"}} {
		var keys []string
		for key := range ours(annotationsAt(object, path)) {
			if _, ok := w.template.Metadata.Annotations[key]; !ok {
				keys = append(keys, key)
			}
		}
		if len(keys) > 0 {
			slices.Sort(keys)
			warnings = append(warnings, strings.Join(keys, ", ")+" in "+strings.Join(path, ".")+" has no effect: move it to "+template)
		}
	}
	return warnings
}
