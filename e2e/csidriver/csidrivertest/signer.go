// Package csidrivertest answers the CSI driver's requests in place of cert-manager, for
// tests that need no cluster.
package csidrivertest

import (
	"context"
	"crypto/x509"
	"math/big"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// Answer fills in the status of a request that is being created, or refuses it.
type Answer func(*cmapi.CertificateRequest) error

// Client returns a client of no cluster that answers each request at once.
func Client(t *testing.T, answer Answer) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	require.NoError(t, cmapi.AddToScheme(scheme))
	return fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			if request, ok := obj.(*cmapi.CertificateRequest); ok {
				if err := answer(request); err != nil {
					return err
				}
			}
			return c.Create(ctx, obj, opts...)
		},
	}).Build()
}

// Sign approves and signs with a key of its own.
func Sign(t *testing.T) Answer {
	t.Helper()
	ca, err := pki.GenerateECPrivateKey(256)
	require.NoError(t, err)
	return func(cr *cmapi.CertificateRequest) error {
		template, err := pki.CertificateTemplateFromCertificateRequest(cr)
		if err != nil {
			return err
		}
		issuer := &x509.Certificate{SerialNumber: big.NewInt(1)}
		cr.Status.Certificate, _, err = pki.SignCertificate(template, issuer, template.PublicKey, ca)
		cr.Status.CA = []byte("the CA")
		cr.Status.Conditions = []cmapi.CertificateRequestCondition{
			Condition(cmapi.CertificateRequestConditionApproved, "ok", ""),
			Condition(cmapi.CertificateRequestConditionReady, cmapi.CertificateRequestReasonIssued, ""),
		}
		return err
	}
}

// Condition returns a condition that is true.
func Condition(kind cmapi.CertificateRequestConditionType, reason, message string) cmapi.CertificateRequestCondition {
	return cmapi.CertificateRequestCondition{Type: kind, Status: cmmeta.ConditionTrue, Reason: reason, Message: message}
}
