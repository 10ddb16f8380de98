package e2e

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"maps"
	"net"
	"strconv"
	"strings"
	"testing"
)

// TestAttackAtSigning: what the rules do not allow is not signed, whoever asks, past the
// webhook: the CSI driver for a volume that nobody looked at, cert-manager for anybody's
// Certificate, pods for themselves, and others.
func TestAttackAtSigning(t *testing.T) {
	s := newSigning(t)
	driver := s.asDriver(t)
	for _, namespace := range []string{"shop", "edge", "team"} {
		s.approved(t, honestRequest(namespace).create(t, driver))
	}
	t.Run("by the CSI driver", func(t *testing.T) {
		for name, attack := range driverAttacks() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				a := attack.ask()
				s.refused(t, a.create(t, driver), driver, attack.verdict(), attack.words)
			})
		}
	})
	t.Run("by a Certificate", func(t *testing.T) { attackByCertificates(t, s, driver) })
	t.Run("by others", func(t *testing.T) { attackByOthers(t, s, driver) })
	t.Run("by a service account", func(t *testing.T) { attackByAccounts(t, s) })
}

// signingAttack changes an honest request.
type signingAttack struct {
	change func(*signRequest)
	// words are in approver-policy's denial, or in its Event.
	words []string
	// in is the namespace, default shop.
	in string
	// otherwise is what there is in place of a denial.
	otherwise string
}

func (a *signingAttack) ask() *signRequest {
	honestly := honestRequest("shop")
	if a.in != "" {
		honestly = honestRequest(a.in)
	}
	a.change(honestly)
	return honestly
}

func (a *signingAttack) verdict() string {
	if a.otherwise == "" {
		return verdictDenied
	}
	return a.otherwise
}

// invalidValues are the words about each of the values of a field.
func invalidValues(field string, values ...string) []string {
	out := make([]string, len(values))
	for i, value := range values {
		out[i] = "spec." + field + ": Invalid value: " + strconv.Quote(value)
	}
	return out
}

// askNames asks for further DNS names, of which each is denied by itself.
func askNames(texts ...string) signingAttack {
	return signingAttack{
		change: func(a *signRequest) { a.csr.DNSNames = append(a.csr.DNSNames, texts...) },
		words:  invalidValues("allowed.dnsNames.validations[0]", texts...),
	}
}

// askURIs asks for other URIs than the honest one, of which each is denied by itself.
func askURIs(texts ...string) signingAttack {
	return signingAttack{
		change: func(a *signRequest) { a.csr.URIs = parseURIs(texts...) },
		words:  invalidValues("allowed.uris.validations[1]", texts...),
	}
}

// askCommonName asks for another one.
func askCommonName(text, rule string) signingAttack {
	return signingAttack{
		change: func(a *signRequest) { a.csr.Subject.CommonName = text },
		words:  invalidValues("allowed.commonName.validations["+rule+"]", text),
	}
}

func (a signingAttack) within(namespace string) signingAttack {
	a.in = namespace
	return a
}

// askOfNoPolicy makes requests that no policy is for.
func askOfNoPolicy(change func(*signRequest)) signingAttack {
	return signingAttack{change: change, otherwise: notApplicable, words: []string{"Request is not applicable for any policy"}}
}

func driverAttacks() map[string]signingAttack {
	all := map[string]signingAttack{}
	for _, table := range []map[string]signingAttack{nameAttacksAtSigning(), textAttacksAtSigning(), subjectAttacksAtSigning(), otherAttacksAtSigning()} {
		maps.Copy(all, table)
	}
	return all
}

func nameAttacksAtSigning() map[string]signingAttack {
	return map[string]signingAttack{
		"another namespace's Service": askNames("vault.other", "vault.other.svc", "vault.other.svc.cluster.local"),
		"another namespace's pod":     askNames("db-0.db.other.svc.cluster.local", "db-0.db.other.svc", "db-0.db.other"),
		"longer names": askNames("a.web.shop", "a.web.shop.svc", "web.shop.svc.cluster.local.example.com", "web.shop.svc.cluster",
			"web.shop.svc.cluster.local.cluster.local", "web.shop.cluster.local", "web.shopping", "web.shop.svc.corp.example"),
		"shorter names": askNames("shop.svc", "svc.cluster.local", "shop.svc.cluster.local", "cluster.local", ""),
		"wildcards": askNames("*", "*.shop", "*.shop.svc", "*.shop.svc.cluster.local", "*.web.shop.svc.cluster.local",
			"w*.shop.svc", "web.*.svc", "**.shop.svc"),
		"names in the wrong place": askNames("web.shop.svc@vault.other.svc", "vault.other.svc/web.shop.svc", "web.shop.svc:443", "https://web.shop.svc"),
		"other names": askNames("www.example.com", "kubernetes.default.svc", "192.0.2.1", "vault.other.shop",
			"vault.other.svc.cluster.local.shop.svc"),
		"SPIFFE ID of another namespace": askURIs("spiffe://corp.example/ns/other/sa/web", "spiffe://corp.example/ns/shop2/sa/web",
			"spiffe://corp.example/ns/sho/sa/web", "spiffe://corp.example/ns/shop/../other/sa/web", "spiffe://corp.example/ns/other%2Fshop/sa/web"),
		"SPIFFE ID of another trust domain": askURIs("spiffe://example.com/ns/shop/sa/web", "spiffe://corp-example/ns/shop/sa/web",
			"spiffe://corp.example.com/ns/shop/sa/web", "spiffe://CORP.example/ns/shop/sa/web", "spiffe:///ns/shop/sa/web"),
		"SPIFFE ID of another form": askURIs("spiffe://corp.example/ns/shop/sa/", "spiffe://corp.example/ns/shop/sa/web/admin",
			"spiffe://corp.example/ns/shop", "spiffe://corp.example/shop/web", "spiffe://corp.example/ns/shop/sa/Web", "spiffe://corp.example/ns/shop/sa/web.",
			"spiffe://corp.example:443/ns/shop/sa/web", "spiffe://root@corp.example/ns/shop/sa/web", "spiffe://corp.example/ns/shop/sa/web?admin",
			"spiffe://corp.example/ns/shop/sa/web#admin", "spiffe://corp.example//ns/shop/sa/web", "spiffe://corp.example/ns/shop/sa/w%65b"),
		"SPIFFE ID of another besides the own": {
			change: func(a *signRequest) {
				a.csr.URIs = append(a.csr.URIs, parseURIs("spiffe://corp.example/ns/other/sa/web")...)
			},
			words: invalidValues("allowed.uris.validations[1]", "spiffe://corp.example/ns/other/sa/web"),
		},
		"no SPIFFE ID": {
			change: func(a *signRequest) { a.csr.URIs = nil },
			words:  []string{"spec.allowed.uris.required: Required value"},
		},
		"URI that is not granted": askURIs("https://example.com/home", "https://other.svc/"),
		"common name of another":  askCommonName("vault.other.svc", "1"),
		"common name of the API":  askCommonName("system:kube-controller-manager", "1"),
		"long common name":        askCommonName(strings.Repeat("a", 51)+".shop.svc.cluster.local", "0"),
		// In a namespace with grants: what is beside them.
		"names beside the granted": askNames("example.com", "www2.example.com", "wwwXexample.com", "www.example.com.attacker.net", "a.www.example.com",
			"api.example.com", "a.b.api.example.com", "*.*.api.example.com", "aXapi.example.com", "*.example.com", "-.api.example.com").within("edge"),
		"URIs beside the granted": askURIs("https://example.com/a/b", "https://example.com", "https://exampleXcom/a", "http://example.com/a",
			"https://example.com/a?b=/c", "https://a@example.com/b").within("edge"),
		"common name beside the granted":               askCommonName("edge gateway", "1").within("edge"),
		"names granted by the name to another":         askNames("edge.example.net").within("team"),
		"common name granted to another":               askCommonName("Edge Gateway", "1"),
		"names granted to another":                     askNames("shop.api.example.com", "*.api.example.com", "edge.example.net"),
		"names granted to a namespace not opted in":    {change: func(a *signRequest) { a.csr.DNSNames = []string{"www.example.com"} }, in: "plain", otherwise: notApplicable},
		"addresses beside the granted":                 askAddresses("192.0.2.2", "::ffff:192.0.2.3", "2001:db8::1").within("edge"),
		"addresses granted to another":                 {change: func(a *signRequest) { a.csr.IPAddresses = []net.IP{net.ParseIP("192.0.2.1")} }, words: []string{`spec.allowed.ipAddresses: Invalid value: ["192.0.2.1"]: no allowed values`}},
		"addresses of the machine, which all would do": {change: func(a *signRequest) { a.csr.IPAddresses = []net.IP{net.ParseIP("127.0.0.1")} }, words: []string{"spec.allowed.ipAddresses"}},
	}
}

func askAddresses(texts ...string) signingAttack {
	ips, canonical := make([]net.IP, len(texts)), make([]string, len(texts))
	for i, text := range texts {
		ips[i] = net.ParseIP(text)
		canonical[i] = ips[i].String()
	}
	return signingAttack{
		change: func(a *signRequest) { a.csr.IPAddresses = ips },
		words:  invalidValues("allowed.ipAddresses.validations[0]", canonical...),
	}
}

// textAttacksAtSigning write names in a way that somebody could take for another's.
func textAttacksAtSigning() map[string]signingAttack {
	return map[string]signingAttack{
		"upper case":               askNames("WEB.shop.svc", "web.SHOP.svc", "web.shop.SVC", "Web"),
		"trailing dot":             askNames("web.shop.svc.", "web.", "web.shop.svc.cluster.local."),
		"empty labels":             askNames(".web.shop.svc", "web..shop.svc", ".", "web.shop..svc"),
		"hyphens":                  askNames("-web.shop.svc", "web-.shop.svc", "-"),
		"underscore":               askNames("_web.shop.svc", "w_b"),
		"long label":               askNames(strings.Repeat("a", 64) + ".shop.svc"),
		"IDNA":                     askNames("web.xn--shp-1na.svc", "xn--vault-9ya.other.svc", "web.shop.xn--svc-"),
		"commas":                   askNames("web.shop.svc,vault.other.svc", "web.shop.svc, vault.other.svc", "vault.other.svc,web.shop.svc", ","),
		"line breaks":              askNames("web.shop.svc\nvault.other.svc", "vault.other.svc\nweb.shop.svc", "web.shop.svc\n", "\nweb.shop.svc", "web.shop.svc\r"),
		"spaces and control":       askNames("web.shop.svc vault.other.svc", " web.shop.svc", "web.shop.svc\x00.vault.other.svc", "web\t", "web.shop.svc\x7f"),
		"variables":                askNames("${POD_NAME}.shop.svc", "$(POD_NAME)"),
		"Unicode in a common name": askCommonName("w\u0435b.shop.svc", "1"), // a Cyrillic е
		"Unicode in a DNS name": {
			change: func(a *signRequest) {
				a.csr.ExtraExtensions = []pkix.Extension{sans(asn1.RawValue{Tag: tagDNS, Bytes: []byte("w\u0435b.shop.svc")},
					asn1.RawValue{Tag: tagURI, Bytes: []byte("spiffe://corp.example/ns/shop/sa/web")})}
			},
			otherwise: unreadable, words: []string{"approver-policy failed to review the request"},
		},
		"line break in a common name": askCommonName("web.shop.svc\nvault.other.svc", "1"),
	}
}
