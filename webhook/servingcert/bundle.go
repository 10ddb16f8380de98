package servingcert

// What a caBundle should hold: pure arithmetic with certificates.

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"time"
)

// commonName is all that the subject of our CAs says.
const commonName = "mtls-injector-webhook-ca"

const pemType = "CERTIFICATE"

// parse returns the certificates of PEM text. What is none is passed over: whoever wrote it
// did not help the API server either.
func parse(bundle []byte) []*x509.Certificate {
	var certs []*x509.Certificate
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != pemType || len(block.Headers) != 0 {
			continue
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			certs = append(certs, cert)
		}
	}
	return certs
}

// encode is the way back.
func encode(certs []*x509.Certificate) []byte {
	var out []byte
	for _, cert := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: cert.Raw})...)
	}
	return out
}

// checkOurs returns why the certificate cannot be a CA that a replica of ours has made. All
// of it can be imitated; who can write into a caBundle needs not imitate anything.
func checkOurs(cert *x509.Certificate) error {
	// A subject of any more parts than the name is another one.
	if subject := cert.Subject.String(); subject != "CN="+commonName {
		return fmt.Errorf("the subject is %q, not %q", subject, "CN="+commonName)
	}
	// That includes that it is a CA.
	if err := cert.CheckSignatureFrom(cert); err != nil {
		return fmt.Errorf("it is not a self-signed CA: %w", err)
	}
	return nil
}

// oursIn returns the CAs of ours in a caBundle.
func oursIn(bundle []byte) []*x509.Certificate {
	return slices.DeleteFunc(parse(bundle), func(cert *x509.Certificate) bool { return checkOurs(cert) != nil })
}

// next returns what should become of a caBundle: the CA that signs now, the one whose
// certificate this replica serves, and those CAs of ours that stand there already, for
// another replica may serve with them, until they have expired or outlived says so. The
// order is that of their age, youngest first, so that replicas do not argue about it.
// inUse may be nil.
func next(bundle []byte, current, inUse *x509.Certificate, outlived func(*x509.Certificate) bool, now time.Time) []byte {
	cas := oursIn(bundle)
	if inUse != nil {
		cas = append(cas, inUse)
	}
	cas = slices.DeleteFunc(cas, func(ca *x509.Certificate) bool { return now.After(ca.NotAfter) || outlived(ca) })
	cas = append(cas, current)
	slices.SortFunc(cas, func(a, b *x509.Certificate) int {
		if byAge := b.NotBefore.Compare(a.NotBefore); byAge != 0 {
			return byAge
		}
		return bytes.Compare(a.Raw, b.Raw)
	})
	return encode(slices.CompactFunc(cas, (*x509.Certificate).Equal))
}
