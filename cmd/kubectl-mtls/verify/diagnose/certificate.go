package diagnose

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"

	"example.io/mtls-injector/intent"
)

func (j *judge) names() {
	leaf := j.leaf()
	switch {
	case leaf == nil:
		return
	case len(leaf.DNSNames) == 0 && (len(j.Names) > 0 || j.Intent == nil):
		j.fault(NoNames, "the certificate has no DNS name; its common name is "+quoteOrNone(leaf.Subject.CommonName))
		return
	case j.Intent == nil:
		j.notChecked(checkNames, j.NoIntent)
		return
	case j.NamesUnknown != "":
		j.notChecked(checkNames, j.NamesUnknown)
		return
	}
	var missing, others []string
	for _, name := range j.Names {
		if leaf.VerifyHostname(name) != nil {
			missing = append(missing, name)
		}
	}
	for _, name := range leaf.DNSNames {
		if !slices.Contains(j.Names, name) && !j.coversOwn(name) {
			others = append(others, name)
		}
	}
	if len(missing) > 0 {
		j.fault(MissingNames, "the certificate lacks "+strings.Join(missing, ", ")+"; it has "+strings.Join(leaf.DNSNames, ", "))
	}
	if len(others) > 0 {
		j.fault(OtherNames, "the certificate has "+strings.Join(others, ", ")+", which the pod would not get today")
	}
	if len(missing)+len(others) == 0 {
		j.ok(checkNames, strings.Join(leaf.DNSNames, ", "))
	}
}

// coversOwn reports whether a wildcard is the companion's, for the pods of a headless Service.
func (j *judge) coversOwn(name string) bool {
	return slices.Contains(j.Intent.Identity.CompanionDNSNames(), name)
}

func quoteOrNone(text string) string {
	if text == "" {
		return "empty"
	}
	return fmt.Sprintf("%q", text)
}

func (j *judge) byName() {
	leaf := j.leaf()
	if leaf == nil || len(j.seen.ByName) == 0 {
		return
	}
	var others []string
	for name, other := range j.seen.ByName {
		if !other.Equal(leaf) {
			others = append(others, fmt.Sprintf("%s gets that of %s", name, describe(other)))
		}
	}
	if len(others) == 0 {
		j.ok(checkByName, fmt.Sprintf("the same certificate is served for %d names", len(j.seen.ByName)+1))
		return
	}
	slices.Sort(others)
	j.fault(OtherByName, strings.Join(others, "; "))
}

// describe says whose certificate it is, in few words.
func describe(certificate *x509.Certificate) string {
	if len(certificate.DNSNames) > 0 {
		return certificate.DNSNames[0]
	}
	return quoteOrNone(certificate.Subject.CommonName)
}

func (j *judge) spiffeID() {
	leaf := j.leaf()
	if leaf == nil || j.SPIFFEID == "" {
		return
	}
	var ids []string
	for _, uri := range leaf.URIs {
		if uri.Scheme == "spiffe" {
			ids = append(ids, uri.String())
		}
	}
	switch {
	case len(ids) == 0:
		j.fault(NoSPIFFEID, "the certificate has no SPIFFE ID; the pod is "+j.SPIFFEID)
	case len(ids) > 1 || ids[0] != j.SPIFFEID:
		j.fault(OtherSPIFFEID, "the certificate says "+strings.Join(ids, ", ")+"; the pod is "+j.SPIFFEID)
	default:
		j.ok(checkSPIFFEID, ids[0])
	}
}

func (j *judge) usages() {
	leaf := j.leaf()
	if leaf == nil {
		return
	}
	has := func(usage x509.ExtKeyUsage) bool {
		return slices.Contains(leaf.ExtKeyUsage, usage) || slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny)
	}
	before := len(j.report.Findings)
	if leaf.IsCA {
		j.fault(IsCA, "the certificate is that of a CA")
	}
	if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		j.fault(NoSignature, "the certificate has no usage digital signature")
	}
	none := len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) == 0
	switch {
	case none:
		j.fault(NoUsages, "the certificate names neither server auth nor client auth")
	case !has(x509.ExtKeyUsageServerAuth):
		j.fault(NoServerAuth, "the certificate has no usage server auth")
	}
	if !none && j.Intent != nil && j.Intent.Role == intent.RoleBoth && !has(x509.ExtKeyUsageClientAuth) {
		j.fault(NoClientAuth, "the certificate has no usage client auth, and the pod's role is both")
	}
	if len(j.report.Findings) == before {
		seen := "server auth"
		if has(x509.ExtKeyUsageClientAuth) {
			seen += ", client auth"
		}
		j.ok(checkUsages, seen)
	}
}

// Keys below these can be broken, or are refused by peers.
const (
	minRSA   = 2048
	minECDSA = 256
)

func (j *judge) key() {
	leaf := j.leaf()
	if leaf == nil {
		return
	}
	before := len(j.report.Findings)
	kind, least := keyOf(leaf)
	text := kind.String()
	if kind.Size != 0 && kind.Size < least {
		j.fault(WeakKey, fmt.Sprintf("the key is %s, and %d bits are the least", text, least))
	}
	switch leaf.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.MD2WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1:
		j.fault(WeakSignature, "the certificate is signed with "+leaf.SignatureAlgorithm.String())
	}
	if len(j.report.Findings) > before {
		return
	}
	if j.Intent != nil && kind != j.Intent.Key {
		j.fault(OtherKey, fmt.Sprintf("the key is %s, and %s was asked for", text, j.Intent.Key))
		return
	}
	j.ok(checkKey, text+", signed with "+leaf.SignatureAlgorithm.String())
}

// keyOf returns the kind of the key, and the least size of that kind.
func keyOf(certificate *x509.Certificate) (kind intent.PrivateKey, least int) {
	switch key := certificate.PublicKey.(type) {
	case *rsa.PublicKey:
		return intent.PrivateKey{Algorithm: cmapi.RSAKeyAlgorithm, Size: key.N.BitLen()}, minRSA
	case *ecdsa.PublicKey:
		return intent.PrivateKey{Algorithm: cmapi.ECDSAKeyAlgorithm, Size: key.Curve.Params().BitSize}, minECDSA
	case ed25519.PublicKey:
		return intent.PrivateKey{Algorithm: cmapi.Ed25519KeyAlgorithm}, 0
	default:
		return intent.PrivateKey{Algorithm: cmapi.PrivateKeyAlgorithm(certificate.PublicKeyAlgorithm.String())}, 0
	}
}

func (j *judge) expiry() {
	leaf := j.leaf()
	if leaf == nil {
		return
	}
	left := leaf.NotAfter.Sub(j.Now)
	switch {
	case left < 0:
		j.fault(Expired, fmt.Sprintf("expired at %s, %s ago", stamp(leaf.NotAfter), short(-left)))
	case j.Now.Before(leaf.NotBefore):
		j.fault(NotYetValid, fmt.Sprintf("valid from %s, in %s", stamp(leaf.NotBefore), short(leaf.NotBefore.Sub(j.Now))))
	case j.Intent != nil && left < j.Intent.Lifetime.RenewBefore-renewSlack(leaf):
		j.fault(RenewalOverdue, fmt.Sprintf("expires at %s, in %s, and was to be renewed %s before",
			stamp(leaf.NotAfter), short(left), intent.ShortDuration(j.Intent.Lifetime.RenewBefore)))
	default:
		j.ok(checkExpiry, fmt.Sprintf("valid until %s, for %s more", stamp(leaf.NotAfter), short(left)))
	}
}

// renewSlack is how long a renewal may take before it is overdue: a tenth of the lifetime.
func renewSlack(leaf *x509.Certificate) time.Duration {
	const part = 10
	return leaf.NotAfter.Sub(leaf.NotBefore) / part
}

// short rounds to what people want to know.
func short(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= 2*day:
		return fmt.Sprintf("%d days", d/day)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
	return fmt.Sprintf("%d seconds", d/time.Second)
}

// current judges whether the served certificate is the one that was issued last.
func (j *judge) current() {
	leaf := j.leaf()
	switch {
	case leaf == nil:
		return
	case len(j.Current) == 0:
		j.notChecked(checkCurrent, j.NoCurrent)
		return
	}
	for _, issued := range j.Current {
		if issued.Equal(leaf) {
			j.ok(checkCurrent, "the certificate that was issued last ("+issued.Source+") is served")
			return
		}
	}
	for _, issued := range j.Current {
		if isOlder(leaf, issued.Certificate) {
			j.fault(Stale, fmt.Sprintf("a certificate of %s is served, and %s has a newer one of %s",
				stamp(leaf.NotBefore), issued.Source, stamp(issued.NotBefore)))
			return
		}
	}
	j.fault(OtherFiles, fmt.Sprintf("the certificate that is served (%s, signed by %s) is none that was issued for the pod; the last is that of %s",
		describe(leaf), leaf.Issuer, j.Current[0].Source))
}

// isOlder reports whether the certificate is an older one of the same kind: the same CA made
// it for the same names and usages.
func isOlder(certificate, than *x509.Certificate) bool {
	return certificate.NotBefore.Before(than.NotBefore) && bytes.Equal(certificate.RawIssuer, than.RawIssuer) &&
		slices.Equal(certificate.DNSNames, than.DNSNames) && slices.Equal(uris(certificate), uris(than)) &&
		slices.Equal(certificate.ExtKeyUsage, than.ExtKeyUsage) && certificate.IsCA == than.IsCA &&
		certificate.PublicKeyAlgorithm == than.PublicKeyAlgorithm
}

func uris(certificate *x509.Certificate) []string {
	texts := make([]string, len(certificate.URIs))
	for i := range certificate.URIs {
		texts[i] = certificate.URIs[i].String()
	}
	return texts
}
