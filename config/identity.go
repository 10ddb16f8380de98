package config

// The grants of names: who may ask for what besides a pod's own.

import (
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/intent"
)

func nameRules(rules []NameRule) ([]intent.NameRule, error) {
	out := make([]intent.NameRule, len(rules))
	for i := range rules {
		r := &rules[i]
		selector, err := metav1.LabelSelectorAsSelector(r.NamespaceSelector)
		if err != nil {
			return nil, fmt.Errorf("identity.allow[%d].namespaceSelector: %w", i, err)
		}
		out[i] = intent.NameRule{
			Namespaces: selector, DNSNames: r.DNSNames, URIs: r.URIs, IPAddresses: r.IPAddresses,
			CommonNames:   r.CommonNames,
			Organizations: r.Organizations, OrganizationalUnits: r.OrganizationalUnits,
			Countries: r.Countries, Provinces: r.Provinces, Localities: r.Localities,
			StreetAddresses: r.StreetAddresses, PostalCodes: r.PostalCodes, SerialNumbers: r.SerialNumbers,
		}
	}
	return out, nil
}

func fromNameRules(rules []intent.NameRule) ([]NameRule, error) {
	out := make([]NameRule, len(rules))
	for i := range rules {
		r := &rules[i]
		selector, err := fromSelector(r.Namespaces)
		if err != nil {
			return nil, fmt.Errorf("identity.allow[%d].namespaceSelector: %w", i, err)
		}
		out[i] = NameRule{
			NamespaceSelector: selector,
			DNSNames:          nonNil(r.DNSNames), URIs: nonNil(r.URIs), IPAddresses: nonNil(r.IPAddresses),
			CommonNames:   nonNil(r.CommonNames),
			Organizations: nonNil(r.Organizations), OrganizationalUnits: nonNil(r.OrganizationalUnits),
			Countries: nonNil(r.Countries), Provinces: nonNil(r.Provinces), Localities: nonNil(r.Localities),
			StreetAddresses: nonNil(r.StreetAddresses), PostalCodes: nonNil(r.PostalCodes), SerialNumbers: nonNil(r.SerialNumbers),
		}
	}
	return out, nil
}

// grants is one list of a rule, and what is wrong with an item.
type grants struct {
	name  string
	items []string
	check func(string) []string
}

func (v *validator) nameRule(r *NameRule, trustDomain string, at *field.Path) {
	v.selector(r.NamespaceSelector, at.Child("namespaceSelector"))
	uri := func(pattern string) []string { return uriPattern(pattern, trustDomain) }
	lists := []grants{
		{"dnsNames", r.DNSNames, dnsPattern},
		{"uris", r.URIs, uri},
		{"ipAddresses", r.IPAddresses, ipAddress},
		{"commonNames", r.CommonNames, subjectText},
		{"organizations", r.Organizations, subjectText},
		{"organizationalUnits", r.OrganizationalUnits, subjectText},
		{"countries", r.Countries, subjectText},
		{"provinces", r.Provinces, subjectText},
		{"localities", r.Localities, subjectText},
		{"streetAddresses", r.StreetAddresses, subjectText},
		{"postalCodes", r.PostalCodes, subjectText},
		{"serialNumbers", r.SerialNumbers, subjectText},
	}
	granted, names := 0, make([]string, len(lists))
	for i, list := range lists {
		v.list(list.items, at.Child(list.name), list.check)
		granted, names[i] = granted+len(list.items), list.name
	}
	if granted == 0 {
		v.errs = append(v.errs, field.Required(at, "a rule must grant something: "+strings.Join(names, ", ")))
	}
}

// dnsPattern accepts DNS names and wildcards of one label.
func dnsPattern(name string) []string {
	if strings.HasPrefix(name, "*") {
		return validation.IsWildcardDNS1123Subdomain(name)
	}
	return validation.IsDNS1123Subdomain(name)
}

// subjectText holds for every field of the subject what it does for the common name, which
// is one text and not a list.
func subjectText(text string) []string {
	if err := intent.Check("common-name", text); err != nil {
		return []string{err.Error()}
	}
	return nil
}

// ipAddress accepts one spelling of each address, so that requests can be compared with it.
func ipAddress(text string) []string {
	address, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		return []string{"must be an IP address such as 192.0.2.1 or 2001:db8::1"}
	case address.Zone() != "":
		return []string{"must have no zone, which no certificate can hold"}
	}
	// A certificate holds an IPv4 address in four bytes, however it was written.
	if canonical := address.Unmap().String(); canonical != text {
		return []string{"must be in its canonical form, " + canonical}
	}
	return nil
}

var uriForm = regexp.MustCompile(`^([a-z][a-z0-9+.-]*):.+$`)

// uriPattern accepts patterns as in path.Match of absolute URIs. None can match a SPIFFE ID
// of the injector's own trust domain: those come from service accounts alone.
func uriPattern(pattern, trustDomain string) []string {
	form := uriForm.FindStringSubmatch(pattern)
	if _, err := path.Match(pattern, ""); err != nil || form == nil {
		return []string{"must be an absolute URI, or a pattern of one as in Go's path.Match, such as https://example.com/*; " +
			"the scheme is in lower case and without wildcards"}
	}
	if strings.ContainsFunc(pattern, notInURI) {
		return []string{`must have printable ASCII characters only, without space, comma, '$' and '"'`}
	}
	if form[1] != "spiffe" {
		return nil
	}
	// What stands as it is cannot be a wildcard's, and the domain ends at the next "/".
	rest, ok := strings.CutPrefix(pattern, "spiffe://")
	domain, _, _ := strings.Cut(rest, "/")
	switch {
	case !ok || !isTrustDomain(domain):
		return []string{"must be a SPIFFE ID, spiffe://<trust domain>/…, with a trust domain without wildcards: " +
			"1 to 255 lower-case letters, digits, '.', '-' and '_'"}
	case domain == trustDomain:
		return []string{"must be of another trust domain: the SPIFFE IDs of " + trustDomain + " come from service accounts alone"}
	}
	return nil
}

// notInURI keeps out what no URI has, and what separates or expands in the CSI driver's
// attributes.
func notInURI(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`,$"`, r) }
