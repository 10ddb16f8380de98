package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// reach is a set of namespaces in the way in which a policy can select them: those that
// have all the labels and, unless names is nil, one of the names. It is never empty.
type reach struct {
	labels map[string]string
	names  []string // sorted
}

// reachesOf translates a selector. A label with several values makes several reaches, which
// together are the selector's namespaces. There are none when it selects nothing.
func reachesOf(namespaces labels.Selector, at *field.Path) ([]reach, field.ErrorList) {
	requirements, selectable := namespaces.Requirements()
	if !selectable {
		return nil, nil
	}
	var errs field.ErrorList
	reaches := []reach{{}}
	for i := range requirements {
		r := &requirements[i]
		switch r.Operator() {
		case selection.Equals, selection.DoubleEquals, selection.In:
			if reaches = product(reaches, choices(r)); len(reaches) > maxPolicies {
				return nil, append(errs, tooMany(at))
			}
		default:
			errs = append(errs, field.Invalid(at, r.String(), cannotSay(r)))
		}
	}
	return reaches, errs
}

// choices returns what fulfils the requirement, each by itself.
func choices(r *labels.Requirement) []reach {
	values := slices.Sorted(maps.Keys(r.Values()))
	if r.Key() == corev1.LabelMetadataName {
		return []reach{{names: values}}
	}
	out := make([]reach, len(values))
	for i, value := range values {
		out[i].labels = map[string]string{r.Key(): value}
	}
	return out
}

// cannotSay tells what to write in place of a requirement that has no translation.
func cannotSay(r *labels.Requirement) string {
	const instead = "give the wanted namespaces a label with a value of its own, and select that with matchLabels or the operator In"
	switch r.Operator() {
	case selection.NotIn, selection.NotEquals, selection.DoesNotExist:
		return "approver-policy cannot leave namespaces out: " + instead
	case selection.Exists:
		return "approver-policy wants a label's value: name the values with the operator In, or " + instead
	default:
		return fmt.Sprintf("approver-policy has no operator %q: %s", r.Operator(), instead)
	}
}

// product returns the intersections of each with each that are not empty.
func product(a, b []reach) []reach {
	var out []reach
	for _, left := range a {
		for _, right := range b {
			if both, ok := left.and(right); ok {
				out = append(out, both)
			}
		}
	}
	return out
}

// and returns the namespaces that are in both; ok is false if there can be none.
func (r reach) and(other reach) (both reach, ok bool) {
	both = reach{labels: maps.Clone(r.labels), names: r.names}
	for key, value := range other.labels {
		if mine, has := r.labels[key]; has && mine != value {
			return reach{}, false
		}
		if both.labels == nil {
			both.labels = map[string]string{}
		}
		both.labels[key] = value
	}
	if both.names = common(r.names, other.names); both.names != nil && len(both.names) == 0 {
		return reach{}, false
	}
	return both, true
}

// common returns the names that are in both lists, where nil stands for all names.
func common(a, b []string) []string {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	both := make([]string, 0, len(a))
	for _, name := range a {
		if slices.Contains(b, name) {
			both = append(both, name)
		}
	}
	return both
}

// within reports whether all namespaces of r are in other, by what both say.
func (r reach) within(other reach) bool {
	for key, value := range other.labels {
		if mine, has := r.labels[key]; !has || mine != value {
			return false
		}
	}
	missing := func(name string) bool { return !slices.Contains(other.names, name) }
	return other.names == nil || r.names != nil && !slices.ContainsFunc(r.names, missing)
}

// String returns the same for the same set.
func (r reach) String() string {
	return labels.Set(r.labels).String() + " " + strings.Join(r.names, ",")
}

// selector returns nil for all namespaces.
func (r reach) selector() *namespaceSelector {
	if len(r.labels) == 0 && r.names == nil {
		return nil
	}
	return &namespaceSelector{MatchNames: r.names, MatchLabels: r.labels}
}
