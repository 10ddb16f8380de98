package kube

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Gap is something that the user may not read, and so an answer that is missing.
type Gap struct {
	// Verb, Group, Resource, Name and Namespace are the rule that would close the gap. Name
	// is empty for all objects of the resource, Namespace for all namespaces.
	Verb      string `json:"verb"`
	Group     string `json:"apiGroup"`
	Resource  string `json:"resource"`
	Name      string `json:"name,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	// For is what cannot be told without it, such as "who owns the pods".
	For string `json:"for"`
}

// Rule says the rule for people: get configmaps/mtls-injector in namespace "mtls-injector".
func (g *Gap) Rule() string {
	resource := g.Resource
	if g.Group != "" {
		resource += "." + g.Group
	}
	if g.Name != "" {
		resource += "/" + g.Name
	}
	switch {
	case g.Namespace != "":
		return fmt.Sprintf("%s %s in namespace %q", g.Verb, resource, g.Namespace)
	case g.isClusterScoped():
		return fmt.Sprintf("%s %s", g.Verb, resource)
	default:
		return fmt.Sprintf("%s %s in all namespaces", g.Verb, resource)
	}
}

// isClusterScoped reports whether the resource is one of no namespace, of those that the
// plugin reads.
func (g *Gap) isClusterScoped() bool {
	return slices.Contains([]string{
		"namespaces", "nodes", "clusterissuers", "bundles", "csidrivers", "csinodes", "clustertrustbundles",
		"mutatingwebhookconfigurations", "validatingwebhookconfigurations", "customresourcedefinitions",
		"certificaterequestpolicies", "clusterroles", "clusterrolebindings",
	}, g.Resource)
}

// Gaps collects what the user may not read, each once. The zero value has none.
type Gaps struct {
	list []Gap
}

// Add adds a gap that is not there yet.
func (g *Gaps) Add(gap Gap) {
	if !slices.Contains(g.list, gap) {
		g.list = append(g.list, gap)
	}
}

// List returns the gaps in a fixed order.
func (g *Gaps) List() []Gap {
	slices.SortFunc(g.list, func(a, b Gap) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Group, b.Group),
			strings.Compare(a.Resource, b.Resource), strings.Compare(a.Name, b.Name),
			strings.Compare(a.Verb, b.Verb), strings.Compare(a.For, b.For))
	})
	return slices.Clone(g.list)
}

// Print tells which answers are missing, and which rule would give each.
func (g *Gaps) Print(out io.Writer) error {
	for _, gap := range g.List() {
		if _, err := fmt.Fprintf(out, "not known: %s (you may not %s)\n", gap.For, gap.Rule()); err != nil {
			return err
		}
	}
	return nil
}
