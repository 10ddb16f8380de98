package injector

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"example.io/mtls-injector/intent"
)

// defaultGracePeriod is what a pod has that says nothing.
const defaultGracePeriod = corev1.DefaultTerminationGracePeriodSeconds

// hook is a preStop hook, lifecycle one with the object around it.
type (
	hook      struct{ intent.PreStop }
	lifecycle hook
)

// MarshalJSON makes the hook as core/v1 has it.
func (h *hook) MarshalJSON() ([]byte, error) { return h.appendJSON(nil), nil }

func (h *hook) appendJSON(dst []byte) []byte {
	if h.Method == intent.PreStopExec {
		dst = strconv.AppendInt(append(dst, `{"exec":{"command":["sleep","`...), h.Seconds, 10)
		return append(dst, `"]}}`...)
	}
	dst = strconv.AppendInt(append(dst, `{"sleep":{"seconds":`...), h.Seconds, 10)
	return append(dst, `}}`...)
}

// MarshalJSON makes the lifecycle as core/v1 has it.
func (l *lifecycle) MarshalJSON() ([]byte, error) { return l.appendJSON(nil), nil }

func (l *lifecycle) appendJSON(dst []byte) []byte {
	dst = (*hook)(l).appendJSON(append(dst, `{"preStop":`...))
	return append(dst, '}')
}

// preStop adds the hook that keeps a container serving while endpoints drain, and the
// time that it takes. Only regular containers have it: plain init containers have no
// lifecycle, and the kubelet stops native sidecars after the regular containers.
func preStop(p *patch) {
	want := &p.in.PreStop
	if want.Seconds == 0 {
		return
	}
	var added *hook
	for i := range p.served {
		t := &p.served[i]
		if t.list != containers {
			continue
		}
		if t.Lifecycle != nil && t.Lifecycle.PreStop != nil {
			p.keep(t.Name, keptPreStop)
			if !isHook(t.Lifecycle.PreStop, want) {
				p.warn(t.quoted() + " keeps its own preStop hook: it gets no sleep of " + strconv.FormatInt(want.Seconds, 10) +
					" seconds while endpoints drain")
			}
			continue
		}
		if added == nil {
			added = &hook{*want}
		}
		if t.Lifecycle == nil {
			p.add(p.join(t.path, "/lifecycle"), (*lifecycle)(added))
		} else {
			p.add(p.join(t.path, "/lifecycle/preStop"), added)
		}
	}
	if added != nil {
		p.gracePeriod()
		p.warnOfExec()
	}
}

// warnOfExec tells what the older action needs: where it is missing the hook fails at once, and
// the container is stopped while requests still come.
func (p *patch) warnOfExec() {
	if p.in.PreStop.Method == intent.PreStopExec {
		p.warn("the preStop hook runs the program sleep in the container, as Kubernetes has no sleep action before 1.30: " +
			"where the image has none the hook fails, and connections are cut; set " + intent.Prefix + "pre-stop-seconds: 0 there")
	}
}

// isHook reports whether the container's hook is the one that is wanted.
func isHook(have *intent.PreStopHandler, want *intent.PreStop) bool {
	if want.Method == intent.PreStopExec {
		return have.Exec != nil && have.Sleep == nil && len(have.Exec.Command) == 2 && have.Exec.Command[0] == "sleep" &&
			have.Exec.Command[1] == strconv.FormatInt(want.Seconds, 10)
	}
	return have.Sleep != nil && have.Exec == nil && have.Sleep.Seconds == want.Seconds
}

// gracePeriod raises a period that is shorter than the hook's sleep, which counts against
// it: the API server refuses such a pod. What the user gave to the program itself stays.
func (p *patch) gracePeriod() {
	op, had, sleep := "add", int64(defaultGracePeriod), p.in.PreStop.Seconds
	if own := p.pod.Spec.TerminationGracePeriodSeconds; own != nil {
		op, had = "replace", max(*own, 0)
	}
	if had >= sleep {
		return
	}
	raised := sleep + had
	p.before.grace(p.pod.Spec.TerminationGracePeriodSeconds)
	p.warn("terminationGracePeriodSeconds is raised from " + strconv.FormatInt(had, 10) + " to " + strconv.FormatInt(raised, 10) +
		", for the preStop hook sleeps " + strconv.FormatInt(sleep, 10) + " seconds of it")
	p.operation(op, "/spec/terminationGracePeriodSeconds", raised)
}
