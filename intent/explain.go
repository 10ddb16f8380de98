package intent

// What was decided and why, told by the resolution that decided it.

import (
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Source says where the value of a decision comes from.
type Source string

// SourcePod is an annotation of the pod, or what its spec and its owner say; SourceNamespace
// an annotation of its namespace. SourceConfiguration is what the injector's configuration
// says and SourceDefault what it says without being told, which are told apart by their value.
const (
	SourcePod           Source = "pod"
	SourceNamespace     Source = "namespace"
	SourceConfiguration Source = "configuration"
	SourceService       Source = "Service"
	SourceDefault       Source = "default"
)

// Decision is one line of what a pod gets and why.
type Decision struct {
	// Key is that of the annotation table, without [Prefix]. What no annotation decides has
	// a name of its own: workload, spiffe-id, usages.
	Key string `json:"key"`
	// Value is for people; "-" where there is none.
	Value string `json:"value"`
	// Source is where the value comes from, and Detail says what of it.
	Source Source `json:"source"`
	Detail string `json:"detail,omitempty"`
	// Refused says that the value stands there and is not allowed; the result's errors
	// say why.
	Refused bool `json:"refused,omitempty"`
}

// String returns the source with its detail.
func (d *Decision) String() string {
	if d.Detail == "" {
		return string(d.Source)
	}
	return string(d.Source) + ": " + d.Detail
}

// Explain decides as [Admit] does, and tells each decision in the order of the annotation
// table. A pod that is skipped has one decision: its role.
func Explain(defaults *Defaults, ns *Namespace, pod *Pod, services []Service) (Result, []Decision) {
	r := resolution{rights: rights{defaults: defaults, ns: ns, pod: pod}, settings: newSettings(defaults)}
	result := Result{Skip: SkipNoRole}
	if Concerns(pod.Metadata.Annotations) || Concerns(ns.Annotations) {
		result = r.resolve(services)
	}
	result = guarded(defaults, ns, pod, services, result)
	return result, r.tell(result.Errors)
}

// reasons are those of values that are not as the annotation or the configuration has them.
// They are noted where it is decided, and say nothing to those who do not ask.
type reasons struct {
	service, dnsNames, commonName, keySize, renewBefore, fsGroup, preStop reason
}

type reason uint8

const (
	reasonSetting    reason = iota // the annotation's or the configuration's value
	reasonClient                   // a client has none
	reasonServices                 // the Services that select the pod
	reasonNoService                // no Service selects it
	reasonWorkload                 // the name of its workload
	reasonFirstName                // the first full name
	reasonAlgorithm                // the usual size of the algorithm
	reasonDuration                 // a third of the duration
	reasonFSGroup                  // the pod's own fsGroup
	reasonRunAsGroup               // the containers' runAsGroup
	reasonSecret                   // Secret volumes follow the pod's fsGroup
)

// tell returns the decisions.
func (r *resolution) tell(errs field.ErrorList) []Decision {
	var decisions []Decision
	for _, t := range tellers() {
		if r.decided == nil && t.key != keyRole && !r.isGiven(t.key) {
			continue // nothing was decided but what somebody wrote
		}
		decisions = append(decisions, r.tellOne(&t, errs))
	}
	return decisions
}

// isGiven reports whether it is a key of the table that somebody set.
func (r *resolution) isGiven(key string) bool {
	row := lookup(key)
	return row >= 0 && r.raw[row].set
}

func (r *resolution) tellOne(t *teller, errs field.ErrorList) Decision {
	d := Decision{Key: t.key}
	if r.isGiven(t.key) {
		set := &r.raw[lookup(t.key)]
		d.Value, d.Source, d.Detail = shorten(set.value), SourcePod, "annotation"
		if set.namespace {
			d.Source = SourceNamespace
		}
		at := annotationsPath(set.namespace).Key(Prefix + t.key).String()
		d.Refused = slices.ContainsFunc(errs, func(err *field.Error) bool { return err.Field == at })
		if d.Refused || r.decided == nil {
			return d
		}
	} else {
		d.Source, d.Detail = r.sourceOf(t)
	}
	d.Value = orDash(t.value(r))
	if t.why == nil {
		return d
	}
	if source, detail := t.why(r); detail != "" {
		d.Source, d.Detail = source, detail
	}
	return d
}

// sourceOf tells what nobody set: the configuration's value where it is another than that of
// an empty configuration.
func (r *resolution) sourceOf(t *teller) (Source, string) {
	if t.configured == nil {
		return SourceDefault, ""
	}
	said, builtin := t.configured(r, r.defaults), t.configured(r, BuiltinDefaults())
	if said == builtin {
		return SourceDefault, ""
	}
	return SourceConfiguration, t.field
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
