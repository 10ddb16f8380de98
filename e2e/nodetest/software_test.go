//go:build node

package nodetest

import (
	"context"
	"crypto/x509"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/debimage"
	"example.io/mtls-injector/e2e/demo/authority"
	"example.io/mtls-injector/e2e/realnode"
)

// packSoftware packs the images of real software, while there is a network.
func packSoftware(ctx context.Context) error {
	_, err := debimage.Pack(ctx, clustertest.Stderr, softwareImages()...)
	return err
}

func softwareImages() []*debimage.Spec { return append(debimage.Known(), debimage.Peer()) }

// softwareValues has no restart wait for others, and lets a database's client have a login.
func softwareValues() []string {
	return []string{
		"--set", "config.restart.jitter=0s",
		"--set-json", `config.identity.allow=[{"namespaceSelector": {"matchLabels": {"test": "software"}}, "commonNames": ["` + login + `"]}]`,
	}
}

// login is the common name that testdata's pg_ident.conf makes a role of.
const login = "Orders Client"

// TestSoftware runs real software, unchanged, in pods that have nothing but annotations. What
// becomes of it is the matrix of docs/compatibility.md.
func TestSoftware(t *testing.T) {
	t.Parallel()
	images, err := debimage.Pack(t.Context(), clustertest.Stderr, softwareImages()...)
	require.NoError(t, err)
	versions := map[string]string{}
	for _, image := range images {
		require.NoError(t, theNode(t).Import(t.Context(), image.Archive))
		maps.Copy(versions, image.Packages)
	}
	m := &matrix{cells: map[cell]string{}, versions: versions}
	t.Run("by", func(t *testing.T) {
		for _, delivery := range deliveries {
			t.Run(delivery, func(t *testing.T) {
				t.Parallel()
				newSoftware(t, delivery, m).run()
			})
		}
	})
	if !t.Failed() {
		m.check(t)
	}
}

var deliveries = [...]string{"csi", "secret"}

// software is a namespace with servers and clients that get their files in one way.
type software struct {
	*testing.T
	*realnode.Node
	*matrix
	namespace, delivery string
}

// newSoftware makes the namespace, with the configuration of all software, and a certificate of
// another CA for clients to try.
func newSoftware(t *testing.T, delivery string, m *matrix) *software {
	t.Helper()
	s := &software{T: t, Node: theNode(t), matrix: m, namespace: newNamespace(t, "test=software"), delivery: delivery}
	config := map[string]string{}
	files, err := filepath.Glob(filepath.Join("testdata", "software", "*"))
	require.NoError(t, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		config[filepath.Base(file)] = string(data)
	}
	require.NoError(t, s.Client.Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: configName}, Data: config,
	}))
	ca, err := authority.New("Another CA")
	require.NoError(t, err)
	pair, err := ca.Issue(&x509.Certificate{
		URIs:        []*url.URL{{Scheme: "spiffe", Host: "cluster.local", Path: "/ns/" + s.namespace + "/sa/default"}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	require.NoError(t, err)
	require.NoError(t, s.Client.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: foreignName}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: pair.Cert, corev1.TLSPrivateKeyKey: pair.Key},
	}))
	return s
}

// run starts everything, and then checks all at once.
func (s *software) run() {
	for _, one := range servers() {
		for _, reload := range one.reloads() {
			s.serve(one, reload)
		}
	}
	for _, one := range clients() {
		s.start(one)
	}
	for _, one := range servers() {
		s.Run(one.name, func(t *testing.T) {
			t.Parallel()
			s.with(t).checkServer(one)
		})
	}
	for _, one := range clients() {
		s.Run(one.name+" as client", func(t *testing.T) {
			t.Parallel()
			s.with(t).checkClient(one)
		})
	}
}

// with is the same for a subtest.
func (s *software) with(t *testing.T) *software {
	t.Helper()
	sub := *s
	sub.T = t
	return &sub
}
