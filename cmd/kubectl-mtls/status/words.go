package status

// How the rules say it, and the commands that they name.

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/certs"
	"example.io/mtls-injector/cmd/kubectl-mtls/survey"
	"example.io/mtls-injector/intent"
)

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
