package graph

import (
	"bytes"
	"fmt"
	"strings"
)

// title names a domain for people.
func (d *Domain) title() string {
	return d.Issuer + ", trusting " + d.Bundle
}

// signs says whose CA signs, and what is trusted.
func (d *Domain) signs() string {
	ca, trusts := d.CA, strings.Join(d.Trusts, "; ")
	if ca == "" {
		ca = "not known"
	}
	switch {
	case d.roots.hidden:
		trusts = "not known"
	case trusts == "":
		trusts = "nothing: there is no such bundle"
	}
	return "signed by " + ca + ", trusts " + trusts
}

// short is the first DNS name, and how many more there are.
func short(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return fmt.Sprintf("%s +%d", names[0], len(names)-1)
}

func (g *Graph) text(out *bytes.Buffer) {
	if len(g.Domains) == 0 {
		out.WriteString("no workload is to speak mutual TLS\n")
		return
	}
	for i, d := range g.Domains {
		if i > 0 {
			out.WriteString("\n")
		}
		fmt.Fprintf(out, "%s  %s\n    %s\n", d.ID, d.title(), d.signs())
		for _, n := range d.Workloads {
			line := fmt.Sprintf("    %-6s  %s", n.Role, n)
			if n.Serves() {
				line += "  as " + short(n.DNS)
			}
			out.WriteString(line + "\n")
		}
	}
	g.textLinks(out, "\ncan talk\n", Yes)
	g.textLinks(out, "\ncannot talk\n", No)
	g.textBlocked(out)
	g.textLinks(out, "\nnot known\n", NotKnown)
}

func (g *Graph) textLinks(out *bytes.Buffer, head string, verdict Verdict) {
	for i := range g.Links {
		l := &g.Links[i]
		if l.Verdict != verdict {
			continue
		}
		out.WriteString(head)
		head = ""
		fmt.Fprintf(out, "    clients of %s -> servers of %s\n", l.From, l.To)
		for _, reason := range l.Reasons {
			fmt.Fprintf(out, "        %s\n", reason)
		}
	}
}

// textBlocked tells of workloads that cannot talk for reasons of their own.
func (g *Graph) textBlocked(out *bytes.Buffer) {
	head := "\ncannot talk\n"
	for i := range g.Links {
		if g.Links[i].Verdict == No {
			head = "" // it stands there already
		}
	}
	for _, d := range g.Domains {
		for _, n := range d.Workloads {
			if len(n.Blocked) == 0 {
				continue
			}
			out.WriteString(head)
			head = ""
			fmt.Fprintf(out, "    %s\n", n)
			for _, reason := range n.Blocked {
				fmt.Fprintf(out, "        %s\n", reason)
			}
		}
	}
}
