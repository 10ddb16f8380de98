// Package authority makes certificate authorities out of nothing: the one that a user
// of the examples would have, and the one of a stranger.
package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// Authority is a CA with a key pair of its own.
type Authority struct {
	// CA is its certificate, with its key.
	CA Pair

	cert *x509.Certificate
	key  crypto.Signer
}

// Pair is a certificate with its key, both in PEM, the key in PKCS #8.
type Pair struct{ Cert, Key []byte }

// New makes a self-signed CA that is valid for ten years.
func New(commonName string) (*Authority, error) {
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: commonName},
		NotBefore:             time.Now().Add(-time.Minute),
		NotAfter:              time.Now().AddDate(10, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the key of %s: %w", commonName, err)
	}
	a := &Authority{cert: template, key: key}
	if a.CA, err = a.sign(template, key); err != nil {
		return nil, fmt.Errorf("signing %s: %w", commonName, err)
	}
	block, _ := pem.Decode(a.CA.Cert)
	if a.cert, err = x509.ParseCertificate(block.Bytes); err != nil {
		return nil, fmt.Errorf("reading %s: %w", commonName, err)
	}
	return a, nil
}

// Issue signs a certificate for a new key. The template says whose it is and what for;
// it is valid for a day.
func (a *Authority) Issue(template *x509.Certificate) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("making a key: %w", err)
	}
	leaf := *template
	leaf.SerialNumber = big.NewInt(time.Now().UnixNano())
	leaf.NotBefore, leaf.NotAfter = a.cert.NotBefore, time.Now().Add(24*time.Hour)
	leaf.KeyUsage = x509.KeyUsageDigitalSignature
	return a.sign(&leaf, key)
}

func (a *Authority) sign(template *x509.Certificate, key crypto.Signer) (Pair, error) {
	cert, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return Pair{}, fmt.Errorf("signing a certificate: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("encoding a key: %w", err)
	}
	return Pair{
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}, nil
}
