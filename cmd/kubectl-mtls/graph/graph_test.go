package graph

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"encoding/xml"
	"errors"
	"io"
	"math/big"
	"strings"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"example.io/mtls-injector/cmd/internal/fakecluster"
	"example.io/mtls-injector/cmd/internal/golden"
	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
)

// now is when the scene is looked at.
var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// ca is a certificate authority.
type ca struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCA(t *testing.T, name string, end time.Time) *ca {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &ca{key: key}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: end.AddDate(-10, 0, 0), NotAfter: end,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	c.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	return c
}

func inPEM(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

// sign returns a leaf for the usages in PEM.
func (c *ca) sign(t *testing.T, usages ...x509.ExtKeyUsage) []byte {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{"any"}, NotBefore: now.AddDate(0, -1, 0), NotAfter: now.AddDate(0, 2, 0), ExtKeyUsage: usages,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, c.key.Public(), c.key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

const (
	server = x509.ExtKeyUsageServerAuth
	caller = x509.ExtKeyUsageClientAuth
)

// stand is a command that looks at the scene.
type stand struct {
	*Options
	t           *testing.T
	out, errOut bytes.Buffer
}

func newStand(t *testing.T, deny ...string) *stand {
	t.Helper()
	scheme, err := kube.Scheme()
	require.NoError(t, err)
	s := &stand{t: t}
	s.Options = &Options{
		AllNamespaces: true, IOStreams: genericiooptions.IOStreams{Out: &s.out, ErrOut: &s.errOut},
		cluster: &kube.Cluster{Client: fakecluster.New(t, scheme, "testdata/scene.yaml", deny...), Namespace: "shop", Gaps: &kube.Gaps{}},
		now:     func() time.Time { return now },
	}
	return s
}

// trust makes the CAs: shop and partner trust each other, stock trusts shop as well, and
// nobody trusts stock.
func (s *stand) trust() *stand {
	end := now.AddDate(5, 0, 0)
	mtls, stock, partner := newCA(s.t, "mtls-ca-a", end), newCA(s.t, "stock-ca", end), newCA(s.t, "Partner CA", end)
	s.bundle("shop", mtls, partner)
	s.bundle("stock", stock, mtls)
	s.bundle("partner", partner, mtls)
	s.request("shop", "web", "ClusterIssuer", "mtls-ca", mtls, mtls.sign(s.t, caller))
	s.request("shop", "orders", "ClusterIssuer", "mtls-ca", mtls, mtls.sign(s.t, server))
	s.request("shop", "cart", "ClusterIssuer", "mtls-ca", mtls, mtls.sign(s.t, caller)) // it has become both since
	s.request("shop", "mail", "ClusterIssuer", "mtls-ca", mtls, newCA(s.t, "mtls-ca-0", end).sign(s.t, server, caller))
	s.request("stock", "stock", "Issuer", "stock-ca", stock, stock.sign(s.t, server, caller))
	s.request("partner", "gateway", "ClusterIssuer", "partner-ca", partner, partner.sign(s.t, caller))
	return s
}

func (s *stand) bundle(namespace string, cas ...*ca) {
	s.t.Helper()
	var content string
	for _, c := range cas {
		content += string(inPEM(c.cert))
	}
	require.NoError(s.t, s.cluster.Create(s.t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "mtls-ca-bundle"}, Data: map[string]string{"ca.crt": content},
	}))
}

func (s *stand) request(namespace, workload, kind, issuer string, by *ca, chain []byte) {
	s.t.Helper()
	require.NoError(s.t, s.cluster.Create(s.t.Context(), &cmapi.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: workload + "-mtls-1", Annotations: map[string]string{
			annotationCertificate: workload + "-mtls", annotationRevision: "1",
		}},
		Spec:   cmapi.CertificateRequestSpec{IssuerRef: cmmeta.IssuerReference{Name: issuer, Kind: kind, Group: "cert-manager.io"}},
		Status: cmapi.CertificateRequestStatus{Certificate: chain, CA: inPEM(by.cert)},
	}))
}

func TestGraph(t *testing.T) {
	for name, output := range map[string]string{
		"all.txt": "", "all.mmd": "mermaid", "all.dot": "dot", "all.svg": "svg", "all.json": "json", "all.yaml": "yaml",
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t).trust()
			s.Output = output
			require.NoError(t, s.Validate())
			require.NoError(t, s.Run(t.Context()))
			golden.Check(t, "testdata/"+name, s.out.String())
			assert.Empty(t, s.errOut.String())
			if output == "svg" {
				isXML(t, s.out.Bytes())
			}
		})
	}
}

// isXML asserts that it is well-formed, and takes nothing from elsewhere.
func isXML(t *testing.T, data []byte) {
	t.Helper()
	decoder := xml.NewDecoder(bytes.NewReader(data))
	for {
		_, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
	assert.NotContains(t, strings.ReplaceAll(string(data), "http://www.w3.org/2000/svg", ""), "http")
}

func TestOneNamespace(t *testing.T) {
	s := newStand(t).trust()
	s.AllNamespaces = false
	require.NoError(t, s.Run(t.Context()))
	golden.Check(t, "testdata/shop.txt", s.out.String())
}

func TestWithFewRights(t *testing.T) {
	s := newStand(t, "list certificaterequests", "get configmaps shop").trust()
	s.AllNamespaces = false
	require.NoError(t, s.Run(t.Context()))
	golden.Check(t, "testdata/few-rights.txt", s.out.String()+"--- standard error\n"+s.errOut.String())
}

func TestNoBundles(t *testing.T) {
	s := newStand(t)
	s.AllNamespaces = false
	require.NoError(t, s.Run(t.Context()))
	assert.Contains(t, s.out.String(), "trusts nothing: there is no such bundle")
	assert.Contains(t, s.out.String(), "    clients of d1 -> servers of d1\n        no bundle: the clients' bundle ConfigMap/mtls-ca-bundle has not the CA of ClusterIssuer/mtls-ca\n")
}

func TestExpiredCA(t *testing.T) {
	s := newStand(t)
	s.AllNamespaces = false
	old := newCA(t, "old", now.AddDate(0, 0, -1))
	s.bundle("shop", old)
	s.request("shop", "web", "ClusterIssuer", "mtls-ca", old, old.sign(t, caller))
	require.NoError(t, s.Run(t.Context()))
	assert.Contains(t, s.out.String(), "        expired: the clients' bundle ConfigMap/mtls-ca-bundle has not CN=old of ClusterIssuer/mtls-ca\n")
}

func TestNothingToShow(t *testing.T) {
	for _, output := range formats() {
		s := newStand(t)
		s.AllNamespaces, s.cluster.Namespace, s.Output = false, "mtls-injector", output
		require.NoError(t, s.Run(t.Context()))
		assert.NotEmpty(t, s.out.String(), output)
	}
	s := newStand(t)
	s.AllNamespaces, s.cluster.Namespace = false, "mtls-injector"
	require.NoError(t, s.Run(t.Context()))
	assert.Equal(t, "no workload is to speak mutual TLS\n", s.out.String())
}

func TestNamesAreEscaped(t *testing.T) {
	odd := `a"<b>&#\`
	g := &Graph{Domains: []*Domain{{ID: "d1", Issuer: odd, Bundle: odd, CA: odd, roots: &roots{}, Workloads: []*Node{{Namespace: odd, Kind: odd, Name: odd, Role: "client"}}}}}
	var out bytes.Buffer
	g.svg(&out)
	isXML(t, out.Bytes())
	out.Reset()
	g.mermaid(&out)
	assert.Contains(t, out.String(), `["a&quot;&lt;b&gt;&amp;&#35;\/a&quot;`)
	out.Reset()
	g.dot(&out)
	assert.Contains(t, out.String(), `a\"<b>&#\\`)
}

func TestFlags(t *testing.T) {
	s := newStand(t)
	s.Output = "png"
	require.EqualError(t, s.Validate(), `--output "png": must be mermaid, dot, svg, json, yaml`)

	var out bytes.Buffer
	cmd := NewCommand(genericiooptions.IOStreams{Out: &out, ErrOut: &out})
	cmd.SetOut(&out)
	cmd.SetArgs([]string{cobra.ShellCompRequestCmd, "--output", ""})
	require.NoError(t, cmd.Execute())
	assert.Contains(t, out.String(), "mermaid\ndot\nsvg\njson\nyaml\n")

	out.Reset()
	cmd.SetArgs([]string{"--help"})
	require.NoError(t, cmd.Execute())
	assert.Contains(t, out.String(), "kubectl mtls graph -A -o svg > mtls.svg")
}
