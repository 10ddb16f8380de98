package e2e

// Requests as they are made by somebody who does not come past the webhook.

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"net/url"
	"testing"
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// signRequest is what somebody asks to be signed.
type signRequest struct {
	namespace string
	issuer    cmmeta.IssuerReference
	csr       x509.CertificateRequest
	key       crypto.Signer
	duration  time.Duration
	usages    []cmapi.KeyUsage
	isCA      bool
	username  string // which cert-manager replaces by who it was
}

// honestRequest is a request that is approved, in each of the namespaces.
func honestRequest(namespace string) *signRequest {
	return &signRequest{
		namespace: namespace,
		issuer:    cmmeta.IssuerReference{Name: "mtls-ca", Kind: "ClusterIssuer", Group: "cert-manager.io"},
		csr: x509.CertificateRequest{
			Subject:  pkix.Name{CommonName: "web." + namespace + ".svc"},
			DNSNames: []string{"web", "web." + namespace, "web." + namespace + ".svc", "web." + namespace + ".svc.cluster.local"},
			URIs:     parseURIs("spiffe://corp.example/ns/" + namespace + "/sa/web"),
		},
		key:      ecdsaKey(elliptic.P256()),
		duration: 24 * time.Hour,
		usages:   []cmapi.KeyUsage{cmapi.UsageDigitalSignature, cmapi.UsageServerAuth},
	}
}

func parseURIs(texts ...string) []*url.URL {
	out := make([]*url.URL, len(texts))
	for i, text := range texts {
		var err error
		if out[i], err = url.Parse(text); err != nil {
			panic(err) // a slip in a table
		}
	}
	return out
}

func ecdsaKey(curve elliptic.Curve) crypto.Signer {
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		panic(err) // there is no randomness
	}
	return key
}

func rsaKey(bits int) crypto.Signer {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err) // there is no randomness
	}
	return key
}

func ed25519Key() crypto.Signer {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // there is no randomness
	}
	return key
}

// subjectOf writes a subject that pkix.Name cannot.
func subjectOf(pairs ...any) []byte {
	var rdns pkix.RDNSequence
	for i := 0; i < len(pairs); i += 2 {
		rdns = append(rdns, []pkix.AttributeTypeAndValue{{Type: pairs[i].(asn1.ObjectIdentifier), Value: pairs[i+1]}})
	}
	der, err := asn1.Marshal(rdns)
	if err != nil {
		panic(err) // a slip in a table
	}
	return der
}

// sans writes a SAN extension that crypto/x509 cannot: of general names by their tags
// (RFC 5280, section 4.2.1.6), each primitive.
func sans(names ...asn1.RawValue) pkix.Extension {
	for i := range names {
		names[i].Class = asn1.ClassContextSpecific
	}
	der, err := asn1.Marshal(names)
	if err != nil {
		panic(err) // a slip in a table
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: der}
}

const (
	tagDNS = 2
	tagURI = 6
)

// create makes the request as somebody.
func (a *signRequest) create(t *testing.T, as client.Client) *cmapi.CertificateRequest {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &a.csr, a.key)
	require.NoError(t, err)
	cr := &cmapi.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, GenerateName: "ask-"},
		Spec: cmapi.CertificateRequestSpec{
			Request:   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
			IssuerRef: a.issuer, Usages: a.usages, IsCA: a.isCA, Username: a.username,
			Duration: &metav1.Duration{Duration: a.duration},
		},
	}
	require.NoError(t, as.Create(t.Context(), cr))
	return cr
}

// What approver-policy does with a request. Without a verdict it says in an Event that no
// policy is for such a request, or that it cannot be read.
const (
	verdictApproved = "Approved"
	verdictDenied   = "Denied"
	notApplicable   = "Unprocessed"
	unreadable      = "EvaluationError"
)

// refused checks that nobody approves what was asked for: that approver-policy denies it,
// which is final, or has looked at it, leaves it, and approves what control asks for after it.
func (s *signing) refused(t *testing.T, cr *cmapi.CertificateRequest, control client.Client, verdict string, words []string) {
	t.Helper()
	gotVerdict, gotWords := s.decision(t, cr)
	assert.Equal(t, verdict, gotVerdict, gotWords)
	for _, some := range words {
		assert.Contains(t, gotWords, some)
	}
	if verdict != verdictDenied {
		s.approved(t, honestRequest("shop").create(t, control))
		require.NoError(t, s.Client.Get(t.Context(), client.ObjectKeyFromObject(cr), cr))
	}
	for _, condition := range cr.Status.Conditions {
		assert.NotEqual(t, cmapi.CertificateRequestConditionApproved, condition.Type, condition.Message)
	}
	assert.Empty(t, cr.Status.Certificate)
}

// approved waits until the request is.
func (s *signing) approved(t *testing.T, cr *cmapi.CertificateRequest) {
	t.Helper()
	require.NoError(t, s.WaitFor(t.Context(), "the approval of "+cr.Name, func(ctx context.Context) error {
		if err := s.Client.Get(ctx, client.ObjectKeyFromObject(cr), cr); err != nil {
			return err
		}
		if apiutil.CertificateRequestIsApproved(cr) {
			return nil
		}
		return fmt.Errorf("it has %v", cr.Status.Conditions)
	}))
}
