package release_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/release"
)

const notAfter = "mtls_injector_serving_certificate_not_after_timestamp_seconds"

// TestServingCertificateOfCertManager: the serving certificate is renewed, then its CA, and
// both again, while pods are created all the time.
func TestServingCertificateOfCertManager(t *testing.T) {
	install(t)
	stop := creating(t)
	for _, name := range []string{"-webhook", "-webhook-root", "-webhook", "-webhook-root", "-webhook-root", "-webhook"} {
		renew(t, release.Name+name)
		secret := release.Name + "-webhook-tls"
		if name == "-webhook" {
			awaitServed(t, secret)
		}
	}
	stop()
	root := secretOf(t, release.Name+"-webhook-root").Data[corev1.TLSCertKey]
	assert.Equal(t, string(root), string(mutating(t).Webhooks[0].ClientConfig.CABundle), "the API server knows the CA of today")
}

// TestServingCertificateOfItsOwn: without cert-manager the webhook makes a CA and tells the
// API server, and makes another one when it is taken away, while pods are created all the time.
func TestServingCertificateOfItsOwn(t *testing.T) {
	install(t, "--set", "webhook.certificate.mode=selfManaged")
	before := mutating(t).Webhooks[0].ClientConfig.CABundle
	require.NotEmpty(t, before)
	stop := creating(t)
	ca := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: release.Namespace, Name: release.Name + "-webhook-ca"}}
	require.NoError(t, stage.Client.Delete(t.Context(), ca))
	require.NoError(t, stage.WaitFor(t.Context(), "the API server to be told the new CA", func(ctx context.Context) error {
		if err := stage.Client.Get(ctx, client.ObjectKeyFromObject(ca), ca); err != nil {
			return err
		}
		if !bytes.Contains(mutating(t).Webhooks[0].ClientConfig.CABundle, bytes.TrimSpace(ca.Data[corev1.TLSCertKey])) {
			return errors.New("it is not")
		}
		return nil
	}))
	first := sum(t, notAfter)
	require.NoError(t, stage.WaitFor(t.Context(), "both replicas to serve what it signed", func(context.Context) error {
		if sum(t, notAfter) == first {
			return errors.New("they do not")
		}
		return nil
	}))
	stop()
}

// renew does what cmctl renew does, and waits for the next revision.
func renew(t *testing.T, name string) {
	t.Helper()
	cert := &cmapi.Certificate{}
	key := client.ObjectKey{Namespace: release.Namespace, Name: name}
	require.NoError(t, stage.Client.Get(t.Context(), key, cert))
	require.NotNil(t, cert.Status.Revision)
	revision := *cert.Status.Revision
	apiutil.SetCertificateCondition(cert, cert.Generation, cmapi.CertificateConditionIssuing, cmmeta.ConditionTrue, "ManuallyTriggered", "renewed by a test")
	require.NoError(t, stage.Client.Status().Update(t.Context(), cert))
	require.NoError(t, stage.WaitFor(t.Context(), name+" to be issued anew", func(ctx context.Context) error {
		if err := stage.Client.Get(ctx, key, cert); err != nil {
			return err
		}
		if *cert.Status.Revision <= revision {
			return errors.New("it is not")
		}
		return nil
	}))
}

func secretOf(t *testing.T, name string) *corev1.Secret {
	t.Helper()
	var secret corev1.Secret
	require.NoError(t, stage.Client.Get(t.Context(), client.ObjectKey{Namespace: release.Namespace, Name: name}, &secret))
	return &secret
}

// awaitServed waits until every replica serves with the Secret's certificate, as the API
// server sees it.
func awaitServed(t *testing.T, secret string) {
	t.Helper()
	want := leaf(t, secretOf(t, secret).Data[corev1.TLSCertKey])
	require.NoError(t, stage.WaitFor(t.Context(), "the new certificate to be served", func(ctx context.Context) error {
		for _, r := range stage.Pods.Ready() {
			served, err := servedBy(ctx, r.Address())
			if err != nil {
				return err
			}
			if !bytes.Equal(served, want) {
				return errors.New(r.Pod + " serves with another one")
			}
		}
		return nil
	}))
}
