package demo

import (
	"context"
	"slices"
	"strings"
)

// reportPods tells what became of each pod.
func (d *Demo) reportPods(context.Context) error {
	d.out.table(
		[]string{"NAMESPACE", "POD", "ROLE", "DELIVERY", "ISSUER", "CONTAINERS"},
		d.podRows(),
	)
	d.out.line("  Left alone, with the reason that the audit log has:")
	for _, p := range d.pods {
		if p.promise.skip != "" {
			d.out.line("    " + p.Namespace + "/" + p.Name + ": " + string(p.promise.skip) + ", " + p.promise.skip.Explain())
		}
	}
	d.out.line("")
	d.out.line("  Refused. kubectl apply -f examples/" + refusedFile + " says:")
	for line := range strings.Lines(d.refusal) {
		if problem, ok := strings.CutPrefix(line, "* "); ok {
			d.out.labelled(4, 2, "*", problem)
			continue
		}
		d.out.note(4, line)
	}
	return nil
}

// podRows makes a row for each injected pod. What all pods of a workload have in common
// stands below the last of them.
func (d *Demo) podRows() []row {
	var rows []row
	for i, p := range d.pods {
		if p.promise.skip != "" {
			continue
		}
		s := p.status
		r := row{cells: []string{p.Namespace, p.Name, string(s.Role), string(s.Delivery), s.Issuer, strings.Join(s.Containers, ", ")}}
		if i+1 == len(d.pods) || d.pods[i+1].promise != p.promise {
			r.details = p.details()
		}
		rows = append(rows, r)
	}
	return rows
}

// leftOut names the containers that got nothing.
func (p *pod) leftOut() []string {
	var names []string
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		if !slices.Contains(p.status.Containers, c.Name) {
			names = append(names, c.Name)
		}
	}
	return names
}

func (p *pod) details() [][2]string {
	names := "none: it only calls"
	if len(p.status.DNS) > 0 {
		names = strings.Join(p.status.DNS, ", ")
	}
	details := [][2]string{
		{"workload", p.status.Workload},
		{"identity", p.status.SPIFFE},
		{"names", names},
	}
	if left := p.leftOut(); len(left) > 0 {
		details = append(details, [2]string{"left out", "container " + strings.Join(left, ", ")})
	}
	for _, warning := range p.warnings {
		details = append(details, [2]string{"warning", warning})
	}
	return details
}
