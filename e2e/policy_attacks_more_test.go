package e2e

import (
	"crypto/elliptic"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
)

// subjectAttacksAtSigning ask for what is said of a bearer besides names.
func subjectAttacksAtSigning() map[string]signingAttack {
	subject := func(name pkix.Name, words ...string) signingAttack {
		return signingAttack{
			change: func(a *signRequest) {
				name.CommonName = a.csr.Subject.CommonName
				a.csr.Subject = name
			},
			words: words,
		}
	}
	raw := func(words string, pairs ...any) signingAttack {
		return signingAttack{change: func(a *signRequest) { a.csr.RawSubject = subjectOf(pairs...) }, words: []string{words}}
	}
	const none = ": no allowed values"
	cn, o := asn1.ObjectIdentifier{2, 5, 4, 3}, asn1.ObjectIdentifier{2, 5, 4, 10}
	serial, dc := asn1.ObjectIdentifier{2, 5, 4, 5}, asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}
	all := pkix.Name{
		Organization: []string{"Example Edge"}, OrganizationalUnit: []string{"Edge"}, Country: []string{"CH"}, Province: []string{"ZH"},
		Locality: []string{"Zürich"}, StreetAddress: []string{"Hauptstrasse 1"}, PostalCode: []string{"8000"}, SerialNumber: "1",
	}
	beside := pkix.Name{
		Organization: []string{"Example", "example edge"}, OrganizationalUnit: []string{"Edge "}, Country: []string{"ch"}, Province: []string{"*"},
		Locality: []string{"Zurich"}, StreetAddress: []string{"Hauptstrasse"}, PostalCode: []string{"8000,8001"}, SerialNumber: "2",
	}
	return map[string]signingAttack{
		"organizations": subject(pkix.Name{Organization: []string{"Example", "system:masters", "*"}},
			invalidValues("allowed.subject.organizations.validations[0]", "system:masters", "*")...),
		"subject that is granted to another": subject(all,
			`spec.allowed.subject.organizations.validations[0]: Invalid value: "Example Edge"`,
			`spec.allowed.subject.organizationalUnits: Invalid value: ["Edge"]`+none, `spec.allowed.subject.countries: Invalid value: ["CH"]`+none,
			`spec.allowed.subject.provinces: Invalid value: ["ZH"]`+none, `spec.allowed.subject.localities: Invalid value: ["Zürich"]`+none,
			`spec.allowed.subject.streetAddresses: Invalid value: ["Hauptstrasse 1"]`+none, `spec.allowed.subject.postalCodes: Invalid value: ["8000"]`+none,
			`spec.allowed.subject.serialNumber: Invalid value: "1": no allowed value`),
		"subject beside the granted": subject(beside,
			`subject.organizations.validations[0]: Invalid value: "example edge"`, `subject.organizationalUnits.validations[0]: Invalid value: "Edge "`,
			`subject.countries.validations[0]: Invalid value: "ch"`, `subject.provinces.validations[0]: Invalid value: "*"`,
			`subject.localities.validations[0]: Invalid value: "Zurich"`, `subject.streetAddresses.validations[0]: Invalid value: "Hauptstrasse"`,
			`subject.postalCodes.validations[0]: Invalid value: "8000,8001"`, `subject.serialNumber.validations[0]: Invalid value: "2"`,
		).within("edge"),
		"two common names": raw(`spec.allowed.commonName[1].validations[1]: Invalid value: "vault.other.svc"`,
			cn, "web.shop.svc", cn, "vault.other.svc"),
		"two organizations, one of them granted": raw(`subject.organizations.validations[0]: Invalid value: "system:masters"`,
			cn, "web.shop.svc", o, "Example", o, "system:masters"),
		"two serial numbers": raw(`spec.allowed.subject.serialNumber[1]`, cn, "web.shop.svc", serial, "1", serial, "2"),
		"other attributes": raw(`spec.allowed.subject.otherAttributes[0.9.2342.19200300.100.1.25]: Invalid value: ["admin"]`+none,
			cn, "web.shop.svc", dc, "admin"),
		"an organization that is no text": raw("spec.allowed.subject.organizations: Invalid value", cn, "web.shop.svc", o, 7),
	}
}

// otherAttacksAtSigning are about keys, usages, lifetimes, issuers and other kinds of names.
func otherAttacksAtSigning() map[string]signingAttack {
	const notCA = "spec.allowed.isCA: Invalid value: true: false"
	usages := func(usages ...cmapi.KeyUsage) signingAttack {
		return signingAttack{
			change: func(a *signRequest) { a.usages = append(a.usages, usages...) },
			words:  []string{"spec.allowed.usages: Invalid value", "digital signature, key encipherment, server auth, client auth"},
		}
	}
	const key = "spec.constraints.privateKey."
	dns := asn1.RawValue{Tag: tagDNS, Bytes: []byte("web.shop.svc")}
	uri := asn1.RawValue{Tag: tagURI, Bytes: []byte("spiffe://corp.example/ns/shop/sa/web")}
	return map[string]signingAttack{
		"is-ca":        {change: func(a *signRequest) { a.isCA = true }, words: []string{notCA}},
		"cert sign":    usages(cmapi.UsageCertSign),
		"code signing": usages(cmapi.UsageCodeSigning),
		"any usage":    usages(cmapi.UsageAny),
		"e-mail":       {change: func(a *signRequest) { a.csr.EmailAddresses = []string{"root@example.com"} }, words: []string{`spec.allowed.emailAddresses: Invalid value: ["root@example.com"]: no allowed values`}},
		"registered ID": {change: func(a *signRequest) {
			a.csr.ExtraExtensions = []pkix.Extension{sans(dns, uri, asn1.RawValue{Tag: 8, Bytes: []byte{42, 3}})}
		}, words: []string{"registeredID SAN entries are not permitted"}},
		"two SAN extensions": {
			change: func(a *signRequest) {
				hidden := sans(asn1.RawValue{Tag: tagDNS, Bytes: []byte("vault.other.svc")})
				a.csr.ExtraExtensions = []pkix.Extension{sans(dns, uri), hidden}
			},
			otherwise: unreadable, words: []string{"approver-policy failed to review the request"},
		},
		"too long a lifetime":  {change: func(a *signRequest) { a.duration = 2160*time.Hour + time.Second }, words: []string{`spec.constraints.maxDuration: Invalid value: "2160h0m1s": 2160h0m0s`}},
		"too short a lifetime": {change: func(a *signRequest) { a.duration = time.Hour - time.Second }, words: []string{`spec.constraints.minDuration: Invalid value: "59m59s": 1h0m0s`}},
		"a weak RSA key":       {change: func(a *signRequest) { a.key = rsaKey(2048) }, words: []string{key + `minSize: Invalid value: "2048": 3072`, key + "algorithm"}},
		"a very weak RSA key":  {change: func(a *signRequest) { a.key = rsaKey(1024) }, words: []string{key + `minSize: Invalid value: "1024": 3072`, key + "algorithm"}},
		"a weak curve":         {change: func(a *signRequest) { a.key = ecdsaKey(elliptic.P224()) }, words: []string{key + `minSize: Invalid value: "224": 256`}},
		"a curve not allowed":  {change: func(a *signRequest) { a.key = ecdsaKey(elliptic.P384()) }, words: []string{key + `maxSize: Invalid value: "384": 256`}},
		"another algorithm":    {change: func(a *signRequest) { a.key = ed25519Key() }, words: []string{key + `algorithm: Invalid value: "Ed25519": ECDSA`, key + `algorithm: Invalid value: "Ed25519": RSA`}},

		"an issuer allowed to others":        askOfNoPolicy(func(a *signRequest) { a.issuer.Name = "team-ca" }),
		"an issuer allowed to nobody":        askOfNoPolicy(func(a *signRequest) { a.issuer.Name = "other-ca" }),
		"an issuer allowed to nobody else":   askOfNoPolicy(func(a *signRequest) { a.issuer.Name = "mtls-ca2" }),
		"an issuer of another kind":          askOfNoPolicy(func(a *signRequest) { a.issuer.Kind = "Issuer" }),
		"an issuer without a kind":           askOfNoPolicy(func(a *signRequest) { a.issuer.Kind = "" }),
		"an issuer of another group":         askOfNoPolicy(func(a *signRequest) { a.issuer.Group = "issuers.example.com" }),
		"an issuer in capitals":              askOfNoPolicy(func(a *signRequest) { a.issuer.Name = strings.ToUpper(a.issuer.Name) }),
		"a namespace that is not opted in":   askOfNoPolicy(func(*signRequest) {}).within("plain"),
		"the namespace of the cluster's own": askOfNoPolicy(func(*signRequest) {}).within("kube-system"),
	}
}
