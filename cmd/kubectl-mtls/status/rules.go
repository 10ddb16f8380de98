package status

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/certs"
	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
	"example.io/mtls-injector/cmd/kubectl-mtls/survey"
	"example.io/mtls-injector/intent"
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

// whyMissing says as much as can be known: pods keep no record of it.
func (l *look) whyMissing() string {
	if !l.around().NamespaceKnown {
		return "older than the webhook or than their role, let through while the webhook could not be reached, " +
			"or their namespace is not opted in, which you may not see"
	}
	older, younger := false, false
	for i := range l.Pods {
		if l.Pods[i].State == survey.Missing {
			isOlder := l.Pods[i].CreationTimestamp.Time.Before(l.survey.Since)
			older, younger = older || isOlder, younger || !isOlder
		}
	}
	switch {
	case older && !younger:
		return "older than the webhook"
	case younger && !older && !l.survey.Since.IsZero():
		return "older than the opting in of their namespace or than their role, or let through while the webhook could not be reached"
	default:
		return "older than the webhook or than their role, or let through while the webhook could not be reached"
	}
}

// replace is the command that has pods made anew.
func (l *look) replace(names []string) string {
	if l.Result.Errors != nil {
		return "correct what is refused first: kubectl mtls explain -n " + l.Namespace + " " + l.target()
	}
	if !l.ByHand {
		return fmt.Sprintf("kubectl -n %s rollout restart %s", l.Namespace, l.target())
	}
	command := fmt.Sprintf("kubectl -n %s delete pod %s", l.Namespace, strings.Join(names, " "))
	switch l.Kind {
	case "Pod":
		return fmt.Sprintf("kubectl -n %s get pod %s -o yaml | kubectl replace --force -f -", l.Namespace, names[0])
	case "Job", "CronJob":
		return command + "   # its Job makes them again"
	}
	if len(names) > 1 {
		command += "   # one after the other, if they must not be away together"
	}
	return command
}

// target names the workload as kubectl takes it.
func (l *look) target() string { return strings.ToLower(l.Kind) + "/" + l.Name }

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

// labelsFor returns labels that the selector matches, if that is a matter of values.
func labelsFor(selector labels.Selector) (string, bool) {
	requirements, selectable := selector.Requirements()
	var set []string
	for _, r := range requirements {
		values := r.Values().List()
		switch op := r.Operator(); {
		case (op == selection.Equals || op == selection.DoubleEquals || op == selection.In) && len(values) > 0:
			set = append(set, r.Key()+"="+values[0])
		default:
			return "", false
		}
	}
	return strings.Join(set, " "), selectable && len(set) > 0
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

func pods(n int) string {
	if n == 1 {
		return "1 pod"
	}
	return fmt.Sprintf("%d pods", n)
}

// some names the first ones.
func some(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// why asks why the companion is not signed; without an answer it is the condition's.
func why(ctx context.Context, reader client.Reader, w *survey.Workload) string {
	state := w.CompanionState()
	if state != certs.StatePending && state != certs.StateFailed {
		return ""
	}
	reason, err := certs.WhyPending(ctx, reader, w.Companion)
	if err == nil {
		return reason
	}
	for _, c := range w.Companion.Status.Conditions {
		if c.Message != "" {
			return c.Message
		}
	}
	return "cert-manager says nothing of it"
}

// outcome says in one word what becomes of new pods.
func outcome(w *survey.Workload) string {
	switch {
	case len(w.Result.Errors) > 0:
		return "refused"
	case w.Result.Skip != "" && len(w.Pods) == 0:
		return "" // nothing is left but the companion
	case w.Result.Skip != "":
		return string(intent.RoleNone)
	case w.Intent() != nil:
		return string(w.Intent().Role)
	}
	return ""
}
