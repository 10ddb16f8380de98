package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"example.io/mtls-injector/certs"
	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
	"example.io/mtls-injector/cmd/kubectl-mtls/survey"
)

// Severity says how bad a finding is.
type Severity string

// Failure: something does not work, or will not. Warning: it works, but not as it is meant to.
const (
	Failure Severity = "failure"
	Warning Severity = "warning"
)

// Finding is something about a workload that wants a look.
type Finding struct {
	// Name is that of the rule, such as "not-injected".
	Name     string   `json:"name"`
	Severity Severity `json:"severity"`
	// Message says what is the matter, Remedy the command that mends it, or what else does.
	Message string `json:"message"`
	Remedy  string `json:"remedy,omitempty"`
}

// rule finds one kind of trouble. found returns an empty message where there is none.
type rule struct {
	name     string
	severity Severity
	found    func(*look) (message, remedy string)
}

// rules are in the order of urgency, which is that of the table, too.
var rules = [...]rule{
	{"expired", Failure, (*look).expired},
	{"not-injected", Failure, (*look).notInjected},
	{"refused", Failure, (*look).refused},
	{"not-signed", Failure, (*look).notSigned},
	{"name-taken", Failure, (*look).nameTaken},
	{"renewal-overdue", Failure, (*look).renewalOverdue},
	{"namespace-not-opted-in", Failure, (*look).notOptedIn},
	{"no-companion", Warning, (*look).noCompanion},
	{"pending", Warning, (*look).pending},
	{"stale", Warning, (*look).stale},
	{"left-over", Warning, (*look).leftOver},
}

// look is what the rules look at.
type look struct {
	*survey.Workload

	survey *survey.Survey
	// why says why the companion is not signed, in cert-manager's words.
	why string
	now time.Time
}

func (l *look) around() *kube.Surroundings { return l.survey.Namespaces[l.Namespace] }

// patience is what issuing may take before somebody wants to know.
const patience = time.Minute

// urgency is the place of the workload's first finding among the rules.
func urgency(findings []Finding) int {
	if len(findings) == 0 {
		return len(rules)
	}
	return slices.IndexFunc(rules[:], func(r rule) bool { return r.name == findings[0].Name })
}

func (l *look) findings() []Finding {
	var all []Finding
	for _, r := range rules {
		if message, remedy := r.found(l); message != "" {
			all = append(all, Finding{Name: r.name, Severity: r.severity, Message: message, Remedy: remedy})
		}
	}
	return all
}

func (l *look) notAfter() *metav1.Time {
	if !l.HasCompanion() {
		return nil
	}
	return l.Companion.Status.NotAfter
}

func (l *look) isExpired() bool {
	end := l.notAfter()
	return end != nil && !l.now.Before(end.Time)
}

func (l *look) expired() (message, remedy string) {
	if !l.isExpired() {
		return "", ""
	}
	return fmt.Sprintf("the certificate of %s expired %s ago", l.Companion.Name, duration.HumanDuration(l.now.Sub(l.notAfter().Time))),
		l.askCertManager()
}

func (l *look) askCertManager() string {
	return fmt.Sprintf("kubectl -n %s describe certificate %s", l.Namespace, l.Companion.Name)
}

func (l *look) notInjected() (message, remedy string) {
	missing := l.Named(survey.Missing)
	if len(missing) == 0 {
		return "", ""
	}
	verb := "are"
	if len(missing) == 1 {
		verb = "is"
	}
	return fmt.Sprintf("%d of %s %s not injected (%s): %s", len(missing), pods(len(l.Pods)), verb, some(missing), l.whyMissing()), l.replace(missing)
}

func (l *look) refused() (message, remedy string) {
	if len(l.Result.Errors) == 0 {
		return "", ""
	}
	more := ""
	if n := len(l.Result.Errors); n > 1 {
		more = fmt.Sprintf(" (and %d more)", n-1)
	}
	message = "new pods are refused: "
	if !l.survey.Configuration.Known {
		message = "by the injector's built-in defaults (its configuration is not known) new pods are refused: "
	}
	return message + l.Result.Errors[0].Error() + more, "kubectl mtls explain -n " + l.Namespace + " " + l.target()
}

func (l *look) notSigned() (message, remedy string) {
	if l.CompanionState() != certs.StateFailed {
		return "", ""
	}
	return fmt.Sprintf("the last attempt at %s failed: %s", l.Companion.Name, l.why), l.askCertManager()
}

func (l *look) nameTaken() (message, remedy string) {
	if l.CompanionState() != certs.StateTaken || l.Intent() == nil || !l.Intent().Companion {
		return "", ""
	}
	return fmt.Sprintf("Certificate %s was made by somebody else, so there is no companion", l.Companion.Name),
		fmt.Sprintf("kubectl -n %s delete certificate %s   # if nobody needs it", l.Namespace, l.Companion.Name)
}

func (l *look) renewalOverdue() (message, remedy string) {
	end := l.notAfter()
	if end == nil || l.isExpired() || l.Companion.Status.RenewalTime == nil {
		return "", ""
	}
	due := l.Companion.Status.RenewalTime.Time
	late := l.now.Sub(due)
	const tenth = 10
	if late < patience || late < end.Sub(due)/tenth {
		return "", ""
	}
	return fmt.Sprintf("%s was to be renewed %s ago, and ends in %s", l.Companion.Name, duration.HumanDuration(late),
		duration.HumanDuration(end.Sub(l.now))), l.askCertManager()
}

func (l *look) notOptedIn() (message, remedy string) {
	if l.OptedIn || l.Result.Skip != "" {
		return "", ""
	}
	message = "it asks for a role, but its namespace is not opted in, so nobody looks at its pods"
	selector := l.survey.Configuration.Defaults.Namespaces
	set, ok := labelsFor(selector)
	if !ok {
		return message, "label the namespace so that it is selected: " + selector.String()
	}
	return message, fmt.Sprintf("kubectl label namespace %s %s", l.Namespace, set)
}

func (l *look) noCompanion() (message, remedy string) {
	in := l.Intent()
	if in == nil || !in.Companion || !l.survey.CertificatesKnown || l.Companion != nil || l.isYoung() ||
		l.Count(survey.Injected)+l.Count(survey.Stale) == 0 {
		return "", ""
	}
	return "its companion " + in.CompanionName + " has not been made",
		fmt.Sprintf("kubectl mtls check   # is the injector's leader at work? or: kubectl -n %s get events", l.Namespace)
}

// isYoung reports whether all pods have only just been made.
func (l *look) isYoung() bool {
	return !slices.ContainsFunc(l.Pods, func(p survey.Pod) bool { return l.now.Sub(p.CreationTimestamp.Time) > patience })
}

func (l *look) pending() (message, remedy string) {
	if l.CompanionState() != certs.StatePending {
		return "", ""
	}
	return l.Companion.Name + " is not signed yet: " + l.why, l.askCertManager()
}

func (l *look) stale() (message, remedy string) {
	stale := l.Named(survey.Stale)
	if len(stale) == 0 {
		return "", ""
	}
	return fmt.Sprintf("%d of %s (%s) would come out otherwise today: %s", len(stale), pods(len(l.Pods)), some(stale), l.lacks()),
		l.replace(stale)
}

// lacks says what of the stale pods is not as it would be, each once.
func (l *look) lacks() string {
	var all []string
	for i := range l.Pods {
		for _, part := range l.Pods[i].Lacks {
			if !slices.Contains(all, part) {
				all = append(all, part)
			}
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func (l *look) leftOver() (message, remedy string) {
	if !l.HasCompanion() || len(l.Pods) > 0 || l.Result.Skip == "" {
		return "", ""
	}
	return "nobody uses " + l.Companion.Name + " any more; the injector removes it within a few minutes", ""
}
