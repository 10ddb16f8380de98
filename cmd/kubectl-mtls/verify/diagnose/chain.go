package diagnose

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// trust judges whether the chain leads to the pod's own bundle.
func (j *judge) trust() {
	leaf := j.leaf()
	switch {
	case leaf == nil:
		return
	case j.BundleFault == BundleMissing:
		j.fault(BundleMissing, j.BundleName+" does not exist, or has no such key")
		return
	case j.BundleFault == BundleBroken:
		j.fault(BundleBroken, j.BundleName+" holds no certificate")
		return
	case len(j.Bundle) == 0:
		j.notChecked(checkTrust, j.NoBundle)
		return
	}
	if err := j.verify(leaf, nil); err != nil {
		j.whyUntrusted(leaf, err)
		return
	}
	j.ok(checkTrust, "the chain leads to a CA of "+j.BundleName)
}

// within returns a time at which the leaf is valid: that it has expired is for another check.
func (j *judge) within(leaf *x509.Certificate) time.Time {
	switch {
	case j.Now.After(leaf.NotAfter):
		return leaf.NotAfter
	case j.Now.Before(leaf.NotBefore):
		return leaf.NotBefore
	}
	return j.Now
}

// whyUntrusted goes up from the leaf as far as certificates are known, and names what is
// wrong at the end.
func (j *judge) whyUntrusted(leaf *x509.Certificate, err error) {
	last := j.top(leaf)
	signer := last.Issuer.String()
	sameName := issuersOf(last, j.Bundle)
	switch {
	case len(sameName) > 0 && signedByAny(last, sameName):
		if j.Now.After(sameName[0].NotAfter) {
			j.fault(CAExpired, fmt.Sprintf("the CA %s in %s expired at %s", signer, j.BundleName, stamp(sameName[0].NotAfter)))
			return
		}
		if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
			// There is no time at which both were valid: the leaf's is for another check.
			j.ok(checkTrust, "the chain leads to a CA of "+j.BundleName)
			return
		}
		j.fault(UnknownCA, fmt.Sprintf("the chain does not verify against %s: %v", j.BundleName, err))
	case len(sameName) > 0:
		j.fault(CAReplaced, fmt.Sprintf("%s has a CA %s with another key than the one that signed", j.BundleName, signer))
	case isSelfSigned(last) && last == leaf:
		j.fault(SelfSigned, "the server shows a certificate that signed itself: "+leaf.Subject.String())
	case j.verify(leaf, j.Intermediates) == nil:
		j.fault(ChainGap, fmt.Sprintf("%s is sent, and not the intermediate %s, which signed it", certificates(len(j.seen.First.Certificates)), signer))
	case isSelfSigned(last):
		j.fault(UnknownCA, fmt.Sprintf("the chain leads to %s, which is not in %s", last.Subject, j.BundleName))
	default:
		j.fault(UnknownCA, fmt.Sprintf("the certificate was signed by %s, which is not in %s", signer, j.BundleName))
	}
}

// verify verifies the leaf against the bundle, with more certificates than those sent.
func (j *judge) verify(leaf *x509.Certificate, more []*x509.Certificate) error {
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: pool(j.Bundle), Intermediates: pool(append(slices.Clip(more), j.seen.First.Certificates[1:]...)),
		CurrentTime: j.within(leaf), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	return err
}

func certificates(n int) string {
	if n == 1 {
		return "only the server's certificate"
	}
	return fmt.Sprintf("a chain of %d certificates", n)
}

// top returns the last certificate of the chain from the leaf upwards that the server sends.
func (j *judge) top(leaf *x509.Certificate) *x509.Certificate {
	last := leaf
	for range j.seen.First.Certificates {
		if isSelfSigned(last) || len(issuersOf(last, j.Bundle)) > 0 {
			return last
		}
		above := issuersOf(last, j.seen.First.Certificates)
		if len(above) == 0 || !signedByAny(last, above[:1]) {
			return last
		}
		last = above[0]
	}
	return last
}

func issuersOf(certificate *x509.Certificate, among []*x509.Certificate) []*x509.Certificate {
	var issuers []*x509.Certificate
	for _, ca := range among {
		if bytes.Equal(ca.RawSubject, certificate.RawIssuer) {
			issuers = append(issuers, ca)
		}
	}
	return issuers
}

func signedByAny(certificate *x509.Certificate, cas []*x509.Certificate) bool {
	for _, ca := range cas {
		if ca.CheckSignature(certificate.SignatureAlgorithm, certificate.RawTBSCertificate, certificate.Signature) == nil {
			return true
		}
	}
	return false
}

func isSelfSigned(certificate *x509.Certificate) bool {
	return bytes.Equal(certificate.RawSubject, certificate.RawIssuer) && signedByAny(certificate, []*x509.Certificate{certificate})
}

func pool(certificates []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, certificate := range certificates {
		p.AddCert(certificate)
	}
	return p
}

// chain judges the order in which the certificates are sent.
func (j *judge) chain() {
	sent := j.seen.First.Certificates
	if len(sent) == 0 {
		return
	}
	for i := 1; i < len(sent); i++ {
		if !bytes.Equal(sent[i].RawSubject, sent[i-1].RawIssuer) {
			j.fault(ChainOrder, fmt.Sprintf("certificate %d (%s) did not sign the one before it, which %s signed",
				i+1, sent[i].Subject, sent[i-1].Issuer))
			return
		}
	}
	subjects := make([]string, 0, len(sent))
	for _, certificate := range sent[1:] {
		subjects = append(subjects, certificate.Subject.String())
	}
	seen := "one certificate is sent, signed by " + sent[0].Issuer.String()
	if len(subjects) > 0 {
		seen = fmt.Sprintf("%d certificates are sent, in order, up to %s", len(sent), strings.Join(subjects[len(subjects)-1:], ""))
	}
	j.ok(checkChain, seen)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
