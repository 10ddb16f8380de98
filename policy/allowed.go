package policy

import (
	"fmt"
	"slices"
	"strings"

	"example.io/mtls-injector/intent"
)

// share is what the configuration grants to namespaces of these names, or with nil to all
// that the policy selects.
type share struct {
	names []string
	rule  intent.NameRule
}

// shares returns what the rules grant to the namespaces of a reach, with one share for all
// rules for the same names.
func (r *renderer) shares(namespaces reach) []share {
	var out []share
	for i := range r.grants {
		g := &r.grants[i]
		names := common(g.names, namespaces.names)
		if !namespaces.within(reach{labels: g.labels}) || names != nil && len(names) == 0 {
			continue
		}
		if namespaces.within(reach{names: g.names}) {
			names = nil // no need to ask
		}
		j := slices.IndexFunc(out, func(s share) bool { return slices.Equal(s.names, names) })
		if j < 0 {
			j = len(out)
			out = append(out, share{names: names})
		}
		out[j].add(g.rule)
	}
	return out
}

func (s *share) add(rule *intent.NameRule) {
	for _, field := range []struct {
		to   *[]string
		from []string
	}{
		{&s.rule.DNSNames, rule.DNSNames}, {&s.rule.URIs, rule.URIs}, {&s.rule.IPAddresses, rule.IPAddresses},
		{&s.rule.CommonNames, rule.CommonNames},
		{&s.rule.Organizations, rule.Organizations}, {&s.rule.OrganizationalUnits, rule.OrganizationalUnits},
		{&s.rule.Countries, rule.Countries}, {&s.rule.Provinces, rule.Provinces}, {&s.rule.Localities, rule.Localities},
		{&s.rule.StreetAddresses, rule.StreetAddresses}, {&s.rule.PostalCodes, rule.PostalCodes},
		{&s.rule.SerialNumbers, rule.SerialNumbers},
	} {
		for _, item := range field.from {
			if !slices.Contains(*field.to, item) {
				*field.to = append(*field.to, item)
			}
		}
	}
}

// granted returns the terms of all shares, each bound to its namespaces.
func granted(shares []share, termsOf func(*intent.NameRule) []string) []string {
	var out []string
	for i := range shares {
		s := &shares[i]
		terms := termsOf(&s.rule)
		switch {
		case len(terms) == 0:
		case s.names == nil:
			out = append(out, terms...)
		default:
			out = append(out, "cr.namespace in "+list(s.names)+" && ("+strings.Join(terms, " || ")+")")
		}
	}
	return out
}

// exactly makes terms of texts that are granted as they stand.
func exactly(texts func(*intent.NameRule) []string) func(*intent.NameRule) []string {
	return func(rule *intent.NameRule) []string {
		if items := texts(rule); len(items) > 0 {
			return []string{"self in " + list(items)}
		}
		return nil
	}
}

// dnsTerms makes terms of names, where a leading "*." is one label, or the wildcard itself.
func dnsTerms(rule *intent.NameRule) []string {
	var terms, exact, domains []string
	for _, name := range rule.DNSNames {
		if domain, wildcard := strings.CutPrefix(name, "*."); wildcard {
			domains = append(domains, meta(domain))
		} else {
			exact = append(exact, name)
		}
	}
	if len(exact) > 0 {
		terms = append(terms, "self in "+list(exact))
	}
	if len(domains) > 0 {
		terms = append(terms, matches("([*]|"+label+")[.]("+strings.Join(domains, "|")+")"))
	}
	return terms
}

func uriTerms(rule *intent.NameRule) []string {
	terms := make([]string, len(rule.URIs))
	for i, pattern := range rule.URIs {
		terms[i] = matches(uriPattern(pattern))
	}
	return terms
}

const messageGranted = "must be granted to the request's namespace by the configuration of mtls-injector (identity.allow)"

// allowed returns what requests of the requester may have, where the shares are granted.
func (r *renderer) allowed(q *requester, shares []share) allowed {
	domain := r.defaults.ClusterDomain
	own := matchesAround(label+"([.]", "([.]svc([.]"+meta(domain)+")?)?)?")
	perPod := matchesAround(q.perPod+label+"[.]", "[.]svc[.]"+meta(domain))
	names := append([]string{own, perPod}, granted(shares, dnsTerms)...)
	ofDNS := fmt.Sprintf("must be <service>, <service>.<namespace>, <service>.<namespace>.svc or <service>.<namespace>.svc.%s "+
		"with the request's namespace, or a pod's name below the last, or granted by the configuration of mtls-injector (identity.allow)", domain)

	commonNames := slices.Clone(names)
	if !q.commonName {
		commonNames = slices.Delete(commonNames, 1, 2)
	}
	commonNames = append(commonNames, granted(shares, exactly(func(n *intent.NameRule) []string { return n.CommonNames }))...)

	uris := append([]string{q.spiffeID(r.defaults.TrustDomain)}, granted(shares, uriTerms)...)
	ofURI := "must be the SPIFFE ID of " + q.whose + ", or granted by the configuration of mtls-injector (identity.allow)"
	return allowed{
		CommonName: &text{Validations: []validationRule{
			{Rule: fmt.Sprintf("self.size() <= %d", maxCommonName), Message: fmt.Sprintf("must have at most %d characters (RFC 5280)", maxCommonName)},
			{Rule: anyOf(commonNames), Message: ofDNS},
		}},
		DNSNames:    &texts{Validations: []validationRule{{Rule: anyOf(names), Message: ofDNS}}},
		IPAddresses: grantedTexts(shares, func(n *intent.NameRule) []string { return n.IPAddresses }),
		// Every request has a URI, so this is where to ask who makes it.
		URIs:    &texts{Required: true, Validations: []validationRule{q.who, {Rule: anyOf(uris), Message: ofURI}}},
		Usages:  usages(),
		Subject: subjectOf(shares),
	}
}

func subjectOf(shares []share) *subject {
	s := subject{
		Organizations:       grantedTexts(shares, func(n *intent.NameRule) []string { return n.Organizations }),
		Countries:           grantedTexts(shares, func(n *intent.NameRule) []string { return n.Countries }),
		OrganizationalUnits: grantedTexts(shares, func(n *intent.NameRule) []string { return n.OrganizationalUnits }),
		Localities:          grantedTexts(shares, func(n *intent.NameRule) []string { return n.Localities }),
		Provinces:           grantedTexts(shares, func(n *intent.NameRule) []string { return n.Provinces }),
		StreetAddresses:     grantedTexts(shares, func(n *intent.NameRule) []string { return n.StreetAddresses }),
		PostalCodes:         grantedTexts(shares, func(n *intent.NameRule) []string { return n.PostalCodes }),
	}
	if serials := grantedTexts(shares, func(n *intent.NameRule) []string { return n.SerialNumbers }); serials != nil {
		s.SerialNumber = &text{Validations: serials.Validations}
	}
	if s == (subject{}) {
		return nil
	}
	return &s
}

// grantedTexts allows what is granted to the letter; nil allows nothing.
func grantedTexts(shares []share, of func(*intent.NameRule) []string) *texts {
	terms := granted(shares, exactly(of))
	if len(terms) == 0 {
		return nil
	}
	return &texts{Validations: []validationRule{{Rule: anyOf(terms), Message: messageGranted}}}
}
