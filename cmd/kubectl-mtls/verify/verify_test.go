package verify

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"example.io/mtls-injector/cmd/internal/fakecluster"
	"example.io/mtls-injector/cmd/internal/golden"
	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
	"example.io/mtls-injector/cmd/kubectl-mtls/steps"
	"example.io/mtls-injector/cmd/kubectl-mtls/verify/diagnose"
)

// now is when the scene is looked at.
var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

const podName = "orders-7c5ddbdf54-x2x4q"

// stand is a command that looks at the scene, whose pod is a server of the test.
type stand struct {
	*Options
	t           *testing.T
	out, errOut bytes.Buffer
	caKey       *ecdsa.PrivateKey
	ca          *x509.Certificate
	server      *tls.Config
	// denied are verbs that the user has not for CertificateRequests.
	denied string
	// sign makes the status of a new request.
	sign func(*cmapi.CertificateRequest)
	// made counts the requests.
	made int
}

func newStand(t *testing.T, deny ...string) *stand {
	t.Helper()
	scheme, err := kube.Scheme()
	require.NoError(t, err)
	s := &stand{t: t}
	s.sign = s.signed
	withSigner := interceptor.NewClient(fakecluster.New(t, scheme, "testdata/scene.yaml", deny...), interceptor.Funcs{Create: s.create})
	s.Options = &Options{
		IOStreams: genericiooptions.IOStreams{Out: &s.out, ErrOut: &s.errOut},
		Flags:     kube.NewFlags(), Timeout: 10 * time.Second,
		target: podName, now: func() time.Time { return now },
		cluster: &kube.Cluster{Client: withSigner, Namespace: "shop", Gaps: &kube.Gaps{}},
		kindOf: func(name string) (schema.GroupVersionKind, error) {
			kind, known := map[string]schema.GroupVersionKind{
				"deployment": {Group: "apps", Version: "v1", Kind: "Deployment"}, "svc": {Version: "v1", Kind: "Service"},
				"pod": {Version: "v1", Kind: "Pod"}, "cm": {Version: "v1", Kind: "ConfigMap"},
			}[name]
			if !known {
				return kind, errors.New("the server has no " + name)
			}
			return kind, nil
		},
	}
	s.newCA()
	s.setUp(withSigner)
	s.dial = func(*corev1.Pod, int) (dialer, error) { return s.serve(), nil }
	return s
}

func (s *stand) newCA() {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(s.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the CA"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(9999 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	s.ca, s.caKey = template, key
	s.ca = s.leafOf(template, key.Public())
}

func (s *stand) leafOf(template *x509.Certificate, key any) *x509.Certificate {
	s.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, s.ca, key, s.caKey)
	require.NoError(s.t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(s.t, err)
	return certificate
}

func pemOf(certificate *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
}

// setUp gives the pod its certificate, and the namespace the bundle.
func (s *stand) setUp(c client.Client) {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(s.t, err)
	id, err := url.Parse("spiffe://cluster.local/ns/shop/sa/orders")
	require.NoError(s.t, err)
	leaf := s.leafOf(&x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(2159 * time.Hour),
		DNSNames: []string{"orders", "orders.shop", "orders.shop.svc", "orders.shop.svc.cluster.local"}, URIs: []*url.URL{id},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, key.Public())
	pool := x509.NewCertPool()
	pool.AddCert(s.ca)
	s.server = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool, Time: func() time.Time { return now },
	}
	require.NoError(s.t, c.Create(s.t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "mtls-ca-bundle"}, Data: map[string]string{"ca.crt": string(pemOf(s.ca))},
	}))
	require.NoError(s.t, c.Create(s.t.Context(), &cmapi.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "of-the-pod", Labels: map[string]string{volumeOf: "1"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: podName, UID: "0b0c"}},
		},
		Status: cmapi.CertificateRequestStatus{Certificate: pemOf(leaf)},
	}))
}

// create answers what an API server and an issuer would.
func (s *stand) create(ctx context.Context, c client.WithWatch, object client.Object, options ...client.CreateOption) error {
	switch o := object.(type) {
	case *authorizationv1.SelfSubjectAccessReview:
		o.Status.Allowed = !strings.Contains(s.denied, o.Spec.ResourceAttributes.Verb)
		return nil
	case *cmapi.CertificateRequest:
		if o.GenerateName != "" {
			s.made++
			s.sign(o)
		}
	}
	return c.Create(ctx, object, options...)
}

func (s *stand) signed(r *cmapi.CertificateRequest) {
	block, _ := pem.Decode(r.Spec.Request)
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	require.NoError(s.t, err)
	r.Status.Certificate = pemOf(s.leafOf(&x509.Certificate{
		SerialNumber: big.NewInt(3), NotBefore: now, NotAfter: now.Add(r.Spec.Duration.Duration), URIs: csr.URIs,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, csr.PublicKey))
}

// local is the way to a server of the test.
type local struct{ address string }

func (l local) Dial(ctx context.Context) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", l.address)
}

func (local) Close() error { return nil }

func (s *stand) serve() dialer {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(s.t, err)
	server := &http.Server{
		TLSConfig: s.server, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if len(r.TLS.PeerCertificates) > 0 && len(r.TLS.PeerCertificates[0].URIs) > 0 {
				w.Header().Set("Server", "nginx")
			}
		}),
	}
	s.t.Cleanup(func() { _ = server.Close() })
	go func() { _ = server.ServeTLS(listener, "", "") }()
	return local{listener.Addr().String()}
}

// check compares what is printed with a golden file. Which cipher is best depends on the
// machine.
func (s *stand) check(name string) {
	s.t.Helper()
	text := s.out.String()
	for _, suite := range tls.CipherSuites() {
		text = strings.ReplaceAll(text, suite.Name, "TLS_CIPHER")
	}
	if s.errOut.Len() > 0 {
		text += "--- standard error\n" + s.errOut.String()
	}
	golden.Check(s.t, "testdata/"+name, text)
}

func (s *stand) mustEndWith(code int) {
	s.t.Helper()
	err := s.Run(s.t.Context())
	if code == 0 {
		require.NoError(s.t, err)
		return
	}
	var exit *steps.ExitError
	require.ErrorAs(s.t, err, &exit)
	assert.Equal(s.t, code, exit.Code)
}

func TestVerify(t *testing.T) {
	for name, tc := range map[string]struct {
		deny []string
		set  func(*stand)
		code int
	}{
		"good.txt":    {set: func(s *stand) { s.Issue = true }},
		"good.json":   {set: func(s *stand) { s.Issue, s.Output = true, "json" }},
		"default.txt": {set: func(*stand) {}},
		"bad.txt": {set: func(s *stand) {
			s.server.ClientAuth = tls.VerifyClientCertIfGiven
			s.server.MinVersion = tls.VersionTLS10
			later := now.Add(3000 * time.Hour)
			s.now = func() time.Time { return later }
		}, code: 1},
		"bad.yaml": {set: func(s *stand) { s.server.ClientAuth, s.Output = tls.NoClientCert, "yaml" }, code: 1},
		"few-rights.txt": {
			deny: []string{"get namespaces", "list services", "list configmaps", "get configmaps", "list certificaterequests"},
			set:  func(s *stand) { s.Issue, s.denied, s.port = true, "create delete", "8443" },
		},
		"denied.txt": {set: func(s *stand) {
			s.Issue = true
			s.sign = func(r *cmapi.CertificateRequest) {
				r.Status.Conditions = []cmapi.CertificateRequestCondition{{
					Type: cmapi.CertificateRequestConditionDenied, Status: cmmeta.ConditionTrue, Reason: "policy.cert-manager.io", Message: "no policy allows it",
				}}
			}
		}},
		"plain-pod.txt": {set: func(s *stand) { s.target, s.port = "plain", "443" }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, tc.deny...)
			tc.set(s)
			require.NoError(t, s.Validate())
			s.mustEndWith(tc.code)
			s.check(name)

			var left cmapi.CertificateRequestList
			if tc.deny != nil {
				assert.Zero(t, s.made)
				return
			}
			require.NoError(t, s.cluster.List(t.Context(), &left, client.MatchingLabels{"app.kubernetes.io/managed-by": commonName}))
			assert.Empty(t, left.Items, "nothing is left behind")
			assert.NotContains(t, s.out.String()+s.errOut.String(), "PRIVATE KEY")
		})
	}
}

// A certificate of another service account is asked for, and a user's own is shown.
func TestOwnCertificates(t *testing.T) {
	s := newStand(t)
	s.Issue, s.ServiceAccount = true, "client"
	var asked string
	s.sign = func(r *cmapi.CertificateRequest) {
		block, _ := pem.Decode(r.Spec.Request)
		csr, err := x509.ParseCertificateRequest(block.Bytes)
		require.NoError(t, err)
		asked = csr.URIs[0].String()
		s.signed(r)
	}
	s.mustEndWith(0)
	assert.Equal(t, "spiffe://cluster.local/ns/shop/sa/client", asked)
	assert.Equal(t, 1, s.made)

	s = newStand(t)
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	s.CertFile, s.KeyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	require.NoError(t, os.WriteFile(s.KeyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	self := &x509.Certificate{SerialNumber: big.NewInt(9), NotAfter: now.Add(time.Hour)}
	selfDER, err := x509.CreateCertificate(rand.Reader, self, self, key.Public(), key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.CertFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: selfDER}), 0o600))
	s.Output = "json"
	s.mustEndWith(1)
	var report struct{ Findings []diagnose.Finding }
	require.NoError(t, json.Unmarshal(s.out.Bytes(), &report))
	var faults []diagnose.Fault
	for _, f := range report.Findings {
		if f.Fault != "" {
			faults = append(faults, f.Fault)
		}
	}
	assert.Equal(t, []diagnose.Fault{diagnose.OwnRefused}, faults)

	s.KeyFile = filepath.Join(dir, "none")
	require.ErrorContains(t, s.Run(t.Context()), "client certificate: open "+s.KeyFile)
}

func TestErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		target, port string
		deny         []string
		set          func(*stand)
		want         string
	}{
		"no pod":            {target: "none", want: `there is no pod "none" in namespace "shop"`},
		"not running":       {target: "pod/pending", want: "the pod \"pending\" is Pending, not Running: `kubectl describe pod pending` says why"},
		"no kind":           {target: "thing/x", want: "the server has no thing"},
		"no workload":       {target: "deployment/none", want: `there is no Deployment "none" in namespace "shop"`},
		"no pods":           {target: "deployment/idle", want: "Deployment idle has no pod that runs"},
		"no selector":       {target: "cm/mtls-ca-bundle", want: "ConfigMap mtls-ca-bundle has no selector: name one of its pods"},
		"selects nothing":   {target: "svc/selectorless", want: "Service selectorless selects no pods"},
		"may not list pods": {target: "svc/orders", deny: []string{"list pods"}, want: "you may not list the pods of Service orders: name one of them"},
		"may not see":       {target: "svc/orders", deny: []string{"get services"}, want: `you may not see Service "orders": name one of its pods`},
		"may not get pods":  {target: podName, deny: []string{"get pods"}, want: `you may not see the pod "` + podName + `"`},
		"no port":           {target: "plain", want: "pod plain names no port, and no Service leads to one: say which"},
		"no such port":      {target: podName, port: "grpc", want: `port "grpc": no container of pod ` + podName + ` names a port so`},
		"a port too high":   {target: podName, port: "70000", want: `port "70000": must be from 1 to 65535`},
		"no issuer":         {target: "plain", port: "1", set: func(s *stand) { s.Issue = true }, want: "--issue: the pod is none of those that get a certificate (no-role), so it has no issuer; --client-cert-file shows a certificate of yours"},
		"no port-forward": {target: podName, set: func(s *stand) {
			s.dial = func(*corev1.Pod, int) (dialer, error) {
				return nil, errors.New(`port-forward: unable to upgrade connection: pods "a" is forbidden: no`)
			}
		}, want: "you may not forward a port of the pod"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, tc.deny...)
			s.target, s.port = tc.target, tc.port
			if tc.set != nil {
				tc.set(s)
			}
			require.EqualError(t, s.Run(t.Context()), tc.want)
			if name == "no port-forward" {
				assert.Contains(t, s.errOut.String(), `not known: anything about the port: it is reached by a port-forward (you may not create pods/portforward in namespace "shop")`)
			}
		})
	}
}

func TestTargets(t *testing.T) {
	for _, target := range []string{podName, "pod/" + podName, "deployment/orders", "svc/orders"} {
		s := newStand(t)
		s.target = target
		pod, err := s.findPod(t.Context())
		require.NoError(t, err, target)
		assert.Equal(t, podName, pod.Name, "the newest that is ready")
	}
}

func TestValidate(t *testing.T) {
	for want, set := range map[string]func(*Options){
		`--output "wide": must be json, yaml`:                                        func(o *Options) { o.Output = "wide" },
		"--timeout 0s: must be more than nothing":                                    func(o *Options) { o.Timeout = 0 },
		"--client-cert-file and --client-key-file go together":                       func(o *Options) { o.CertFile = "a" },
		"--issue does not go with --client-cert-file: only one certificate is shown": func(o *Options) { o.Issue, o.CertFile, o.KeyFile = true, "a", "b" },
		"--service-account goes with --issue":                                        func(o *Options) { o.ServiceAccount = "a" },
		`--starttls "smtp": must be postgres`:                                        func(o *Options) { o.StartTLS = "smtp" },
	} {
		s := newStand(t)
		set(s.Options)
		require.EqualError(t, s.Validate(), want)
	}
}
