package migrate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmutil "github.com/cert-manager/cert-manager/pkg/util"
	corev1 "k8s.io/api/core/v1"

	"example.io/mtls-injector/intent"
)

// ask is what a certificate that is made by hand asks for, in the words of annotations. What
// is empty is left to whoever makes it.
type ask struct {
	// from names it for people: `Certificate "web"` or `volume "tls"`.
	from                  string
	usages                []string
	dnsNames              []string
	commonName            string
	organizations, units  []string
	issuer                intent.Issuer
	duration, renewBefore time.Duration
	keyAlgorithm          string
	keySize               int
	uris                  []string
	secret                bool
	// cannot is what no annotation says, and so stands in the way; notes is what becomes
	// otherwise.
	cannot, notes []string
}

// askOfCertificate reads a Certificate.
func askOfCertificate(c *cmapi.Certificate) *ask {
	spec := &c.Spec
	a := &ask{
		from: "Certificate " + strconv.Quote(c.Name), secret: true,
		dnsNames: spec.DNSNames, commonName: spec.CommonName, uris: spec.URIs,
		issuer: intent.Issuer{Name: spec.IssuerRef.Name, Kind: orElse(spec.IssuerRef.Kind, "Issuer"), Group: orElse(spec.IssuerRef.Group, intent.DefaultIssuerGroup)},
	}
	for _, usage := range spec.Usages {
		a.usages = append(a.usages, string(usage))
	}
	if spec.Duration != nil {
		a.duration = spec.Duration.Duration
	}
	if spec.RenewBefore != nil {
		a.renewBefore = spec.RenewBefore.Duration
	}
	if key := spec.PrivateKey; key != nil {
		a.keyAlgorithm, a.keySize = string(key.Algorithm), key.Size
	}
	if a.keyAlgorithm == "" {
		a.note("its key was RSA, which cert-manager makes where nobody says another: key-algorithm: RSA keeps it so")
	}
	if s := spec.Subject; s != nil {
		a.organizations, a.units = s.Organizations, s.OrganizationalUnits
	}
	a.certificateCannot(spec)
	return a
}

// certificateCannot finds what a companion Certificate and the CSI driver do not have.
func (a *ask) certificateCannot(spec *cmapi.CertificateSpec) {
	for _, field := range []struct {
		name string
		set  bool
	}{
		{"isCA", spec.IsCA}, {"ipAddresses", len(spec.IPAddresses) > 0}, {"emailAddresses", len(spec.EmailAddresses) > 0},
		{"otherNames", len(spec.OtherNames) > 0}, {"literalSubject", spec.LiteralSubject != ""}, {"keystores", spec.Keystores != nil},
		{"additionalOutputFormats", len(spec.AdditionalOutputFormats) > 0}, {"nameConstraints", spec.NameConstraints != nil},
		{"encodeUsagesInRequest", spec.EncodeUsagesInRequest != nil && !*spec.EncodeUsagesInRequest},
		{"privateKey.encoding", spec.PrivateKey != nil && spec.PrivateKey.Encoding == cmapi.PKCS8 && a.keyAlgorithm != string(cmapi.ECDSAKeyAlgorithm)},
		{"subject", hasOtherSubject(spec.Subject)},
	} {
		if field.set {
			a.refuse(field.name + ", which no annotation says")
		}
	}
	if spec.SecretTemplate != nil {
		a.note("secretTemplate: labels and annotations of the Secret are not carried over")
	}
	if spec.RenewBeforePercentage != nil {
		a.note("renewBeforePercentage: renew-before says a time; without it, a third of the duration is left")
	}
}

// hasOtherSubject reports fields of the subject besides those that annotations say.
func hasOtherSubject(s *cmapi.X509Subject) bool {
	return s != nil && len(s.Countries)+len(s.Localities)+len(s.Provinces)+len(s.StreetAddresses)+len(s.PostalCodes)+len(s.SerialNumber) > 0
}

// askOfVolume reads the attributes of a volume of cert-manager's CSI driver.
func askOfVolume(v *intent.Volume) *ask {
	a := &ask{from: "volume " + strconv.Quote(v.Name), issuer: intent.Issuer{Kind: "Issuer", Group: intent.DefaultIssuerGroup}}
	for _, key := range sortedKeys(v.CSI.VolumeAttributes) {
		value := v.CSI.VolumeAttributes[key]
		name, ours := strings.CutPrefix(key, intent.CSIDriver+"/")
		if !ours {
			a.refuse("attribute " + key + ", which no annotation says")
			continue
		}
		a.attribute(name, value)
	}
	if a.keyAlgorithm == "" {
		a.note("its key was RSA, which the driver makes where nobody says another: key-algorithm: RSA keeps it so")
	}
	return a
}

func (a *ask) attribute(name, value string) {
	list := func() []string { return strings.Split(value, ",") }
	switch name {
	case "issuer-name":
		a.issuer.Name = value
	case "issuer-kind":
		a.issuer.Kind = value
	case "issuer-group":
		a.issuer.Group = value
	case "dns-names":
		a.dnsNames = trimmed(list())
	case "uri-sans":
		a.uris = trimmed(list())
	case "common-name":
		a.commonName = value
	case "key-usages":
		a.usages = trimmed(list())
	case "organizations":
		a.organizations = a.csv(name, value)
	case "organizationalunits":
		a.units = a.csv(name, value)
	default:
		a.otherThanNames(name, value)
	}
}

// otherThanNames takes what says nothing about who somebody is.
func (a *ask) otherThanNames(name, value string) {
	switch name {
	case "duration":
		a.duration = a.time(name, value)
	case "renew-before":
		a.renewBefore = a.time(name, value)
	case "key-algorithm":
		a.keyAlgorithm = value
	case "key-size":
		size, err := strconv.Atoi(value)
		if err != nil {
			a.refuse("attribute " + name + ": " + err.Error())
		}
		a.keySize = size
	case "fs-group", "reuse-private-key":
		a.fileAttribute(name, value)
	default:
		a.otherAttribute(name, value)
	}
}

// fileAttribute takes what is about the files, and not about the certificate.
func (a *ask) fileAttribute(name, value string) {
	if name == "reuse-private-key" && value == "true" {
		a.note("reuse-private-key: every certificate gets a new key")
	}
	if name == "fs-group" {
		a.note("fs-group " + value + ": the group is told by the pod's securityContext, or with " + intent.Prefix + "fs-group: \"" + value + "\"")
	}
}

// otherAttribute refuses what has no annotation, unless it says what holds anyway.
func (a *ask) otherAttribute(name, value string) {
	usual := map[string]string{
		"certificate-file": corev1.TLSCertKey, "privatekey-file": corev1.TLSPrivateKeyKey, "ca-file": "ca.crt",
		"is-ca": "false", "pkcs12-enable": "false", "key-encoding": "PKCS1",
	}
	if usual[name] == value {
		return
	}
	if strings.HasSuffix(name, "-file") {
		a.refuse(fmt.Sprintf("attribute %s: the program reads %s where the injector writes %s: let it read that, and take the attribute out", name, value, usual[name]))
		return
	}
	a.refuse("attribute " + name + ", which no annotation says")
}

func (a *ask) csv(name, value string) []string {
	items, err := cmutil.SplitWithEscapeCSV(value)
	if err != nil {
		a.refuse("attribute " + name + ": " + err.Error())
	}
	return items
}

func (a *ask) time(name, value string) time.Duration {
	d, err := time.ParseDuration(value)
	if err != nil {
		a.refuse("attribute " + name + ": " + err.Error())
	}
	return d
}

func (a *ask) refuse(what string) { a.cannot = append(a.cannot, a.from+": "+what) }

func (a *ask) note(what string) { a.notes = append(a.notes, a.from+": "+what) }

// role returns the role that the usages mean, "" where they mean none.
func (a *ask) role() intent.Role {
	server := slices.Contains(a.usages, string(cmapi.UsageServerAuth))
	client := slices.Contains(a.usages, string(cmapi.UsageClientAuth))
	switch {
	case server && client:
		return intent.RoleBoth
	case server:
		return intent.RoleServer
	case client:
		return intent.RoleClient
	default:
		return ""
	}
}
