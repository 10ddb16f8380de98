package servingcert

import (
	"crypto/x509"
	"testing"
	"time"

	cmtls "github.com/cert-manager/cert-manager/pkg/server/tls"
	"github.com/cert-manager/cert-manager/pkg/server/tls/authority"
	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
)

func TestNew(t *testing.T) {
	config := &rest.Config{Host: "https://192.0.2.1"}
	s, err := New(Options{
		Config: config, SecretNamespace: "mtls", SecretName: "ca", SecretLabels: map[string]string{"a": "b"}, ConfigurationName: "c",
		DNSNames: []string{"x.y.svc"}, CADuration: time.Hour, LeafDuration: time.Minute, Log: logr.Discard(),
	})
	require.NoError(t, err)
	assert.Equal(t, []string{"x.y.svc"}, s.dynamic.DNSNames)
	want := &authority.DynamicAuthority{
		RESTConfig: config, SecretNamespace: "mtls", SecretName: "ca", SecretLabels: map[string]string{"a": "b"},
		CommonName: "mtls-injector-webhook-ca", CADuration: time.Hour, LeafDuration: time.Minute,
	}
	assert.Empty(t, cmp.Diff(want, s.dynamic.Authority, cmpopts.IgnoreUnexported(authority.DynamicAuthority{})))
	assert.Equal(t, 10*time.Second, s.trust.grace)
	assert.Equal(t, 10*time.Minute, s.trust.overlap)
	assert.False(t, s.NeedLeaderElection())

	_, err = New(Options{Config: &rest.Config{Host: "http://[::1"}})
	assert.ErrorContains(t, err, "client for the serving certificate: ")
}

// TestSource: from the authority's first certificate on, what is served is what is trusted.
func TestSource(t *testing.T) {
	ca := newCA(t, time.Now().Add(-time.Hour))
	s := &Source{dynamic: &cmtls.DynamicSource{Authority: &signs{ca}}, trust: &trust{grace: grace, overlap: overlap, now: time.Now}}
	_, err := s.GetCertificate(nil)
	assert.EqualError(t, err, "no tls.Certificate available")
	assert.EqualError(t, s.Trusted(), notThere)

	ctx := logr.NewContext(t.Context(), logr.Discard())
	go func() { _ = s.dynamic.Start(ctx) }()
	require.Eventually(t, s.dynamic.Healthy, 30*time.Second, time.Millisecond)
	_, err = s.GetCertificate(nil)
	assert.EqualError(t, err, "its CA is not in the caBundle of every webhook configuration of ours yet")
	s.trust.observe(ca.Certificate, [][]*x509.Certificate{{ca.Certificate}})
	cert, err := s.GetCertificate(nil)
	require.NoError(t, err)
	assert.NoError(t, cert.Leaf.CheckSignatureFrom(ca.Certificate))
	assert.NoError(t, s.Trusted())
}
