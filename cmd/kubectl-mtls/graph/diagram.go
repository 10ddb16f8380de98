package graph

// Diagrams that other programs draw: Mermaid (https://mermaid.js.org) and Graphviz's DOT. In
// both, a domain is a box with a hub, to which its clients point and which points to its
// servers: that is fewer lines than from each to each.

import (
	"bytes"
	"fmt"
	"strings"
)

// nodeID names a workload within its domain: all in one diagram differ.
func nodeID(d *Domain, i int) string { return fmt.Sprintf("%sw%d", d.ID, i+1) }

func (n *Node) label() []string {
	lines := []string{n.Kind + "/" + n.Name, n.Namespace + ", " + n.Role}
	return append(lines, n.Blocked...)
}

func (d *Domain) hub() []string {
	if d.CA == "" {
		return []string{"CA not known"}
	}
	return []string{d.CA}
}

// mermaidText escapes a text for a quoted label.
func mermaidText(lines []string) string {
	escape := strings.NewReplacer("&", "&amp;", `"`, "&quot;", "<", "&lt;", ">", "&gt;", "#", "&#35;")
	for i := range lines {
		lines[i] = escape.Replace(lines[i])
	}
	return strings.Join(lines, "<br>")
}

func (g *Graph) mermaid(out *bytes.Buffer) {
	out.WriteString("flowchart LR\n")
	for _, d := range g.Domains {
		fmt.Fprintf(out, "  subgraph %s[\"%s\"]\n", d.ID, mermaidText([]string{d.title()}))
		fmt.Fprintf(out, "    %shub((\"%s\"))\n", d.ID, mermaidText(d.hub()))
		for i, n := range d.Workloads {
			fmt.Fprintf(out, "    %s[\"%s\"]\n", nodeID(d, i), mermaidText(n.label()))
		}
		out.WriteString("  end\n")
	}
	g.edges(func(from, to, label string, verdict Verdict) {
		begin, end := "-", map[Verdict]string{Yes: "->", No: ".-x", NotKnown: ".->"}[verdict]
		if verdict != Yes && label != "" {
			begin = `-. "` + mermaidText([]string{label}) + `" `
		}
		fmt.Fprintf(out, "  %s %s%s %s\n", from, begin, end, to)
	})
	out.WriteString("  classDef blocked stroke:#c62828,color:#c62828\n")
	for _, d := range g.Domains {
		for i, n := range d.Workloads {
			if len(n.Blocked) > 0 {
				fmt.Fprintf(out, "  class %s blocked\n", nodeID(d, i))
			}
		}
	}
}

// edges calls draw for every line of a diagram: within domains, and between their hubs.
func (g *Graph) edges(draw func(from, to, label string, verdict Verdict)) {
	for _, d := range g.Domains {
		verdict, label := Yes, ""
		if own := g.link(d.ID, d.ID); own != nil {
			verdict, label = own.Verdict, reasonOf(own)
		}
		for i, n := range d.Workloads {
			if n.Calls() && len(n.Blocked) > 0 {
				draw(nodeID(d, i), d.ID+"hub", "", No) // the node says why
			} else if n.Calls() {
				draw(nodeID(d, i), d.ID+"hub", label, verdict)
			}
			if n.Serves() {
				draw(d.ID+"hub", nodeID(d, i), "", n.verdict(Yes))
			}
		}
	}
	for i := range g.Links {
		if l := &g.Links[i]; l.From != l.To {
			draw(l.From+"hub", l.To+"hub", reasonOf(l), l.Verdict)
		}
	}
}

// verdict is that of the domain, unless something is the matter with the workload itself.
func (n *Node) verdict(otherwise Verdict) Verdict {
	if len(n.Blocked) > 0 {
		return No
	}
	return otherwise
}

// reasonOf is the reason in a few words; the text has it in full.
func reasonOf(l *Link) string {
	switch {
	case l.Verdict == NotKnown:
		return "not known"
	case len(l.Reasons) == 0:
		return ""
	}
	reason, _, _ := strings.Cut(l.Reasons[0], ":")
	return reason
}

// dotText escapes a text for a quoted string.
func dotText(lines []string) string {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	for i := range lines {
		lines[i] = escape.Replace(lines[i])
	}
	return `"` + strings.Join(lines, `\n`) + `"`
}

func (g *Graph) dot(out *bytes.Buffer) {
	out.WriteString("digraph mtls {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\"];\n")
	for _, d := range g.Domains {
		fmt.Fprintf(out, "  subgraph cluster_%s {\n    label=%s;\n", d.ID, dotText([]string{d.title()}))
		fmt.Fprintf(out, "    %shub [shape=ellipse, label=%s];\n", d.ID, dotText(d.hub()))
		for i, n := range d.Workloads {
			color := ""
			if len(n.Blocked) > 0 {
				color = `, color="#c62828", fontcolor="#c62828"`
			}
			fmt.Fprintf(out, "    %s [label=%s%s];\n", nodeID(d, i), dotText(n.label()), color)
		}
		out.WriteString("  }\n")
	}
	g.edges(func(from, to, label string, verdict Verdict) {
		style := map[Verdict]string{
			Yes: "", No: `style=dashed, color="#c62828", fontcolor="#c62828", label=`, NotKnown: `style=dotted, color="#757575", label=`,
		}[verdict]
		if style != "" {
			style = " [" + style + dotText([]string{label}) + "]"
		}
		fmt.Fprintf(out, "  %s -> %s%s;\n", from, to, style)
	})
	out.WriteString("}\n")
}
