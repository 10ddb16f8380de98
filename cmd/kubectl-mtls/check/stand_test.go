package check

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/cmd/internal/fakecluster"
	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
)

// now is when the scene is looked at.
var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// said is a server that says of itself what a test wants.
type said struct {
	version string
	groups  []string
	err     error
}

func (s *said) Version() (string, error)  { return s.version, s.err }
func (s *said) Groups() ([]string, error) { return s.groups, s.err }

// stand is a command that looks at the scene, in which all is well.
type stand struct {
	*Options
	t      *testing.T
	server said
	out    bytes.Buffer
}

func newStand(t *testing.T, deny ...string) *stand {
	t.Helper()
	scheme, err := kube.Scheme()
	require.NoError(t, err)
	s := &stand{t: t, server: said{version: "v1.36.3"}}
	s.Options = &Options{
		IOStreams: genericiooptions.IOStreams{Out: &s.out, ErrOut: io.Discard}, version: "v0.1.0",
		cluster: &kube.Cluster{Client: fakecluster.New(t, scheme, "testdata/scene.yaml", deny...), Namespace: "shop", Gaps: &kube.Gaps{}},
		server:  &s.server, now: func() time.Time { return now },
	}
	s.trust(authority(t, now.AddDate(10, 0, 0)))
	return s
}

// authority makes a CA certificate that ends then, in PEM.
func authority(t *testing.T, end time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.AddDate(-20, 0, 0), NotAfter: end, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// change changes an object of the scene.
func change[T client.Object](s *stand, object T, key client.ObjectKey, how func(T)) {
	s.t.Helper()
	direct := s.cluster.Client
	require.NoError(s.t, direct.Get(s.t.Context(), key, object))
	how(object)
	require.NoError(s.t, direct.Update(s.t.Context(), object))
}

func (s *stand) trust(bundle string) {
	s.t.Helper()
	change(s, &corev1.ConfigMap{}, client.ObjectKey{Namespace: "shop", Name: "mtls-ca-bundle"},
		func(c *corev1.ConfigMap) { c.Data = map[string]string{"ca.crt": bundle} })
	change(s, &admissionv1.MutatingWebhookConfiguration{}, client.ObjectKey{Name: "mtls-injector"},
		func(c *admissionv1.MutatingWebhookConfiguration) {
			c.Webhooks[0].ClientConfig.CABundle = []byte(bundle)
		})
}
