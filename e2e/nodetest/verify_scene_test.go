//go:build node

package nodetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/debimage"
)

// Where the pods of this test have their files.
const (
	faultyImage = "example.io/faultyserver:dev"
	faultyFiles = "/faulty"
	servedCert  = "/etc/tls/server/tls.crt"
	servedKey   = "/etc/tls/server/tls.key"
	servedCA    = "/etc/tls/ca/ca.crt"
)

// fault is something that is wrong with a port of a server, and what verify is to say of it.
type fault struct {
	name string
	want []string
	// goServer changes the port of the Go server, nginx is what differs in nginx's server
	// block; nil or empty: that software is not asked for it.
	goServer func(*goPort)
	nginx    string
	// certificate changes the one that the pod would get, which is served from a Secret.
	certificate func(*x509.Certificate)
	// key is that of it; nil: ECDSA 256.
	key func(*testing.T) any
	// foreign has a CA that nobody knows sign it.
	foreign bool
}

// goPort is that of package faultyserver.
type goPort struct {
	Port       int                `json:"port"`
	Plain      bool               `json:"plain"`
	Cert       string             `json:"cert"`
	Key        string             `json:"key"`
	CA         string             `json:"ca"`
	ClientAuth tls.ClientAuthType `json:"clientAuth"`
	MinVersion uint16             `json:"minVersion"`
	MaxVersion uint16             `json:"maxVersion"`
	OnlyLeaf   bool               `json:"onlyLeaf"`
	Status     int                `json:"status"`
}

// same serves another certificate and is otherwise right.
func same(*goPort) {}

func faultsMade() []fault {
	const tlsOn = "ssl_verify_client on; ssl_client_certificate " + servedCA + ";"
	return []fault{
		{name: "nothing", goServer: same, nginx: tlsOn},
		{name: "plain HTTP", want: []string{"plain-http"}, goServer: func(p *goPort) { p.Plain = true }, nginx: "plain"},
		{
			name: "old versions", want: []string{"old-versions"}, goServer: func(p *goPort) { p.MinVersion = tls.VersionTLS10 },
			nginx: tlsOn + "ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3; ssl_ciphers ALL:@SECLEVEL=0;",
		},
		{
			name: "only old versions", want: []string{"no-modern-version"}, goServer: func(p *goPort) { p.MinVersion, p.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 },
			nginx: tlsOn + "ssl_protocols TLSv1 TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0;",
		},
		{
			name: "no client certificate demanded", want: []string{"no-client-certificate-demanded"},
			goServer: func(p *goPort) { p.ClientAuth = tls.NoClientCert }, nginx: " ",
		},
		{
			name: "client certificates optional", want: []string{"none-accepted"}, goServer: func(p *goPort) { p.ClientAuth = tls.VerifyClientCertIfGiven },
			nginx: "ssl_verify_client optional; ssl_client_certificate " + servedCA + ";",
		},
		{name: "client certificates not verified", want: []string{"foreign-accepted"}, goServer: func(p *goPort) { p.ClientAuth = tls.RequireAnyClientCert }},
		{
			name: "client certificates left to the application", want: []string{"none-accepted", "foreign-accepted"},
			goServer: func(p *goPort) { p.ClientAuth = tls.RequestClientCert }, nginx: "ssl_verify_client optional_no_ca;",
		},
		{
			name: "clients of another CA", want: []string{"own-refused", "other-ca-names"}, goServer: func(p *goPort) { p.CA = faultyFiles + "/foreign-ca.crt" },
			nginx: "ssl_verify_client on; ssl_client_certificate " + faultyFiles + "/foreign-ca.crt;",
		},
		{name: "the application wants others", want: []string{"own-denied"}, goServer: func(p *goPort) { p.Status = 403 }, nginx: tlsOn + "return 403;"},
		servedAs("another CA's", []string{"unknown-ca", "other-files"}, nil).signedByForeign(),
		servedAs("no names", []string{"no-names", "other-files"}, func(c *x509.Certificate) { c.DNSNames = nil }),
		servedAs("a name is missing", []string{"missing-names", "other-files"}, func(c *x509.Certificate) { c.DNSNames = c.DNSNames[:1] }),
		servedAs("a name too many", []string{"other-names", "other-files"}, func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, "bank") }),
		servedAs("no SPIFFE ID", []string{"no-spiffe-id", "other-files"}, func(c *x509.Certificate) { c.URIs = nil }),
		servedAs("another SPIFFE ID", []string{"other-spiffe-id", "other-files"}, func(c *x509.Certificate) { c.URIs[0].Path += "-other" }),
		servedAs("no server auth", []string{"no-server-auth", "other-files"}, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }),
		servedAs("no usages", []string{"no-usages", "other-files"}, func(c *x509.Certificate) { c.ExtKeyUsage = nil }),
		servedAs("a CA's certificate", []string{"is-ca", "other-files"}, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }),
		servedAs("another kind of key", []string{"other-key", "other-files"}, nil).withKey(2048),
		servedAs("expired", []string{"expired", "stale"}, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = c.NotBefore.Add(-48*time.Hour), c.NotBefore.Add(-time.Hour)
		}),
		servedAs("not yet valid", []string{"not-yet-valid", "other-files"}, func(c *x509.Certificate) { c.NotBefore = c.NotBefore.Add(3 * time.Hour) }),
		servedAs("not renewed", []string{"renewal-overdue", "stale"}, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = c.NotBefore.Add(-2000*time.Hour), c.NotBefore.Add(160*time.Hour)
		}),
	}
}

// served is a fault of the certificate.
func servedAs(name string, want []string, change func(*x509.Certificate)) fault {
	if change == nil {
		change = func(*x509.Certificate) {}
	}
	return fault{name: name, want: want, goServer: same, nginx: "ssl_verify_client on; ssl_client_certificate " + servedCA + ";", certificate: change}
}

func (f fault) signedByForeign() fault {
	f.foreign = true
	return f
}

func (f fault) withKey(bits int) fault {
	f.key = func(t *testing.T) any {
		t.Helper()
		key, err := rsa.GenerateKey(rand.Reader, bits)
		require.NoError(t, err)
		return key
	}
	return f
}

// firstPort is that of the first fault; the others follow.
const firstPort = 9000

// signer is a CA of the test.
type signer struct {
	cert *x509.Certificate
	key  any
}

// clusterCA is the CA of the ClusterIssuer that signs for the pods.
func clusterCA(t *testing.T) *signer {
	t.Helper()
	var issuer cmapi.ClusterIssuer
	require.NoError(t, node.Client.Get(t.Context(), client.ObjectKey{Name: "mtls-ca"}, &issuer))
	require.NotNil(t, issuer.Spec.CA)
	var secret corev1.Secret
	require.NoError(t, node.Client.Get(t.Context(), client.ObjectKey{Namespace: "cert-manager", Name: issuer.Spec.CA.SecretName}, &secret))
	pair, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	require.NoError(t, err)
	return &signer{cert: pair.Leaf, key: pair.PrivateKey}
}

// newSigner makes a CA below another, or a root.
func newSigner(t *testing.T, name string, above *signer) *signer {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(5000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	s := &signer{cert: template, key: key}
	if above == nil {
		above = s
	}
	s.cert = above.sign(t, template, key)
	return s
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func (s *signer) sign(t *testing.T, template *x509.Certificate, key any) *x509.Certificate {
	t.Helper()
	var pub any
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		pub = k.Public()
	case *rsa.PrivateKey:
		pub = k.Public()
	}
	der, err := x509.CreateCertificate(rand.Reader, template, s.cert, pub, s.key)
	require.NoError(t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return certificate
}

// pemKey is the key as a file has it.
func pemKey(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func pemCert(certificates ...*x509.Certificate) []byte {
	var text []byte
	for _, c := range certificates {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return text
}

// makeFiles makes the Secret with the faulty certificates of a pod, and the ConfigMaps with
// the servers' configuration.
func makeFiles(t *testing.T, namespace, pod string) {
	t.Helper()
	own, foreign := clusterCA(t), newSigner(t, "another CA", nil)
	data := map[string][]byte{"foreign-ca.crt": pemCert(foreign.cert)}
	var ports []goPort
	var blocks strings.Builder
	for i, f := range faultsMade() {
		cert, key := servedCert, servedKey
		if f.certificate != nil {
			ca := own
			if f.foreign {
				ca = foreign
			}
			addFaulty(t, data, i, &f, ca, namespace, pod)
			cert, key = fmt.Sprintf("%s/%d.crt", faultyFiles, i), fmt.Sprintf("%s/%d.key", faultyFiles, i)
		}
		p := goPort{Port: firstPort + i, Cert: cert, Key: key, CA: servedCA, ClientAuth: tls.RequireAndVerifyClientCert}
		if f.goServer != nil {
			f.goServer(&p)
			ports = append(ports, p)
		}
		switch f.nginx {
		case "":
		case "plain":
			fmt.Fprintf(&blocks, "server { listen %d; location / { return 200 hello; } }\n", firstPort+i)
		default:
			fmt.Fprintf(&blocks, "server { listen %d ssl; ssl_certificate %s; ssl_certificate_key %s; %s location / { return 200 hello; } }\n", firstPort+i, cert, key, f.nginx)
		}
	}
	text, err := json.Marshal(ports)
	require.NoError(t, err)
	config := map[string]string{"ports.json": string(text), "nginx.conf": nginxConf(blocks.String())}
	require.NoError(t, node.Client.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: pod + "-faulty"}, Data: data}))
	require.NoError(t, node.Client.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: pod + "-config"}, Data: config}))
}

func nginxConf(blocks string) string {
	return "pid /tmp/nginx.pid; error_log stderr; worker_processes 1; events {}\nhttp { access_log off;\n" + blocks + "}\n"
}

// addFaulty adds a certificate as the pod would get it, but for the fault.
func addFaulty(t *testing.T, data map[string][]byte, i int, f *fault, ca *signer, namespace, pod string) {
	t.Helper()
	var key any = newKey(t)
	if f.key != nil {
		key = f.key(t)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(2160 * time.Hour),
		DNSNames: namesOf(namespace, pod),
		URIs:     []*url.URL{{Scheme: "spiffe", Host: "cluster.local", Path: "/ns/" + namespace + "/sa/default"}},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	f.certificate(template)
	data[fmt.Sprintf("%d.crt", i)] = pemCert(ca.sign(t, template, key))
	data[fmt.Sprintf("%d.key", i)] = pemKey(t, key)
}

// namesOf are the names of a Service, in the order in which the pod gets them.
func namesOf(namespace, service string) []string {
	ns := service + "." + namespace
	return []string{service, ns, ns + ".svc", ns + ".svc.cluster.local"}
}

// serverPod is a pod that serves faults: with nginx, or with the Go server.
func serverPod(namespace, name string, nginx bool, annotations ...string) *corev1.Pod {
	pod := newPod(namespace, name, faultyImage, append([]string{"role=server", "fs-group=65532"}, annotations...)...)
	c := &pod.Spec.Containers[0]
	c.Args = []string{"/config/ports.json"}
	if nginx {
		c.Image, c.Args = debimage.Nginx().Reference(), []string{"-g", "daemon off;", "-c", "/config/nginx.conf"}
	}
	c.VolumeMounts = []corev1.VolumeMount{{Name: "faulty", MountPath: faultyFiles}, {Name: "config", MountPath: "/config"}}
	pod.Spec.Volumes = []corev1.Volume{
		{Name: "faulty", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name + "-faulty"}}},
		{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name + "-config"}}}},
	}
	group := int64(65532)
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: &group}
	return pod
}
