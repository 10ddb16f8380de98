package agent

// The verification of what the files hold. Every problem is a sentence that says what to do
// where that is known.

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"
)

// verification collects the problems. Parts that could not be read are left out: they are
// told of already.
type verification struct {
	files Files
	now   time.Time

	certs    []*x509.Certificate // the certificate, and what stands behind it in its file
	roots    []*x509.Certificate // of the bundle
	problems []string
}

func (v *verification) add(format string, args ...any) {
	v.problems = append(v.problems, fmt.Sprintf(format, args...))
}

// certificate reads the certificate and looks at what is in it.
func (v *verification) certificate(data []byte) {
	if data == nil {
		return
	}
	var err error
	if v.certs, err = parseCertificates(data); err != nil {
		v.add("%s holds no certificate chain: %v", v.files.Cert, err)
		return
	}
	if len(v.certs) == 0 {
		v.add("%s holds no certificate: it must have a PEM block CERTIFICATE", v.files.Cert)
		return
	}
	leaf := v.certs[0]
	if late := v.now.Sub(leaf.NotAfter); late > 0 {
		v.add("the certificate expired %s ago, at %s: look at why it is not renewed: the pod's CertificateRequests, and the issuer",
			roughly(late), leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	if early := leaf.NotBefore.Sub(v.now); early > 0 {
		v.add("the certificate is not valid for another %s, before %s: the clock of this node is behind that of the issuer; set it",
			roughly(early), leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	for _, usage := range v.files.Usages {
		if wanted, ok := usageByName(usage); ok && !hasUsage(leaf, wanted) {
			v.add("the certificate is not good for %s: %s; the issuer or a policy has taken the usage out, or the pod's role is another one",
				usage, describeUsages(leaf))
		}
	}
	for _, name := range v.files.DNSNames {
		if !slices.Contains(leaf.DNSNames, name) && leaf.VerifyHostname(name) != nil {
			v.add("the certificate is not for the DNS name %s: it has %s", name, listed(leaf.DNSNames, "no DNS name"))
		}
	}
	for _, uri := range v.files.URIs {
		var uris []string
		for _, u := range leaf.URIs {
			uris = append(uris, u.String())
		}
		if !slices.Contains(uris, uri) {
			v.add("the certificate is not for the URI %s: it has %s", uri, listed(uris, "no URI"))
		}
	}
}

// key reads the key and compares it with the certificate.
func (v *verification) key(data []byte) {
	if data == nil {
		return
	}
	key, wrong := parseKey(data)
	if wrong != "" {
		v.add("%s %s", v.files.Key, wrong)
		return
	}
	if len(v.certs) == 0 {
		return
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(v.certs[0].PublicKey) {
		v.add("the key in %s does not belong to the certificate in %s: their public keys differ; the two were not written together, "+
			"and a program that loads them would fail", v.files.Key, v.files.Cert)
	}
}

// bundle reads the CA certificates.
func (v *verification) bundle(data []byte) {
	if data == nil {
		return
	}
	var err error
	if v.roots, err = parseCertificates(data); err != nil {
		v.add("the bundle %s cannot be read: %v", v.files.CA, err)
		return
	}
	if len(v.roots) == 0 {
		v.add("the bundle %s has no certificate: look at whether the ConfigMap of this name has been filled, by trust-manager's Bundle or by hand",
			v.files.CA)
	}
}

// chain verifies the certificate against the bundle, for each usage.
func (v *verification) chain() {
	if len(v.certs) == 0 || len(v.roots) == 0 {
		return
	}
	leaf := v.certs[0]
	options := x509.VerifyOptions{
		Roots: pool(v.roots), Intermediates: pool(v.certs[1:]),
		// The validity of the certificate itself is told of already; this is about the CAs.
		CurrentTime: clamp(v.now, leaf.NotBefore, leaf.NotAfter),
		KeyUsages:   []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	if _, err := leaf.Verify(options); err != nil {
		if why := v.whyNoChain(options.CurrentTime, err); why != "" {
			v.problems = append(v.problems, why)
		}
		return
	}
	// The CAs may forbid what the certificate allows.
	for _, usage := range v.files.Usages {
		wanted, ok := usageByName(usage)
		if !ok || !hasUsage(leaf, wanted) {
			continue
		}
		options.KeyUsages = []x509.ExtKeyUsage{wanted}
		if _, err := leaf.Verify(options); err != nil {
			v.add("the certificate's CA may not sign for %s: %v; take another issuer", usage, err)
		}
	}
}

// whyNoChain finds out what is wrong with a chain that does not verify for a moment. It
// returns nothing if the moment is: the CA is valid now, and was not then.
func (v *verification) whyNoChain(at time.Time, err error) string {
	for _, cert := range v.certs {
		for _, root := range v.roots {
			if cert.CheckSignatureFrom(root) != nil {
				continue
			}
			if late := v.now.Sub(root.NotAfter); late > 0 {
				return fmt.Sprintf("the CA that signed the certificate, %s, expired %s ago in the bundle %s: put its renewed certificate, or a new CA, there",
					describe(root), roughly(late), v.files.CA)
			}
			if early := root.NotBefore.Sub(v.now); early > 0 {
				return fmt.Sprintf("the CA that signed the certificate, %s, is not valid for another %s: the clock of this node is behind; set it",
					describe(root), roughly(early))
			}
			if at.Before(root.NotBefore) || at.After(root.NotAfter) {
				return ""
			}
			return fmt.Sprintf("the certificate does not verify against the bundle %s: %v", v.files.CA, err)
		}
	}
	top := v.certs[len(v.certs)-1]
	var roots []string
	sameName := false
	for _, root := range v.roots {
		roots = append(roots, describe(root))
		sameName = sameName || string(root.RawSubject) == string(top.RawIssuer)
	}
	signer := fmt.Sprintf("the certificate was signed by %q", top.Issuer.String())
	if sameName {
		return fmt.Sprintf("%s, and the CA of that name in the bundle %s has another key: the issuer has a new one, add it to the bundle", signer, v.files.CA)
	}
	return fmt.Sprintf("%s, which is not in the bundle %s: that has %s; add the issuer's CA to the bundle, or have the issuer put the missing intermediate into %s",
		signer, v.files.CA, strings.Join(roots, ", "), v.files.Cert)
}

// parseCertificates returns the certificates of PEM text; what stands between them is left.
func parseCertificates(data []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(certs)+1, err)
		}
		certs = append(certs, cert)
	}
	return certs, nil
}

// parseKey returns the private key of PEM text, or what is wrong with it. The library's own
// errors are not told: nothing of a key is to get into a log.
func parseKey(data []byte) (crypto.Signer, string) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return nil, "holds an encrypted key: programs would ask for its password"
		}
		if block.Type != "PRIVATE KEY" && !strings.HasSuffix(block.Type, " PRIVATE KEY") {
			continue
		}
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if signer, ok := key.(crypto.Signer); ok {
				return signer, ""
			}
		}
		if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
			return key, ""
		}
		if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
			return key, ""
		}
		return nil, "holds a damaged private key: it is none of PKCS #8, PKCS #1 and SEC 1"
	}
	return nil, "holds no private key: it must have a PEM block PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY"
}

func pool(certs []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, cert := range certs {
		p.AddCert(cert)
	}
	return p
}
