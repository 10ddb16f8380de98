package check

import (
	"bytes"
	"fmt"
	"strings"

	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
)

// Report is what the checks have found, in the form of -o json and yaml.
type Report struct {
	Checks []Result `json:"checks"`
	// OK, Warnings, Failures and NotKnown count checks, each by its worst outcome.
	OK       int `json:"ok"`
	Warnings int `json:"warnings"`
	Failures int `json:"failures"`
	NotKnown int `json:"notKnown"`
}

// Result is that of a check.
type Result struct {
	Name   string `json:"name"`
	About  string `json:"about"`
	Why    string `json:"why"`
	Status Status `json:"status"`
	// Outcomes are all that it has found.
	Outcomes []Outcome `json:"outcomes"`
}

func (r *Report) add(c *check, outcomes []Outcome) {
	status := worst(outcomes)
	r.Checks = append(r.Checks, Result{Name: c.name, About: c.about, Why: c.why, Status: status, Outcomes: outcomes})
	switch status {
	case OK:
		r.OK++
	case Warning:
		r.Warnings++
	case Failure:
		r.Failures++
	case NotKnown:
		r.NotKnown++
	}
}

func (o *Options) print(r *Report) error {
	if o.Output == kube.OutputJSON || o.Output == kube.OutputYAML {
		return kube.Print(o.Out, o.Output, r)
	}
	var out bytes.Buffer
	for i := range r.Checks {
		o.printResult(&out, &r.Checks[i])
	}
	fmt.Fprintf(&out, "\n%d ok, %s, %s, %d not known\n", r.OK, count(r.Warnings, "warning"), count(r.Failures, "failure"), r.NotKnown)
	_, err := o.Out.Write(out.Bytes())
	return err
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// printResult prints a line for what is well, and for the rest why it matters and what to do.
func (o *Options) printResult(out *bytes.Buffer, r *Result) {
	wide := o.Output == kube.OutputWide
	line := func(status Status, text string) { fmt.Fprintf(out, "%-9s  %s\n", status, text) }
	more := func(head, text string) {
		for l := range strings.SplitSeq(text, "\n") {
			fmt.Fprintf(out, "           %-5s %s\n", head, l)
			head = ""
		}
	}
	if r.Status == OK && !wide {
		line(OK, r.About)
		return
	}
	line(r.Status, r.Name+": "+r.About)
	for _, outcome := range r.Outcomes {
		if outcome.Status == OK && !wide {
			continue
		}
		head := "what:"
		if len(r.Outcomes) > 1 {
			head = string(outcome.Status) + ":"
		}
		more(head, outcome.Message)
		if outcome.Remedy != "" {
			more("do:", outcome.Remedy)
		}
	}
	if r.Status == Warning || r.Status == Failure || wide {
		more("why:", r.Why)
	}
}
