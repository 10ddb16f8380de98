package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cert-manager/cert-manager/pkg/util/pki"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
)

// awaitBundle waits until the namespace has a ConfigMap with the certificate under that key, and
// nothing else.
func (r *trusting) awaitBundle(namespace, name, key string, ca []byte) {
	r.Helper()
	// trust-manager writes no end of line after the last certificate.
	want := map[string]string{key: strings.TrimSpace(string(ca))}
	require.NoError(r, r.WaitFor(r.Context(), "the bundle in "+namespace, func(ctx context.Context) error {
		var bundle corev1.ConfigMap
		if err := r.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &bundle); err != nil {
			return err
		}
		if !assert.ObjectsAreEqual(want, bundle.Data) {
			return fmt.Errorf("it holds %v", bundle.Data)
		}
		return nil
	}))
}

// TestBundle: the root gets to the namespaces that are opted in, and to no others, where and as
// the injector's configuration says.
func TestBundle(t *testing.T) {
	r := newTrusting(t)
	in := clustertest.Namespace(t, r.Cluster, nil)
	out, err := r.CreateNamespace(t.Context(), "test-", nil, nil)
	require.NoError(t, err)
	ca := r.root("mtls-ca-a").Data[corev1.TLSCertKey]
	r.awaitBundle(in, bundleName, "ca.crt", ca)

	missing := func(ctx context.Context) error {
		err := r.Client.Get(ctx, client.ObjectKey{Namespace: out.Name, Name: bundleName}, &corev1.ConfigMap{})
		if !apierrors.IsNotFound(err) {
			return errors.Join(errors.New("it is there"), err)
		}
		return nil
	}
	require.NoError(t, missing(t.Context()), "in a namespace that is not opted in")
	r.sh("kubectl label namespace " + out.Name + " " + cluster.EnabledLabel + "=true")
	r.awaitBundle(out.Name, bundleName, "ca.crt", ca)
	r.sh("kubectl label namespace " + out.Name + " " + cluster.EnabledLabel + "-")
	require.NoError(t, r.WaitFor(t.Context(), "the bundle to go with the label", missing))

	r.sh(`helm upgrade mtls-injector charts/mtls-injector -n mtls-injector --reuse-values \
		--set config.caBundle.name=other-bundle,config.caBundle.key=bundle.pem`)
	r.awaitBundle(in, "other-bundle", "bundle.pem", ca)
}

// TestRootRenewedInPlace: when cert-manager renews a root's certificate, it has the same key
// and name, so whatever it has signed stays good under both.
func TestRootRenewedInPlace(t *testing.T) {
	r := newTrusting(t)
	const name = "mtls-ca-a"
	before := r.root(name)
	r.sh(`kubectl -n ` + trustNamespace + ` patch certificate ` + name + ` --subresource=status --type=json -p '[{
		"op": "add", "path": "/status/conditions/-", "value": {
			"type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "of the test",
			"lastTransitionTime": "2026-01-01T00:00:00Z"}}]'`)
	var after *corev1.Secret
	require.NoError(t, r.WaitFor(t.Context(), "the root to be renewed", func(context.Context) error {
		if after = r.root(name); string(after.Data[corev1.TLSCertKey]) == string(before.Data[corev1.TLSCertKey]) {
			return errors.New("it is the old one")
		}
		return nil
	}))
	assert.Equal(t, before.Data[corev1.TLSPrivateKeyKey], after.Data[corev1.TLSPrivateKeyKey], "its key")
	old, err := pki.DecodeX509CertificateBytes(before.Data[corev1.TLSCertKey])
	require.NoError(t, err)
	renewed, err := pki.DecodeX509CertificateBytes(after.Data[corev1.TLSCertKey])
	require.NoError(t, err)
	assert.NotEqual(t, old.SerialNumber, renewed.SerialNumber)
	assert.Equal(t, old.RawSubject, renewed.RawSubject)
	assert.Equal(t, old.SubjectKeyId, renewed.SubjectKeyId)
	// Each certificate of the root verifies the other, as it verifies all that it signs.
	require.NoError(t, old.CheckSignatureFrom(renewed))
	require.NoError(t, renewed.CheckSignatureFrom(old))
}

// TestUninstallKeepsTrust: what running pods need outlives the release, and is taken over by
// the next one.
func TestUninstallKeepsTrust(t *testing.T) {
	r := newTrusting(t)
	namespace := clustertest.Namespace(t, r.Cluster, nil)
	root := r.root("mtls-ca-a").Data
	ca := root[corev1.TLSCertKey]
	r.awaitBundle(namespace, bundleName, "ca.crt", ca)

	r.sh("helm uninstall mtls-injector -n mtls-injector --wait")
	later := clustertest.Namespace(t, r.Cluster, nil)
	r.awaitBundle(later, bundleName, "ca.crt", ca)
	require.NoError(t, r.WaitForIssuer(t.Context(), "", "mtls-ca"))

	r.install()
	assert.Equal(t, root, r.root("mtls-ca-a").Data, "the same key")
	r.awaitBundle(namespace, bundleName, "ca.crt", ca)
}
