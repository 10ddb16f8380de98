package explain

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
	"example.io/mtls-injector/intent"
)

func asStatus(err error, status *apierrors.APIStatus) bool { return errors.As(err, status) }

// print writes the report in the format that is asked for.
func (o *Options) print(r *Report) error {
	if o.Output != kube.OutputText {
		return kube.Print(o.Out, o.Output, r)
	}
	var out bytes.Buffer
	for i := range r.Pods {
		if i > 0 {
			out.WriteByte('\n')
		}
		r.Pods[i].write(&out)
	}
	fmt.Fprintf(&out, "\nConfiguration: %s\n", r.Configuration)
	if _, err := o.Out.Write(out.Bytes()); err != nil {
		return err
	}
	for _, gap := range r.Unknown {
		if _, err := fmt.Fprintf(o.ErrOut, "not known: %s (you may not %s)\n", gap.For, gap.Rule()); err != nil {
			return err
		}
	}
	return nil
}

// write tells of one pod. Writing to memory does not fail.
func (p *Pod) write(out *bytes.Buffer) {
	fmt.Fprintf(out, "%s in namespace %s: %s\n", p.Object, p.Namespace, p.verdict())
	if p.File != "" {
		fmt.Fprintf(out, "%s\n", p.File)
	}
	p.writeRefusals(out)
	writeDecisions(out, p.Decisions)
	writeList(out, "Warnings", p.Warnings)
	if p.Then != nil {
		p.Then.write(out)
	}
	if p.Patch != "" {
		fmt.Fprintf(out, "\nWhat is injected:\n%s", indent(p.Patch))
	}
}

// verdict says in a few words what becomes of the pod.
func (p *Pod) verdict() string {
	switch {
	case p.Outcome == OutcomeRefused && p.Then != nil:
		return "injected, and would be refused now"
	case p.Outcome == OutcomeRefused:
		return "would be refused"
	case p.Outcome == OutcomeSkipped:
		return "left alone (" + string(p.SkipReason) + "): " + p.Reason
	case p.Outcome == OutcomeNotAsked:
		return "left alone: " + p.Reason
	case p.Then == nil:
		return "would be injected"
	case p.Then.Now == "":
		return "injected, and would be the same now"
	default:
		return "injected, and would be different now"
	}
}

func (p *Pod) writeRefusals(out *bytes.Buffer) {
	for _, r := range p.Refusals {
		fmt.Fprintf(out, "\n  %s:\n    %s\n", r.Field, r.Message)
		if r.Remedy != "" {
			fmt.Fprintf(out, "    What to do: %s\n", r.Remedy)
		}
	}
}

// writeDecisions puts the value last: some are long.
func writeDecisions(out *bytes.Buffer, decisions []intent.Decision) {
	if len(decisions) == 0 {
		return
	}
	out.WriteByte('\n')
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = io.WriteString(table, "  DECISION\tFROM\tVALUE\n")
	for i := range decisions {
		d := &decisions[i]
		value := d.Value
		if d.Refused {
			value += " (refused)"
		}
		_, _ = fmt.Fprintf(table, "  %s\t%s\t%s\n", d.Key, d, value)
	}
	_ = table.Flush()
}

func writeList(out *bytes.Buffer, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(out, "\n%s:\n", title)
	for _, line := range lines {
		fmt.Fprintf(out, "  - %s\n", line)
	}
}

func (t *Then) write(out *bytes.Buffer) {
	s := &t.Status
	fmt.Fprintf(out, "\nWhat it got when it was injected, by mtls-injector %s:\n", s.Version)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, line := range [][2]string{
		{"role", string(s.Role)}, {"workload", s.Workload}, {"spiffe-id", s.SPIFFE}, {"dns-names", strings.Join(s.DNS, ", ")},
		{"issuer", s.Issuer}, {"delivery", string(s.Delivery)}, {"companion", s.Companion}, {"containers", strings.Join(s.Containers, ", ")},
	} {
		if line[1] != "" {
			_, _ = fmt.Fprintf(table, "  %s\t%s\n", line[0], line[1])
		}
	}
	_ = table.Flush()
	writeList(out, "What its spec has of it", t.Found)
	writeList(out, "Changed by hand since", t.ChangedByHand)
	if t.Now == "" {
		out.WriteString("\nCreated now, it would be the same.\n")
		return
	}
	fmt.Fprintf(out, "\nWhat would be different if it was created now:\n%s", indent(t.Now))
}

func indent(text string) string {
	lines := slices.Collect(strings.Lines(text))
	for i := range lines {
		lines[i] = "  " + lines[i]
	}
	return strings.Join(lines, "")
}
