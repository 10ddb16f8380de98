package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/csidriver"
	"example.io/mtls-injector/e2e/node"
)

var (
	//go:embed testdata/issuers.yaml
	issuers []byte
	//go:embed testdata/pod.yaml
	podManifest []byte
)

// namespaceWithIssuer makes a namespace whose Issuer "ca" is ready to sign.
func namespaceWithIssuer(t *testing.T) string {
	t.Helper()
	ns := clustertest.Namespace(t, shared, nil)
	_, err := shared.Apply(t.Context(), issuers, ns)
	require.NoError(t, err)
	require.NoError(t, shared.WaitForIssuer(t.Context(), ns, "ca"))
	return ns
}

// createPod creates testdata/pod.yaml, changed, and returns what the API server made
// of it.
func createPod(t *testing.T, ns string, change func(*corev1.Pod)) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	require.NoError(t, yaml.UnmarshalStrict(podManifest, pod))
	pod.Namespace = ns
	if change != nil {
		change(pod)
	}
	require.NoError(t, shared.Client.Create(t.Context(), pod))
	return pod
}

func newNode(t *testing.T) *node.Node {
	t.Helper()
	n, err := node.New(shared, t.TempDir())
	require.NoError(t, err)
	return n
}

// loadCertificate reads a certificate with its key. While they are being replaced it
// can find one old and one new, which is an error.
func loadCertificate(dir string) (*x509.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	return pair.Leaf, err
}

func TestDriverPublishesASignedCertificate(t *testing.T) {
	ns := namespaceWithIssuer(t)
	pod := createPod(t, ns, nil)
	n := newNode(t)
	root, err := n.Mount(t.Context(), pod, "web")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Unmount(pod)) })

	dir := node.Path(root, "/etc/tls/server")
	cert, err := loadCertificate(dir)
	require.NoError(t, err)
	assert.Equal(t, "web."+ns+".svc", cert.Subject.CommonName)
	assert.Equal(t, []string{"web." + ns + ".svc", "web"}, cert.DNSNames)
	require.Len(t, cert.URIs, 1)
	assert.Equal(t, "spiffe://example.io/ns/"+ns+"/sa/default", cert.URIs[0].String())
	assert.Equal(t, "127.0.0.1", cert.IPAddresses[0].String())
	assert.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, cert.ExtKeyUsage)
	assert.Equal(t, time.Hour, cert.NotAfter.Sub(cert.NotBefore))

	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(ca))
	_, err = cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: "web." + ns + ".svc"})
	require.NoError(t, err)

	trust, err := os.ReadFile(node.Path(root, "/etc/tls/ca/ca.crt"))
	require.NoError(t, err)
	assert.NotEmpty(t, trust)

	env, err := n.Env(t.Context(), pod, "web")
	require.NoError(t, err)
	assert.Equal(t, []string{
		"MTLS_SERVER_CERT=/etc/tls/server/tls.crt", "POD_NAME=web", "GREETING=I am web, not $(POD_NAME)",
	}, env)
}

func TestDriverMakesTheRequestOfTheContract(t *testing.T) {
	ns := namespaceWithIssuer(t)
	pod := createPod(t, ns, nil)
	_, err := newNode(t).Driver.Publish(t.Context(), pod, "tls")
	require.NoError(t, err)

	var requests cmapi.CertificateRequestList
	require.NoError(t, shared.Client.List(t.Context(), &requests, client.InNamespace(ns), client.HasLabels{csidriver.VolumeLabel}))
	require.Len(t, requests.Items, 1)
	cr := requests.Items[0]
	assert.Regexp(t, `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`, cr.Name)
	assert.Len(t, cr.Labels, 2)
	assert.NotEmpty(t, cr.Labels[csidriver.NodeLabel])
	assert.Equal(t, "kept", cr.Annotations["example.io/note"])
	require.Len(t, cr.OwnerReferences, 1)
	assert.Equal(t, pod.UID, cr.OwnerReferences[0].UID)
	assert.Equal(t, "ca", cr.Spec.IssuerRef.Name)
	assert.Equal(t, "Issuer", cr.Spec.IssuerRef.Kind)
	assert.Equal(t, time.Hour, cr.Spec.Duration.Duration)
	assert.Equal(t, []cmapi.KeyUsage{cmapi.UsageDigitalSignature, cmapi.UsageServerAuth}, cr.Spec.Usages)

	require.NoError(t, shared.Client.Delete(t.Context(), pod, client.GracePeriodSeconds(0)))
	require.NoError(t, shared.WaitFor(t.Context(), "the request to go with its pod", func(ctx context.Context) error {
		err := shared.Client.Get(ctx, types.NamespacedName{Namespace: ns, Name: cr.Name}, &cr)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.New("it is still there")
	}))
}

func TestDriverRenews(t *testing.T) {
	cases := map[string]struct {
		reuse   string
		sameKey bool
	}{
		"with a new key":    {"false", false},
		"with the same key": {"true", true},
	}
	ns := namespaceWithIssuer(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pod := createPod(t, ns, func(pod *corev1.Pod) {
				pod.Name = "web-" + tc.reuse
				attributes := pod.Spec.Volumes[0].CSI.VolumeAttributes
				attributes[csidriver.Prefix+"duration"] = "6s"
				attributes[csidriver.Prefix+"renew-before"] = "4s"
				attributes[csidriver.Prefix+"reuse-private-key"] = tc.reuse
			})
			driver := newNode(t).Driver
			managed := make(chan struct{})
			go func() {
				defer close(managed)
				driver.Manage(t.Context())
			}()
			t.Cleanup(func() { <-managed })
			dir, err := driver.Publish(t.Context(), pod, "tls")
			require.NoError(t, err)
			first, err := loadCertificate(dir)
			require.NoError(t, err)

			var second *x509.Certificate
			require.NoError(t, shared.WaitFor(t.Context(), "a new certificate", func(context.Context) error {
				if second, err = loadCertificate(dir); err != nil {
					return err
				}
				if second.SerialNumber.Cmp(first.SerialNumber) == 0 {
					return errors.New("it is the old one")
				}
				return nil
			}))
			assert.Equal(t, tc.sameKey, first.PublicKey.(*ecdsa.PublicKey).Equal(second.PublicKey))
		})
	}
}

func TestDriverRefuses(t *testing.T) {
	ns := namespaceWithIssuer(t)
	driver := newNode(t).Driver
	cases := map[string]struct {
		change func(*corev1.CSIVolumeSource)
		want   string
	}{
		"what it cannot parse": {
			func(s *corev1.CSIVolumeSource) { s.VolumeAttributes[csidriver.Prefix+"duration"] = "a day" },
			`spec.volumes[0].csi.volumeAttributes[csi.cert-manager.io/duration]: Invalid value: "a day"`,
		},
		"a volume that is not read-only": {
			func(s *corev1.CSIVolumeSource) { s.ReadOnly = nil },
			"pod.spec.volumes[].csi.readOnly must be set to 'true'",
		},
		"an issuer that does not sign in time": {
			func(s *corev1.CSIVolumeSource) { s.VolumeAttributes[csidriver.Prefix+"issuer-name"] = "missing" },
			`waiting for request: request pending: Referenced "Issuer" not found`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			pod := createPod(t, ns, func(pod *corev1.Pod) {
				pod.Name, pod.GenerateName = "", "web-"
				tc.change(pod.Spec.Volumes[0].CSI)
			})
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err := driver.Publish(ctx, pod, "tls")
			require.ErrorContains(t, err, tc.want)
		})
	}
}
