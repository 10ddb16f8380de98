package status

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
	"example.io/mtls-injector/cmd/kubectl-mtls/survey"
	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

// Report is what is told, in the form of -o json and yaml.
type Report struct {
	// Configuration says where the injector's configuration comes from.
	Configuration string     `json:"configuration"`
	Workloads     []Workload `json:"workloads"`
	// NotKnown are the answers that the user's rights do not give.
	NotKnown []kube.Gap `json:"notKnown,omitempty"`
}

// Workload is a line of the table.
type Workload struct {
	Namespace string `json:"namespace"`
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	// Role, names and so on are what a pod would get today; they are empty where it would be
	// refused or skipped, and Role is "refused" or "none" then.
	Role     string   `json:"role"`
	SPIFFE   string   `json:"spiffe,omitempty"`
	DNS      []string `json:"dns,omitempty"`
	Issuer   string   `json:"issuer,omitempty"`
	Delivery string   `json:"delivery,omitempty"`
	Reload   string   `json:"reload,omitempty"`

	Companion *Companion `json:"companion,omitempty"`
	Pods      Pods       `json:"pods"`
	// Findings are what is the matter, the most urgent first.
	Findings []Finding `json:"findings,omitempty"`
}

// Companion is a workload's companion Certificate.
type Companion struct {
	Name  string `json:"name"`
	State string `json:"state"`
	// NotAfter is when it ends, RenewalTime when it is renewed; both are RFC 3339.
	NotAfter    *time.Time `json:"notAfter,omitempty"`
	RenewalTime *time.Time `json:"renewalTime,omitempty"`
	// Message says why it is not signed.
	Message string `json:"message,omitempty"`

	expires string
}

// Pods counts the pods that are to be injected; Stale ones were injected, and are not among
// the Injected.
type Pods struct {
	Injected    int `json:"injected"`
	NotInjected int `json:"notInjected"`
	Stale       int `json:"stale"`
	// Versions are those of the injector by which they were injected.
	Versions []string `json:"versions,omitempty"`
}

func (p *Pods) total() int { return p.Injected + p.NotInjected + p.Stale }

// report makes the report of a survey.
func report(ctx context.Context, c *kube.Cluster, s *survey.Survey, now time.Time) *Report {
	r := &Report{Configuration: s.Configuration.Source, Workloads: []Workload{}}
	for _, w := range s.Workloads {
		l := &look{Workload: w, survey: s, now: now, why: why(ctx, c, w)}
		r.Workloads = append(r.Workloads, l.line())
	}
	slices.SortStableFunc(r.Workloads, func(a, b Workload) int { return cmp.Compare(urgency(a.Findings), urgency(b.Findings)) })
	r.NotKnown = c.Gaps.List()
	return r
}

func (l *look) line() Workload {
	w := Workload{
		Namespace: l.Namespace, Kind: l.Kind, Name: l.Name, Role: outcome(l.Workload), Companion: l.companion(),
		Pods: Pods{
			Injected: l.Count(survey.Injected), NotInjected: l.Count(survey.Missing), Stale: l.Count(survey.Stale),
			Versions: versions(l.Workload),
		},
		Findings: l.findings(),
	}
	if in := l.Intent(); in != nil {
		w.SPIFFE, w.DNS, w.Issuer = in.Identity.SPIFFEID, in.Identity.PodDNSNames(), in.Issuer.String()
		w.Delivery, w.Reload = string(in.Delivery), string(in.Reload)
		if in.Delivery == intent.DeliverySecret {
			w.DNS = in.Identity.CompanionDNSNames()
		}
	} else if told := l.told(); told != nil && !l.around().NamespaceKnown {
		w.Role, w.SPIFFE, w.DNS, w.Issuer, w.Delivery = string(told.Role), told.SPIFFE, told.DNS, told.Issuer, string(told.Delivery)
	}
	return w
}

// told returns what the newest injected pod was told at admission. It stands in where the
// annotations of the namespace are hidden, which may give the pod its role.
func (l *look) told() *injector.Status {
	if len(l.Pods) == 0 || l.Result.Skip == "" {
		return nil
	}
	var status injector.Status
	if json.Unmarshal([]byte(l.Pods[0].Annotations[intent.AnnotationStatus]), &status) != nil {
		return nil
	}
	return &status
}

func (l *look) companion() *Companion {
	if l.Companion == nil {
		return nil
	}
	c := &Companion{Name: l.Companion.Name, State: string(l.CompanionState()), Message: l.why}
	if end := l.notAfter(); end != nil {
		c.NotAfter = &end.Time
		c.expires = duration.HumanDuration(end.Sub(l.now))
		if l.isExpired() {
			c.State, c.expires = "expired", duration.HumanDuration(l.now.Sub(end.Time))+" ago"
		}
		if renewal := l.Companion.Status.RenewalTime; renewal != nil {
			c.RenewalTime = &renewal.Time
		}
	}
	return c
}

// versions returns the versions of the injector that the pods' status annotations tell.
func versions(w *survey.Workload) []string {
	var all []string
	for i := range w.Pods {
		var status injector.Status
		err := json.Unmarshal([]byte(w.Pods[i].Annotations[intent.AnnotationStatus]), &status)
		if err == nil && status.Version != "" && !slices.Contains(all, status.Version) {
			all = append(all, status.Version)
		}
	}
	slices.SortFunc(all, strings.Compare)
	return all
}

// failed reports whether any workload has a failure.
func (r *Report) failed() bool {
	return slices.ContainsFunc(r.Workloads, func(w Workload) bool {
		return slices.ContainsFunc(w.Findings, func(f Finding) bool { return f.Severity == Failure })
	})
}
