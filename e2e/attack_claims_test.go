package e2e

// What a certificate would say, and what none of the attacker's may say.

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"strings"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"example.io/mtls-injector/e2e/csidriver"
)

// theirs are the host names of others, as a client would ask for them. Not among them is
// "vault": everybody may call himself so, for in each namespace it is another one.
func (s *attackScene) theirs() []string {
	vault := "vault." + s.other
	names := []string{
		vault, vault + ".svc", vault + ".svc.cluster.local",
		"db-0.db", "db-0.db." + s.namespace, "db-0.db." + s.namespace + ".svc", "db-0.db." + s.namespace + ".svc.cluster.local",
		"www.example.com", "a.api.example.com",
	}
	for _, service := range []string{"payments", "db", "worker", "by-hand", "elsewhere", "reports"} {
		names = append(names, s.formsOf(service)...)
	}
	return names
}

// cannotBe checks what a certificate would say: that it lets its bearer pass for nobody
// else, not even with a client that is lax about letters or takes the common name for one.
func (s *attackScene) cannotBe(t *testing.T, who string, cert *x509.Certificate, spiffeID string) {
	t.Helper()
	for _, name := range s.theirs() {
		assert.Error(t, cert.VerifyHostname(name), "%s can pass for %s, with %q", who, name, cert.DNSNames)
	}
	common := cert.Subject.CommonName
	assert.NotContains(t, s.theirs(), strings.TrimRight(strings.ToLower(common), "."), "%s: the common name", who)
	assert.Equal(t, pkix.Name{CommonName: common}.String(), cert.Subject.String(), "%s: nothing but a common name", who)
	uris := make([]string, len(cert.URIs))
	for i, uri := range cert.URIs {
		uris[i] = uri.String()
	}
	assert.Equal(t, []string{spiffeID}, uris, who)
	assert.Empty(t, cert.IPAddresses, who)
	assert.False(t, cert.IsCA, who)
	assert.Zero(t, cert.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign), who)
	assert.NotContains(t, cert.ExtKeyUsage, x509.ExtKeyUsageAny, who)
}

// companionSays returns what the certificate of a Certificate would say.
func companionSays(t *testing.T, cert *cmapi.Certificate) *x509.Certificate {
	t.Helper()
	spec := &cert.Spec
	require.Empty(t, spec.LiteralSubject)
	require.Empty(t, spec.OtherNames)
	require.Empty(t, spec.EmailAddresses)
	require.Empty(t, spec.IPAddresses)
	usage, extended, err := pki.KeyUsagesForCertificateOrCertificateRequest(spec.Usages, spec.IsCA)
	require.NoError(t, err)
	says := &x509.Certificate{DNSNames: spec.DNSNames, IsCA: spec.IsCA, KeyUsage: usage, ExtKeyUsage: extended}
	says.Subject.CommonName = spec.CommonName
	if spec.Subject != nil {
		says.Subject.Organization, says.Subject.OrganizationalUnit = spec.Subject.Organizations, spec.Subject.OrganizationalUnits
	}
	for _, text := range spec.URIs {
		uri, err := url.Parse(text)
		require.NoError(t, err)
		says.URIs = append(says.URIs, uri)
	}
	return says
}

// mounted returns what the certificates of the pod's volumes would say, by volume: the CSI
// driver's attributes, read and expanded as the driver does.
func mounted(t *testing.T, pod *corev1.Pod) map[string]*x509.Certificate {
	t.Helper()
	all := map[string]*x509.Certificate{}
	for _, volume := range pod.Spec.Volumes {
		if volume.CSI == nil || volume.CSI.Driver != csidriver.Name {
			continue
		}
		request, err := csidriver.Parse(pod, volume.Name)
		require.NoError(t, err, "the driver would refuse volume %s", volume.Name)
		require.Empty(t, request.RawSubject, volume.Name)
		usage, extended, err := pki.KeyUsagesForCertificateOrCertificateRequest(request.Usages, request.IsCA)
		require.NoError(t, err)
		all[volume.Name] = &x509.Certificate{
			Subject: request.Subject, DNSNames: request.DNSNames, URIs: request.URIs, IPAddresses: request.IPAddresses,
			IsCA: request.IsCA, KeyUsage: usage, ExtKeyUsage: extended,
		}
	}
	return all
}

// spiffeID is that of a service account in the attacker's namespace.
func (s *attackScene) spiffeID(account string) string {
	return "spiffe://cluster.local/ns/" + s.namespace + "/sa/" + account
}

// holds checks a pod that the attacker got, with his default service account: no certificate
// of its lets it pass for somebody else, and the injected one has just these DNS names.
func (s *attackScene) holds(t *testing.T, pod *corev1.Pod, names []string) {
	t.Helper()
	all := mounted(t, pod)
	for volume, cert := range all {
		s.cannotBe(t, "volume "+volume+" of pod "+pod.Name, cert, s.spiffeID("default"))
	}
	if cert := all["mtls-certs"]; cert != nil {
		assert.ElementsMatch(t, names, cert.DNSNames)
	}
}

// usual are the names of the attacker's usual pod, from his own headless Service.
func (s *attackScene) usual(pod *corev1.Pod) []string {
	return append(s.formsOf("mallory"), pod.Name+".mallory."+s.namespace+".svc.cluster.local")
}
