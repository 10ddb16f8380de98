package release_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"example.io/mtls-injector/e2e/release"
)

const notAfter = "mtls_injector_serving_certificate_not_after_timestamp_seconds"

// TestServingCertificateOfCertManager: the serving certificate is renewed, then its CA, and
// both again, while pods are created all the time.
func TestServingCertificateOfCertManager(t *testing.T) {
	install(t)
	stop := creating(t)
	for _, name := range []string{"-webhook", "-webhook-root", "-webhook", "-webhook-root", "-webhook-root", "-webhook"} {
		require.NoError(t, stage.Renew(t.Context(), release.Name+name))
		secret := release.Name + "-webhook-tls"
		if name == "-webhook" {
			awaitServed(t, secret)
		}
	}
	stop()
	require.NoError(t, stage.AwaitTrust(t.Context(), stage.CAOf(release.Name+"-webhook-root")))
}

// TestServingCertificateOfItsOwn: without cert-manager the webhook makes a CA and tells the
// API server, and makes another one when it is taken away, while pods are created all the time.
func TestServingCertificateOfItsOwn(t *testing.T) {
	install(t, "--set", "webhook.certificate.mode=selfManaged")
	stop := creating(t)
	ca := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: release.Namespace, Name: release.Name + "-webhook-ca"}}
	require.NoError(t, stage.Client.Delete(t.Context(), ca))
	require.NoError(t, stage.AwaitTrust(t.Context(), stage.CAOf(ca.Name)))
	first := sum(t, notAfter)
	require.NoError(t, stage.WaitFor(t.Context(), "both replicas to serve what it signed", func(context.Context) error {
		if sum(t, notAfter) == first {
			return errors.New("they do not")
		}
		return nil
	}))
	stop()
}

// awaitServed waits until every replica serves with the Secret's certificate, as the API
// server sees it.
func awaitServed(t *testing.T, secret string) {
	t.Helper()
	chain, err := stage.CAOf(secret)(t.Context())
	require.NoError(t, err)
	want := leaf(t, chain)
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
