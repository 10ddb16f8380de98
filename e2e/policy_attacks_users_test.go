package e2e

import (
	"context"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// attackByCertificates writes Certificates, for which cert-manager asks as it does for
// companions.
func attackByCertificates(t *testing.T, s *signing, control client.Client) {
	t.Helper()
	type attack struct {
		change  func(*cmapi.Certificate)
		words   []string
		verdict string
	}
	denied := func(change func(*cmapi.CertificateSpec), words ...string) attack {
		return attack{func(c *cmapi.Certificate) { change(&c.Spec) }, words, verdictDenied}
	}
	named := func(texts ...string) attack {
		return denied(func(c *cmapi.CertificateSpec) { c.DNSNames = append(c.DNSNames, texts...) },
			invalidValues("allowed.dnsNames.validations[0]", texts...)...)
	}
	ignored := func(change func(*cmapi.Certificate)) attack {
		return attack{change, []string{"Request is not applicable for any policy"}, notApplicable}
	}
	honestly := honestCertificate()
	require.NoError(t, s.Client.Create(t.Context(), honestly))
	s.approved(t, s.requestFor(t, honestly))
	for name, tc := range map[string]attack{
		"another namespace's Service":    named("vault.other.svc", "vault.other", "vault.other.svc.cluster.local", "*.vault.other.svc.cluster.local"),
		"names of single pods":           named("db-0.db.shop.svc.cluster.local"),
		"wildcards":                      named("*.shop.svc.cluster.local", "*.shop.svc", "*.shop", "*"),
		"upper case and trailing dot":    named("WEB.shop.svc", "web.shop.svc."),
		"names granted to another":       named("www.example.com", "a.api.example.com"),
		"SPIFFE ID of another namespace": denied(func(c *cmapi.CertificateSpec) { c.URIs = []string{"spiffe://corp.example/ns/other/sa/web"} }, invalidValues("allowed.uris.validations[1]", "spiffe://corp.example/ns/other/sa/web")...),
		"no SPIFFE ID":                   denied(func(c *cmapi.CertificateSpec) { c.URIs = nil }, "spec.allowed.uris.required: Required value"),
		"is-ca":                          denied(func(c *cmapi.CertificateSpec) { c.IsCA = true }, "spec.allowed.isCA: Invalid value: true: false"),
		"code signing":                   denied(func(c *cmapi.CertificateSpec) { c.Usages = append(c.Usages, cmapi.UsageCodeSigning) }, "spec.allowed.usages: Invalid value"),
		"e-mail":                         denied(func(c *cmapi.CertificateSpec) { c.EmailAddresses = []string{"root@example.com"} }, "spec.allowed.emailAddresses: Invalid value"),
		"IP address":                     denied(func(c *cmapi.CertificateSpec) { c.IPAddresses = []string{"192.0.2.1"} }, `spec.allowed.ipAddresses: Invalid value: ["192.0.2.1"]`),
		"common name of another":         denied(func(c *cmapi.CertificateSpec) { c.CommonName = "vault.other.svc" }, invalidValues("allowed.commonName.validations[1]", "vault.other.svc")...),
		"common name that is a wildcard": denied(func(c *cmapi.CertificateSpec) { c.CommonName = "*.web.shop.svc.cluster.local" }, invalidValues("allowed.commonName.validations[1]", "*.web.shop.svc.cluster.local")...),
		"organizations": denied(func(c *cmapi.CertificateSpec) {
			c.Subject = &cmapi.X509Subject{Organizations: []string{"system:masters"}}
		}, invalidValues("allowed.subject.organizations.validations[0]", "system:masters")...),
		"literal subject":     denied(func(c *cmapi.CertificateSpec) { c.CommonName, c.LiteralSubject = "", "CN=web.shop.svc,DC=example" }, "spec.allowed.subject.otherAttributes[0.9.2342.19200300.100.1.25]: Invalid value"),
		"too long a lifetime": denied(func(c *cmapi.CertificateSpec) { c.Duration = &metav1.Duration{Duration: 8760 * time.Hour} }, "spec.constraints.maxDuration: Invalid value"),
		"a weak key": denied(func(c *cmapi.CertificateSpec) {
			c.PrivateKey.Algorithm, c.PrivateKey.Size = cmapi.RSAKeyAlgorithm, 2048
		}, `spec.constraints.privateKey.minSize: Invalid value: "2048": 3072`),
		"an issuer allowed to others":      ignored(func(c *cmapi.Certificate) { c.Spec.IssuerRef.Name = "team-ca" }),
		"a namespace that is not opted in": ignored(func(c *cmapi.Certificate) { c.Namespace = "plain" }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cert := honestCertificate()
			tc.change(cert)
			require.NoError(t, s.Client.Create(t.Context(), cert))
			s.refused(t, s.requestFor(t, cert), control, tc.verdict, tc.words)
			// Or cert-manager goes on asking.
			require.NoError(t, s.Client.Delete(context.Background(), cert))
		})
	}
}

// honestCertificate is one that is signed.
func honestCertificate() *cmapi.Certificate {
	name := "certificate-" + uuid.NewString()
	return &cmapi.Certificate{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec: cmapi.CertificateSpec{
			SecretName: name, // of its own, or cert-manager does not ask at all
			IssuerRef:  cmmeta.IssuerReference{Name: "mtls-ca", Kind: "ClusterIssuer", Group: "cert-manager.io"},
			CommonName: "web.shop.svc",
			DNSNames:   []string{"web.shop.svc", "*.db.shop.svc.cluster.local"},
			URIs:       []string{"spiffe://corp.example/ns/shop/sa/web"},
			Duration:   &metav1.Duration{Duration: 24 * time.Hour},
			Usages:     []cmapi.KeyUsage{cmapi.UsageDigitalSignature, cmapi.UsageServerAuth},
			PrivateKey: &cmapi.CertificatePrivateKey{Algorithm: cmapi.ECDSAKeyAlgorithm, Size: 256},
		},
	}
}

// requestFor waits for what cert-manager asks for a Certificate.
func (s *signing) requestFor(t *testing.T, cert *cmapi.Certificate) *cmapi.CertificateRequest {
	t.Helper()
	var found *cmapi.CertificateRequest
	require.NoError(t, s.WaitFor(t.Context(), "the request of "+cert.Name, func(ctx context.Context) error {
		var list cmapi.CertificateRequestList
		if err := s.Client.List(ctx, &list, client.InNamespace(cert.Namespace)); err != nil {
			return err
		}
		for i := range list.Items {
			if metav1.IsControlledBy(&list.Items[i], cert) {
				found = &list.Items[i]
				return nil
			}
		}
		return errors.New("there is none yet")
	}))
	return found
}

// attackByOthers: who is neither the CSI driver nor cert-manager gets nothing, whatever he
// asks for and whatever RBAC gives him.
func attackByOthers(t *testing.T, s *signing, control client.Client) {
	t.Helper()
	const driver = "system:serviceaccount:cert-manager:cert-manager-csi-driver"
	t.Run("who may make requests", func(t *testing.T) {
		mallory := s.asAccount(t, "shop", "mallory", "shop")
		s.refused(t, honestRequest("shop").create(t, mallory), control, notApplicable, []string{"Request is not applicable for any policy"})
	})
	t.Run("who says that he is the CSI driver", func(t *testing.T) {
		mallory := s.asAccount(t, "shop", "forger", "shop")
		a := honestRequest("shop")
		a.username = driver
		cr := a.create(t, mallory)
		require.Equal(t, "system:serviceaccount:shop:forger", cr.Spec.Username)
		s.refused(t, cr, control, notApplicable, []string{"Request is not applicable for any policy"})
	})
	t.Run("who may use all policies", func(t *testing.T) {
		owner := s.asAccount(t, "shop", "owner", "shop")
		s.bind(t, "everything", "shop", "shop", "owner")
		s.refused(t, honestRequest("shop").create(t, owner), control, verdictDenied, []string{
			"must be requested by cert-manager's CSI driver, " + driver,
			"must be requested by cert-manager, system:serviceaccount:cert-manager:cert-manager",
		})
	})
	t.Run("who may use the policies in another namespace", func(t *testing.T) {
		owner := s.asAccount(t, "shop", "owner", "other")
		s.refused(t, honestRequest("other").create(t, owner), control, notApplicable, []string{"Request is not applicable for any policy"})
	})
}

// attackByAccounts: where the CSI driver asks in the name of a pod's service account, that
// gets its own SPIFFE ID only.
func attackByAccounts(t *testing.T, s *signing) {
	t.Helper()
	s.policies(t, "--use-token-request")
	web := s.asAccount(t, "shop", "web", "shop")
	s.approved(t, honestRequest("shop").create(t, web))
	const notOfHere = "must be requested by a service account of the request's namespace"
	for name, tc := range map[string]struct {
		as  client.Client
		ask signingAttack
	}{
		"SPIFFE ID of another service account": {as: web, ask: askURIs("spiffe://corp.example/ns/shop/sa/db", "spiffe://corp.example/ns/shop/sa/web2", "spiffe://corp.example/ns/shop/sa/default")},
		"SPIFFE ID of another namespace":       {as: web, ask: askURIs("spiffe://corp.example/ns/other/sa/web")},
		"SPIFFE ID of another besides the own": {as: web, ask: signingAttack{
			change: func(a *signRequest) {
				a.csr.URIs = append(a.csr.URIs, parseURIs("spiffe://corp.example/ns/shop/sa/db")...)
			},
			words: invalidValues("allowed.uris.validations[1]", "spiffe://corp.example/ns/shop/sa/db"),
		}},
		"another namespace's Service":            {as: web, ask: askNames("vault.other.svc")},
		"is-ca":                                  {as: web, ask: signingAttack{change: func(a *signRequest) { a.isCA = true }, words: []string{"spec.allowed.isCA"}}},
		"a service account of another namespace": {as: s.asAccount(t, "other", "web", "shop"), ask: signingAttack{change: func(*signRequest) {}, words: []string{notOfHere}}},
		"the CSI driver itself":                  {as: s.asDriver(t), ask: signingAttack{change: func(*signRequest) {}, words: []string{notOfHere}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.refused(t, tc.ask.ask().create(t, tc.as), web, verdictDenied, tc.ask.words)
		})
	}
	t.Run("a user who is no service account", func(t *testing.T) {
		config, err := s.ConfigForUser("mallory", "system:masters")
		mallory := s.as(t, config, err)
		a := honestRequest("shop")
		a.csr = x509.CertificateRequest{URIs: parseURIs("spiffe://corp.example/ns/shop/sa/web")}
		a.key = ecdsaKey(elliptic.P256())
		s.refused(t, a.create(t, mallory), web, notApplicable, []string{"Request is not applicable for any policy"})
	})
}
