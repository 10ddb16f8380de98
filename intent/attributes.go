package intent

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmutil "github.com/cert-manager/cert-manager/pkg/util"
)

// attribute is one row of the table of the CSI driver's volume attributes.
type attribute struct {
	// name is the key behind "csi.cert-manager.io/".
	name string
	// check returns what is wrong with a value; nil for what says nothing about who
	// somebody is. It is called for a missing attribute, too, if always is set.
	check  func(g *guard, value string) []error
	always bool
}

// attributes returns the table in the order of the driver's documentation (v0.16).
func attributes() []attribute {
	return []attribute{
		{name: "issuer-name"}, {name: "issuer-kind"}, {name: "issuer-group"}, // checkIssuer
		{name: "literal-subject", check: refuseLiteral},
		{name: "common-name", check: (*guard).checkCommonName},
		{name: "organizations", check: checkSubject(func(r *NameRule) []string { return r.Organizations })},
		{name: "organizationalunits", check: checkSubject(func(r *NameRule) []string { return r.OrganizationalUnits })},
		{name: "countries", check: checkSubject(func(r *NameRule) []string { return r.Countries })},
		{name: "provinces", check: checkSubject(func(r *NameRule) []string { return r.Provinces })},
		{name: "localities", check: checkSubject(func(r *NameRule) []string { return r.Localities })},
		{name: "streetaddresses", check: checkSubject(func(r *NameRule) []string { return r.StreetAddresses })},
		{name: "postalcodes", check: checkSubject(func(r *NameRule) []string { return r.PostalCodes })},
		{name: "serialnumber", check: checkSerialNumber},
		{name: "dns-names", check: eachItem((*guard).checkDNSName)},
		{name: "uri-sans", check: eachItem((*guard).checkURI)},
		{name: "ip-sans", check: eachItem((*guard).checkIP)},
		{name: "duration", check: checkLifetime, always: true},
		{name: "renew-before", check: checkDuration},
		{name: "is-ca", check: checkCA},
		{name: "key-usages", check: checkUsages},
		{name: "key-algorithm"}, {name: "key-size"}, // checkPrivateKey
		{name: "key-encoding"},
		{name: "ca-file"}, {name: "certificate-file"}, {name: "privatekey-file"},
		{name: "fs-group"},
		{name: "reuse-private-key"},
		{name: "pkcs12-enable"}, {name: "pkcs12-filename"}, {name: "pkcs12-password"},
	}
}

// eachItem expands the variables of a comma-separated list, as the driver does, and only
// then looks at each item: a value with a comma is two items.
func eachItem(check func(g *guard, item string) error) func(*guard, string) []error {
	return func(g *guard, value string) []error {
		expanded, err := g.expand(value)
		if err != nil {
			return []error{err}
		}
		if strings.Count(expanded, ",") >= maxItems {
			return []error{fmt.Errorf("must have at most %d items", maxItems)}
		}
		var errs []error
		for item := range strings.SplitSeq(expanded, ",") {
			if err := check(g, item); err != nil {
				errs = append(errs, err)
			}
		}
		return errs
	}
}

// checkDNSName takes an item as it will stand in the certificate: the driver trims it.
func (g *guard) checkDNSName(item string) error {
	name := strings.TrimSpace(item)
	if err := dnsName(name); err != nil {
		return fmt.Errorf("item %s: %w", quote(name), err)
	}
	if g.mayBeCalled(name) {
		return nil
	}
	return errors.New(g.mayNotClaim(name))
}

// mayBeCalled reports whether a DNS name is the pod's own, or granted.
func (g *guard) mayBeCalled(name string) bool {
	return g.owns(name) || g.ownsAlone(name, g.podName()) || g.grantsDNS(name)
}

// checkCommonName allows the pod's own names, and what is granted.
func (g *guard) checkCommonName(value string) []error {
	name, err := g.expand(value)
	switch {
	case err != nil:
		return []error{err}
	case len(name) > maxSubject:
		return []error{fmt.Errorf("must have at most %d bytes (RFC 5280)", maxSubject)}
	case dnsName(name) == nil && g.mayBeCalled(name),
		g.grantsText(func(r *NameRule) []string { return r.CommonNames }, name):
		return nil
	}
	return []error{errors.New(g.mayNotClaim(name))}
}

// checkURI allows the pod's own SPIFFE ID and what is granted, never another SPIFFE ID of
// the same trust domain.
func (g *guard) checkURI(item string) error {
	if item == g.spiffeID() {
		return nil
	}
	uri, err := url.Parse(item)
	switch {
	case err != nil || !uri.IsAbs() || uri.String() != item || strings.ContainsFunc(item, unprintable):
		return fmt.Errorf("item %s: must be an absolute URI in its usual form", quote(item))
	case uri.Scheme == "spiffe" && strings.EqualFold(uri.Hostname(), g.defaults.TrustDomain):
		return fmt.Errorf("item %s: the pod's SPIFFE ID is %s, that of its namespace and service account", quote(item), quote(g.spiffeID()))
	}
	covers := func(pattern string) bool { ok, err := path.Match(pattern, item); return ok && err == nil }
	if g.grants(func(r *NameRule) bool { return slices.ContainsFunc(r.URIs, covers) }) {
		return nil
	}
	return fmt.Errorf("item %s: is neither the pod's SPIFFE ID %s nor %s", quote(item), quote(g.spiffeID()), g.notGranted())
}

// checkIP allows what is granted: which address a pod gets is not known yet.
func (g *guard) checkIP(item string) error {
	address, err := netip.ParseAddr(item)
	if err != nil || address.Zone() != "" {
		return fmt.Errorf("item %s: must be an IP address", quote(item))
	}
	if !g.grantsText(func(r *NameRule) []string { return r.IPAddresses }, address.Unmap().String()) {
		return fmt.Errorf("item %s: is not %s", quote(item), g.notGranted())
	}
	return nil
}

// checkSubject reads a list as the driver does, in which quotes may enclose commas.
func checkSubject(list func(*NameRule) []string) func(*guard, string) []error {
	return func(g *guard, value string) []error {
		expanded, err := g.expand(value)
		if err != nil {
			return []error{err}
		}
		items, err := cmutil.SplitWithEscapeCSV(expanded)
		if err != nil {
			return []error{errors.New("must be a list in CSV form, with quotes around whole items only")}
		}
		var errs []error
		for _, item := range items {
			if !g.grantsText(list, item) && len(errs) < maxProblems {
				errs = append(errs, errors.New(g.mayNotHave(item, list)))
			}
		}
		return errs
	}
}

func checkSerialNumber(g *guard, value string) []error {
	list := func(r *NameRule) []string { return r.SerialNumbers }
	if g.grantsText(list, value) {
		return nil
	}
	return []error{errors.New(g.mayNotHave(value, list))}
}

func refuseLiteral(*guard, string) []error {
	return []error{errors.New("may say anything: write common-name, organizations and the like in its place")}
}

func checkLifetime(g *guard, value string) []error {
	duration := cmapi.DefaultCertificateDuration // the driver's default, too
	if value != "" {
		var err error
		if duration, err = time.ParseDuration(value); err != nil {
			return []error{errors.New("must be a Go duration such as 720h")}
		}
	}
	if err := g.defaults.checkDuration(duration); err != nil {
		return []error{err}
	}
	return nil
}

func checkDuration(_ *guard, value string) []error {
	if d, err := time.ParseDuration(value); err != nil || d < 0 {
		return []error{errors.New("must be a Go duration such as 240h")}
	}
	return nil
}

func checkCA(_ *guard, value string) []error {
	if value == "false" {
		return nil
	}
	return []error{errors.New("no pod is a certificate authority: leave it out")}
}

// checkUsages allows what mutual TLS needs.
func checkUsages(_ *guard, value string) []error {
	allowed := words(cmapi.UsageDigitalSignature, cmapi.UsageKeyEncipherment, cmapi.UsageServerAuth, cmapi.UsageClientAuth)
	var errs []error
	for item := range strings.SplitSeq(value, ",") {
		if !slices.Contains(allowed, item) && len(errs) < maxProblems {
			errs = append(errs, fmt.Errorf("item %s: %w", quote(item), notOneOf(item, allowed)))
		}
	}
	return errs
}

// checkPrivateKey looks at two attributes as one.
func (g *guard) checkPrivateKey() {
	s := settings{keyAlgorithm: cmapi.RSAKeyAlgorithm} // the driver's default
	if value := g.of("key-algorithm"); value != "" {
		if err := setKeyAlgorithm(&s, value); err != nil {
			g.refuse("key-algorithm", value, err.Error())
			return
		}
	}
	key := PrivateKey{Algorithm: s.keyAlgorithm, Size: defaultKeySize(s.keyAlgorithm)}
	if value := g.of("key-size"); value != "" {
		size, err := strconv.Atoi(value)
		if err != nil {
			g.refuse("key-size", value, "must be a number of bits")
			return
		}
		key.Size = size
	}
	if err := g.defaults.checkKey(key); err != nil {
		g.refuse("key-size", g.of("key-size"), err.Error())
	}
}
