package graph

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"example.io/mtls-injector/certs"
	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
	"example.io/mtls-injector/cmd/kubectl-mtls/survey"
	"example.io/mtls-injector/intent"
)

// Graph says who can talk to whom, in the form of -o json and yaml.
type Graph struct {
	Domains []*Domain `json:"domains"`
	// Links are between the clients of a domain and the servers of one, which may be the same.
	// There is one for each pair of domains that has both.
	Links []Link `json:"links,omitempty"`
	// NotKnown are the answers that the user's rights do not give.
	NotKnown []kube.Gap `json:"notKnown,omitempty"`
}

// Domain is a trust domain: workloads whose certificates are of one issuer, and that trust
// one bundle.
type Domain struct {
	// ID is for the links: d1, d2 and so on.
	ID string `json:"id"`
	// Issuer is "Kind/name", of a namespaced one with its namespace.
	Issuer string `json:"issuer"`
	// Bundle is "Kind/name", and Trusts are the subjects of its certificates.
	Bundle string   `json:"bundle"`
	Trusts []string `json:"trusts,omitempty"`
	// CA is the subject of the issuer's CA; empty where it cannot be known.
	CA        string  `json:"ca,omitempty"`
	Workloads []*Node `json:"workloads"`

	issuer authority
	roots  *roots
}

// Node is a workload.
type Node struct {
	Namespace string `json:"namespace"`
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	Role      string `json:"role"`
	// DNS are the names under which it can be called.
	DNS []string `json:"dns,omitempty"`
	// Blocked says why nobody can talk with it, or why some of its pods are left out.
	Blocked []string `json:"blocked,omitempty"`
}

// Serves reports whether it accepts connections.
func (n *Node) Serves() bool { return intent.Role(n.Role).IsServer() }

// Calls reports whether it opens connections.
func (n *Node) Calls() bool { return intent.Role(n.Role).IsClient() }

// String returns namespace/kind/name.
func (n *Node) String() string { return n.Namespace + "/" + n.Kind + "/" + n.Name }

// Verdict says whether they can talk.
type Verdict string

// Yes, No and NotKnown are the verdicts.
const (
	Yes      Verdict = "yes"
	No       Verdict = "no"
	NotKnown Verdict = "not known"
)

// Link says whether the clients of a domain can talk to the servers of a domain.
type Link struct {
	// From has the clients, To the servers.
	From    string   `json:"from"`
	To      string   `json:"to"`
	Verdict Verdict  `json:"verdict"`
	Reasons []string `json:"reasons,omitempty"`
}

func (d *Domain) any(is func(*Node) bool) bool { return slices.ContainsFunc(d.Workloads, is) }

// link returns the link between the domains, or nil.
func (g *Graph) link(from, to string) *Link {
	if i := slices.IndexFunc(g.Links, func(l Link) bool { return l.From == from && l.To == to }); i >= 0 {
		return &g.Links[i]
	}
	return nil
}

// build makes the graph of a survey.
func build(ctx context.Context, c *kube.Cluster, s *survey.Survey, namespace string, now time.Time) (*Graph, error) {
	t, err := learn(ctx, c, namespace)
	if err != nil {
		return nil, err
	}
	g := &Graph{Domains: []*Domain{}}
	byKey := map[string]*Domain{}
	for _, w := range s.Workloads {
		in := w.Intent()
		if in == nil || !w.OptedIn {
			continue
		}
		issuer := t.authorityOf(in, w.Namespace)
		bundle, err := t.rootsOf(ctx, in.CABundle, w.Namespace)
		if err != nil {
			return nil, err
		}
		key := issuer.name + "\n" + bundle.name + "\n" + bundle.fingerprint
		d := byKey[key]
		if d == nil {
			d = &Domain{Issuer: issuer.name, Bundle: bundle.name, Trusts: bundle.subjects(), CA: issuer.subject(), issuer: issuer, roots: bundle}
			byKey[key] = d
			g.Domains = append(g.Domains, d)
		}
		d.Workloads = append(d.Workloads, t.node(w, d, now))
	}
	slices.SortFunc(g.Domains, func(a, b *Domain) int {
		return cmp.Or(cmp.Compare(len(b.Workloads), len(a.Workloads)), strings.Compare(a.Issuer, b.Issuer),
			strings.Compare(a.Bundle, b.Bundle), strings.Compare(a.roots.fingerprint, b.roots.fingerprint))
	})
	for i, d := range g.Domains {
		d.ID = fmt.Sprintf("d%d", i+1)
	}
	g.connect(now)
	g.NotKnown = c.Gaps.List()
	return g, nil
}

func (t *trust) node(w *survey.Workload, d *Domain, now time.Time) *Node {
	in := w.Intent()
	n := &Node{Namespace: w.Namespace, Kind: w.Kind, Name: w.Name, Role: string(in.Role)}
	if in.Role.IsServer() {
		n.DNS = in.Identity.CompanionDNSNames()
	}
	if missing := w.Count(survey.Missing); missing > 0 {
		n.Blocked = append(n.Blocked, fmt.Sprintf("%d of %d pods are not injected", missing, len(w.Pods)))
	}
	if !w.HasCompanion() {
		return n
	}
	cert := w.Companion
	if end := cert.Status.NotAfter; end != nil && !now.Before(end.Time) {
		n.Blocked = append(n.Blocked, "expired: its certificate ended "+duration.HumanDuration(now.Sub(end.Time))+" ago")
		return n
	}
	if state := w.CompanionState(); state != certs.StateReady {
		n.Blocked = append(n.Blocked, "its certificate is "+string(state))
	}
	if leaf := t.leaves[w.Namespace+"/"+cert.Name]; leaf != nil {
		n.Blocked = append(n.Blocked, leaf.problems(in, d.roots, now)...)
	}
	return n
}

// connect says for each pair of domains whether clients of the one can talk to servers of the
// other: each side has to trust the CA of the other.
func (g *Graph) connect(now time.Time) {
	for _, from := range g.Domains {
		for _, to := range g.Domains {
			if from.any((*Node).Calls) && to.any((*Node).Serves) {
				g.Links = append(g.Links, connect(from, to, now))
			}
		}
	}
}

func connect(from, to *Domain, now time.Time) Link {
	l := Link{From: from.ID, To: to.ID, Verdict: Yes}
	judge := func(who string, roots *roots, issuer authority) {
		switch ok, known := roots.trust(issuer, now); {
		case !known && l.Verdict == Yes:
			l.Verdict = NotKnown
			l.Reasons = append(l.Reasons, fmt.Sprintf("whether %s of %s is trusted by %s", issuer.orName(), issuer.name, roots.name))
		case known && !ok:
			l.Verdict = No
			l.Reasons = append(l.Reasons, fmt.Sprintf("%s: the %s' bundle %s has not %s of %s", roots.why(issuer, now), who, roots.name, issuer.orName(), issuer.name))
		}
	}
	judge("clients", from.roots, to.issuer)
	if from != to {
		judge("servers", to.roots, from.issuer)
	}
	if l.Verdict == No { // what is not known does not matter any more
		l.Reasons = slices.DeleteFunc(l.Reasons, func(r string) bool { return strings.HasPrefix(r, "whether ") })
	}
	return l
}
