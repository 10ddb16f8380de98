package shortissuer

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"testing"
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/demo/authority"
)

var ref = cmmeta.IssuerReference{Name: "short", Kind: "ShortIssuer", Group: "short.example.io"}

func testIssuer(t *testing.T) *issuer {
	t.Helper()
	ca, err := authority.New("Test CA")
	require.NoError(t, err)
	i, err := newIssuer(Options{Ref: ref, CA: ca.CA, Lifetime: time.Minute, Backdate: 5 * time.Second})
	require.NoError(t, err)
	i.now = func() time.Time { return time.Now().Truncate(time.Second) }
	return i
}

// approved returns a request of a server for an hour that may be signed.
func approved(t *testing.T) *cmapi.CertificateRequest {
	t.Helper()
	key, err := pki.GenerateECPrivateKey(256)
	require.NoError(t, err)
	csr, err := pki.EncodeCSR(&x509.CertificateRequest{Subject: pkix.Name{CommonName: "web"}, DNSNames: []string{"web.shop.svc"}}, key)
	require.NoError(t, err)
	request := &cmapi.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1"},
		Spec: cmapi.CertificateRequestSpec{
			Request:   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}),
			IssuerRef: ref,
			Duration:  &metav1.Duration{Duration: time.Hour},
			Usages:    []cmapi.KeyUsage{cmapi.UsageDigitalSignature, cmapi.UsageServerAuth},
		},
	}
	decide(request, cmapi.CertificateRequestConditionApproved)
	return request
}

func decide(request *cmapi.CertificateRequest, how cmapi.CertificateRequestConditionType) {
	apiutil.SetCertificateRequestCondition(request, how, cmmeta.ConditionTrue, "test", "")
}

// reconcile gives the issuer the request and returns what it is then.
func reconcile(t *testing.T, i *issuer, request *cmapi.CertificateRequest) *cmapi.CertificateRequest {
	t.Helper()
	c := fake.NewClientBuilder().WithScheme(cluster.NewScheme()).WithObjects(request).WithStatusSubresource(request).Build()
	i.client = c
	key := types.NamespacedName{Namespace: request.Namespace, Name: request.Name}
	_, err := i.Reconcile(t.Context(), ctrl.Request{NamespacedName: key})
	require.NoError(t, err)
	var after cmapi.CertificateRequest
	require.NoError(t, c.Get(t.Context(), key, &after))
	return &after
}

func TestSigns(t *testing.T) {
	cases := map[string]struct{ asked, want time.Duration }{
		"for less than was asked":  {time.Hour, time.Minute},
		"for as long as it gives":  {time.Minute, time.Minute},
		"for as long as was asked": {20 * time.Second, 20 * time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			i, request := testIssuer(t), approved(t)
			request.Spec.Duration.Duration = tc.asked
			now := time.Now().Truncate(time.Second)
			i.now = func() time.Time { return now }
			after := reconcile(t, i, request)
			assert.Equal(t, cmapi.CertificateRequestReasonIssued, apiutil.CertificateRequestReadyReason(after))
			leaf, err := pki.DecodeX509CertificateBytes(after.Status.Certificate)
			require.NoError(t, err)
			assert.True(t, leaf.NotAfter.Equal(now.Add(tc.want)), "%v", leaf.NotAfter)
			assert.True(t, leaf.NotBefore.Equal(now.Add(-5*time.Second)), "%v", leaf.NotBefore)
			assert.Equal(t, []string{"web.shop.svc"}, leaf.DNSNames)
			assert.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, leaf.ExtKeyUsage)
			assert.False(t, leaf.IsCA)
			assert.Equal(t, string(i.CA.Cert), string(after.Status.CA))
			require.NoError(t, leaf.CheckSignatureFrom(i.chain[0]))
		})
	}
}

func TestSkew(t *testing.T) {
	cases := map[string]time.Duration{"ahead": 5 * time.Minute, "behind": -5 * time.Minute}
	for name, skew := range cases {
		t.Run(name, func(t *testing.T) {
			ca, err := authority.New("Test CA")
			require.NoError(t, err)
			i, err := newIssuer(Options{Ref: ref, CA: ca.CA, Lifetime: time.Minute, Skew: skew})
			require.NoError(t, err)
			after := reconcile(t, i, approved(t))
			leaf, err := pki.DecodeX509CertificateBytes(after.Status.Certificate)
			require.NoError(t, err)
			assert.WithinDuration(t, time.Now().Add(skew), leaf.NotBefore, 30*time.Second)
			assert.WithinDuration(t, time.Now().Add(skew+time.Minute), leaf.NotAfter, 30*time.Second)
		})
	}
}

func TestLeavesAlone(t *testing.T) {
	cases := map[string]func(*cmapi.CertificateRequest){
		"another group":    func(r *cmapi.CertificateRequest) { r.Spec.IssuerRef.Group = "cert-manager.io" },
		"another kind":     func(r *cmapi.CertificateRequest) { r.Spec.IssuerRef.Kind = "Issuer" },
		"another name":     func(r *cmapi.CertificateRequest) { r.Spec.IssuerRef.Name = "long" },
		"not approved yet": func(r *cmapi.CertificateRequest) { r.Status.Conditions = nil },
		"denied":           func(r *cmapi.CertificateRequest) { decide(r, cmapi.CertificateRequestConditionDenied) },
		"failed": func(r *cmapi.CertificateRequest) {
			apiutil.SetCertificateRequestCondition(r, cmapi.CertificateRequestConditionReady,
				cmmeta.ConditionFalse, cmapi.CertificateRequestReasonFailed, "")
		},
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			request := approved(t)
			change(request)
			before := request.DeepCopy()
			after := reconcile(t, testIssuer(t), request)
			assert.Empty(t, after.Status.Certificate)
			assert.Len(t, after.Status.Conditions, len(before.Status.Conditions))
		})
	}
}

func TestFailsWhatCannotBeSigned(t *testing.T) {
	request := approved(t)
	request.Spec.Request = []byte("nonsense")
	after := reconcile(t, testIssuer(t), request)
	assert.Equal(t, cmapi.CertificateRequestReasonFailed, apiutil.CertificateRequestReadyReason(after))
	ready := apiutil.GetCertificateRequestCondition(after, cmapi.CertificateRequestConditionReady)
	assert.Contains(t, ready.Message, "reading the request: ")
	assert.NotNil(t, after.Status.FailureTime)
	assert.Empty(t, after.Status.Certificate)
}

func TestAGoneRequestIsNoError(t *testing.T) {
	i := testIssuer(t)
	i.client = fake.NewClientBuilder().WithScheme(cluster.NewScheme()).Build()
	_, err := i.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "web-1"}})
	require.NoError(t, err)
}

func TestNeedsAKeyPair(t *testing.T) {
	ca := testIssuer(t).CA
	_, err := newIssuer(Options{CA: authority.Pair{Cert: []byte("none"), Key: ca.Key}})
	require.ErrorContains(t, err, "reading the CA's certificate: ")
	_, err = newIssuer(Options{CA: authority.Pair{Cert: ca.Cert, Key: []byte("none")}})
	require.ErrorContains(t, err, "reading the CA's key: ")
}
