package explain

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/cmd/kubectl-mtls/diff"
	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
	"example.io/mtls-injector/cmd/kubectl-mtls/manifest"
	"example.io/mtls-injector/cmd/kubectl-mtls/offline"
	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

// Outcome is what becomes of a pod.
type Outcome string

// The outcomes, as the webhook's metrics have them, and one for pods that it never sees.
const (
	OutcomeInjected Outcome = "injected"
	OutcomeSkipped  Outcome = "skipped"
	OutcomeRefused  Outcome = "refused"
	OutcomeNotAsked Outcome = "not-asked"
)

// Report is all that is told, in the form of -o json.
type Report struct {
	// Configuration says where the injector's configuration comes from.
	Configuration string `json:"configuration"`
	Pods          []Pod  `json:"pods"`
	// Unknown are the answers that the user's rights do not give.
	Unknown []kube.Gap `json:"unknown,omitempty"`
}

// Pod is what is told of one pod, or of the pods of one template.
type Pod struct {
	// Object is "Kind/name"; File is where it stands, empty for one of the cluster.
	Object    string  `json:"object"`
	File      string  `json:"file,omitempty"`
	Namespace string  `json:"namespace"`
	Outcome   Outcome `json:"outcome"`
	// Reason is why it is skipped or not asked about, for people.
	Reason     string            `json:"reason,omitempty"`
	SkipReason intent.SkipReason `json:"skipReason,omitempty"`
	Decisions  []intent.Decision `json:"decisions,omitempty"`
	Refusals   []Refusal         `json:"refusals,omitempty"`
	Warnings   []string          `json:"warnings,omitempty"`
	// Patch is what an injection changes, as a unified diff.
	Patch string `json:"patch,omitempty"`
	// Then is what an injected pod got.
	Then *Then `json:"then,omitempty"`
}

// Refusal is one thing that is wrong.
type Refusal struct {
	Field   string `json:"field"`
	Message string `json:"message"`
	// Remedy is what the documentation says about it; the message itself often does, too.
	Remedy string `json:"remedy,omitempty"`
}

// Then is what a pod got when it was injected, and what is different now.
type Then struct {
	Status injector.Status `json:"status"`
	// Found is what its own spec has of it: one line for each volume and container.
	Found []string `json:"found"`
	// ChangedByHand tells what is not as it was injected.
	ChangedByHand []string `json:"changedByHand,omitempty"`
	// Now is what would be different if it was created now, as a unified diff; empty if nothing
	// would.
	Now string `json:"now,omitempty"`
}

// explainer makes reports of pods in documents.
type explainer struct {
	options  offline.Options
	remedies []remedy
	// notAsked returns why the webhook is not asked about the pods of a namespace, or "".
	notAsked func(*intent.Namespace) string
	// live says that the documents are objects of a cluster.
	live bool
}

// explain reports on every pod in the documents. What is wrong with other objects that matter
// is an error.
func (e *explainer) explain(docs []*manifest.Document) ([]Pod, []error) {
	found := offline.Find(docs)
	before := make([]*Then, len(found))
	originals := make([]string, len(found))
	for i := range found {
		var err error
		if originals[i], err = comparableText(found[i].Object, found[i].Path); err == nil {
			before[i], err = e.takeOut(&found[i])
		}
		if err != nil {
			return nil, []error{fmt.Errorf("%s: %w", found[i].Object.Place(), err)}
		}
	}
	decisions, problems := offline.Decide(docs, &e.options)
	var errs []error
	for i := range problems {
		for _, err := range problems[i].Errors {
			errs = append(errs, fmt.Errorf("%s: %w", problems[i].Object.Place(), err))
		}
	}
	var pods []Pod
	for i := range decisions {
		pod, err := e.one(&decisions[i], before[i], originals[i])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		pods = append(pods, *pod)
	}
	return pods, errs
}

// takeOut takes what was injected out of the document, and tells what that was.
func (e *explainer) takeOut(f *offline.Found) (*Then, error) {
	var result injector.Unpatched
	if f.Error == nil { // else the decision tells what is wrong
		result = injector.Unpatch(f.Pod)
	}
	if len(result.Operations) == 0 {
		return nil, nil
	}
	then := &Then{Status: statusOf(f.Pod), Found: foundIn(f.Pod), ChangedByHand: result.Warnings}
	if err := f.Object.Patch(f.Path, result.Operations); err != nil {
		return nil, err
	}
	_, err := f.Object.Prune(f.Path, result.Operations)
	return then, err
}

// one reports on one pod. Its document has nothing of an injection when it begins, and all
// of it when it ends.
func (e *explainer) one(d *offline.Decision, then *Then, original string) (*Pod, error) {
	pod := &Pod{Object: d.Object.String(), Decisions: d.Decisions, Then: then, Warnings: d.Warnings}
	if !e.live {
		pod.File = d.Object.Document.String()
	}
	if d.Namespace != nil {
		pod.Namespace = d.Namespace.Name
	}
	errs := d.Errors
	var patch injector.Result
	if d.Intent != nil {
		if then != nil {
			d.Intent.Version = then.Status.Version // that another version decides is no difference
		}
		patch = injector.Patch(d.Pod, d.Intent)
		errs = d.Place(patch.Errors)
		pod.Warnings = slices.Concat(d.Warnings, patch.Warnings, intent.Odd(d.Pod, d.Intent))
	}
	e.conclude(pod, d, errs)
	before, err := d.Object.Document.Text()
	if err != nil {
		return nil, err
	}
	if pod.Outcome == OutcomeInjected {
		if err := d.Object.Patch(d.Path, offline.WithMetadata(d, patch.Operations)); err != nil {
			return nil, fmt.Errorf("%s: %w", d.Object.Place(), err)
		}
	}
	if then != nil {
		return pod, e.compare(pod, d, original)
	}
	after, err := d.Object.Document.Text()
	if err != nil {
		return nil, err
	}
	pod.Patch, err = diff.Unified(pod.Object, pod.Object+", injected", before, after)
	return pod, err
}

// conclude says what becomes of the pod.
func (e *explainer) conclude(pod *Pod, d *offline.Decision, errs field.ErrorList) {
	if d.Namespace != nil && e.notAsked != nil {
		if reason := e.notAsked(d.Namespace); reason != "" {
			pod.Outcome, pod.Reason = OutcomeNotAsked, reason
			if d.Intent == nil && len(errs) == 0 {
				pod.SkipReason = d.Skip
			}
			return
		}
	}
	switch {
	case len(errs) > 0:
		pod.Outcome = OutcomeRefused
		for _, err := range errs {
			message := strings.TrimPrefix(err.Error(), err.Field+": ")
			pod.Refusals = append(pod.Refusals, Refusal{Field: err.Field, Message: message, Remedy: remedyOf(e.remedies, err.Detail)})
		}
	case d.Intent == nil:
		pod.Outcome, pod.SkipReason, pod.Reason = OutcomeSkipped, d.Skip, d.Skip.Explain()
	default:
		pod.Outcome = OutcomeInjected
	}
}

// compare tells what is different from what the pod was.
func (e *explainer) compare(pod *Pod, d *offline.Decision, original string) error {
	now, err := comparableText(d.Object, d.Path)
	if err != nil {
		return err
	}
	pod.Then.Now, err = diff.Unified(pod.Object+", as it is", pod.Object+", created now", original, now)
	return err
}
