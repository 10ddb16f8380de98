package cluster

import (
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestCertManagerStopsAndStarts(t *testing.T) {
	c, err := Start(t.Context(), Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Stop()) })
	require.NoError(t, c.StopCertManager())
	require.NoError(t, c.StopCertManager(), "twice is no error")
	issuer := &cmapi.ClusterIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: "self"},
		Spec:       cmapi.IssuerSpec{IssuerConfig: cmapi.IssuerConfig{SelfSigned: &cmapi.SelfSignedIssuer{}}},
	}
	require.NoError(t, c.Client.Create(t.Context(), issuer))
	certificate := &cmapi.Certificate{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
		Spec: cmapi.CertificateSpec{
			SecretName: "web", DNSNames: []string{"web"}, Duration: &metav1.Duration{Duration: 24 * time.Hour},
			IssuerRef: cmmeta.IssuerReference{Name: issuer.Name, Kind: "ClusterIssuer"},
		},
	}
	require.NoError(t, c.Client.Create(t.Context(), certificate))
	var requests cmapi.CertificateRequestList
	require.NoError(t, c.Client.List(t.Context(), &requests, client.InNamespace("default")))
	require.Empty(t, requests.Items)

	require.NoError(t, c.StartCertManager(t.Context()))
	_, err = c.WaitForCertificate(t.Context(), "default", "web")
	require.NoError(t, err)
}
