package csidriver

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"software.sslmate.com/src/go-pkcs12"
)

// fakeClient answers each CertificateRequest as cert-manager would: answer fills in
// the status.
func fakeClient(t *testing.T, answer func(*cmapi.CertificateRequest) error) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	require.NoError(t, cmapi.AddToScheme(scheme))
	return fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			if err := answer(obj.(*cmapi.CertificateRequest)); err != nil {
				return err
			}
			return c.Create(ctx, obj, opts...)
		},
	}).Build()
}

func condition(kind cmapi.CertificateRequestConditionType, reason, message string) cmapi.CertificateRequestCondition {
	return cmapi.CertificateRequestCondition{Type: kind, Status: cmmeta.ConditionTrue, Reason: reason, Message: message}
}

// signWith returns an answer that signs with a key of its own.
func signWith(t *testing.T, ca crypto.Signer) func(*cmapi.CertificateRequest) error {
	t.Helper()
	return func(cr *cmapi.CertificateRequest) error {
		template, err := pki.CertificateTemplateFromCertificateRequest(cr)
		if err != nil {
			return err
		}
		issuer := &x509.Certificate{SerialNumber: big.NewInt(1)}
		cr.Status.Certificate, _, err = pki.SignCertificate(template, issuer, template.PublicKey, ca)
		cr.Status.CA = []byte("the CA")
		cr.Status.Conditions = []cmapi.CertificateRequestCondition{
			condition(cmapi.CertificateRequestConditionApproved, "ok", ""),
			condition(cmapi.CertificateRequestConditionReady, cmapi.CertificateRequestReasonIssued, ""),
		}
		return err
	}
}

func newCA(t *testing.T) crypto.Signer {
	t.Helper()
	ca, err := pki.GenerateECPrivateKey(256)
	require.NoError(t, err)
	return ca
}

func TestPublishWritesFiles(t *testing.T) {
	cases := map[string]struct {
		attributes map[string]string
		keyType    string
	}{
		"RSA":          {map[string]string{}, "RSA PRIVATE KEY"},
		"RSA in PKCS8": {map[string]string{"key-encoding": "PKCS8"}, "PRIVATE KEY"},
		"ECDSA":        {map[string]string{"key-algorithm": "ECDSA"}, "PRIVATE KEY"},
		"Ed25519":      {map[string]string{"key-algorithm": "Ed25519"}, "PRIVATE KEY"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.attributes["common-name"] = "web"
			driver := New(Options{Client: fakeClient(t, signWith(t, newCA(t))), Root: t.TempDir()})
			pod := testPod(tc.attributes)
			dir, err := driver.Publish(t.Context(), pod, "tls")
			require.NoError(t, err)

			info, err := os.Stat(dir)
			require.NoError(t, err)
			assert.Equal(t, os.FileMode(0o550), info.Mode().Perm())
			for _, file := range []string{"ca.crt", "tls.crt", "tls.key"} {
				target, err := os.Readlink(filepath.Join(dir, file))
				require.NoError(t, err)
				assert.Equal(t, filepath.Join("..data", file), target)
				info, err := os.Stat(filepath.Join(dir, file))
				require.NoError(t, err)
				assert.Equal(t, os.FileMode(0o440), info.Mode())
			}
			_, err = tls.LoadX509KeyPair(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
			require.NoError(t, err)
			key, err := os.ReadFile(filepath.Join(dir, "tls.key"))
			require.NoError(t, err)
			block, _ := pem.Decode(key)
			assert.Equal(t, tc.keyType, block.Type)

			again, err := driver.Publish(t.Context(), pod, "tls")
			require.NoError(t, err)
			assert.Equal(t, dir, again, "a published volume is left alone")
			require.NoError(t, driver.Unpublish(pod, "tls"))
			require.NoError(t, driver.Unpublish(pod, "tls"), "twice is no error")
			assert.NoDirExists(t, dir)
		})
	}
}

func TestPublishWritesAKeystore(t *testing.T) {
	driver := New(Options{Client: fakeClient(t, signWith(t, newCA(t))), Root: t.TempDir()})
	dir, err := driver.Publish(t.Context(), testPod(map[string]string{"pkcs12-enable": "true", "pkcs12-password": "x"}), "tls")
	require.NoError(t, err)
	data, err := os.ReadFile(filepath.Join(dir, "keystore.p12"))
	require.NoError(t, err)
	_, _, err = pkcs12.Decode(data, "x")
	require.NoError(t, err)
}

func TestRequestHasNoUsageExtensions(t *testing.T) {
	var csr *x509.CertificateRequest
	sign := signWith(t, newCA(t))
	driver := New(Options{Root: t.TempDir(), Client: fakeClient(t, func(cr *cmapi.CertificateRequest) (err error) {
		if csr, err = pki.DecodeX509CertificateRequestBytes(cr.Spec.Request); err != nil {
			return err
		}
		return sign(cr)
	})})
	_, err := driver.Publish(t.Context(), testPod(map[string]string{"dns-names": "a", "literal-subject": "O=x,CN=y"}), "tls")
	require.NoError(t, err)
	require.Len(t, csr.Extensions, 1)
	assert.Equal(t, "2.5.29.17", csr.Extensions[0].Id.String(), "subject alternative names")
	assert.Equal(t, "CN=y,O=x", csr.Subject.String())
}

func TestPublishFails(t *testing.T) {
	cases := map[string]struct {
		answer func(*cmapi.CertificateRequest) error
		change func(*corev1.Pod)
		want   string
	}{
		"denied": {
			answer: func(cr *cmapi.CertificateRequest) error {
				cr.Status.Conditions = []cmapi.CertificateRequestCondition{
					condition(cmapi.CertificateRequestConditionDenied, "policy", "not yours"),
				}
				return nil
			},
			want: "denied: policy: not yours",
		},
		"failed": {
			answer: func(cr *cmapi.CertificateRequest) error {
				failed := condition(cmapi.CertificateRequestConditionReady, cmapi.CertificateRequestReasonFailed, "broken")
				failed.Status = cmmeta.ConditionFalse
				cr.Status.Conditions = []cmapi.CertificateRequestCondition{failed}
				return nil
			},
			want: "failed: broken",
		},
		"not created":   {answer: func(*cmapi.CertificateRequest) error { return errors.New("forbidden") }, want: "creating a CertificateRequest: forbidden"},
		"not approved":  {answer: func(*cmapi.CertificateRequest) error { return nil }, want: "is not approved: context deadline exceeded"},
		"a pod to come": {change: func(pod *corev1.Pod) { pod.UID = "" }, want: "the pod has no UID"},
		"refused":       {change: func(pod *corev1.Pod) { pod.Spec.Volumes[1].CSI.ReadOnly = nil }, want: "volume tls of pod shop/web-0: spec.volumes[1]"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			pod := testPod(map[string]string{"key-algorithm": "ECDSA"})
			if tc.change != nil {
				tc.change(pod)
			}
			_, err := New(Options{Client: fakeClient(t, tc.answer), Root: t.TempDir()}).Publish(ctx, pod, "tls")
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestRenewalBacksOff(t *testing.T) {
	sign, broken := signWith(t, newCA(t)), false
	clock := clocktesting.NewFakeClock(time.Now())
	var errs []error
	driver := New(Options{
		Root: t.TempDir(), Clock: clock, OnError: func(err error) { errs = append(errs, err) },
		Client: fakeClient(t, func(cr *cmapi.CertificateRequest) error {
			if broken {
				return errors.New("no API server")
			}
			return sign(cr)
		}),
	})
	pod := testPod(map[string]string{"key-algorithm": "ECDSA", "duration": "3h"})
	_, err := driver.Publish(t.Context(), pod, "tls")
	require.NoError(t, err)
	v := driver.volume(pod, "tls")
	assert.WithinDuration(t, clock.Now().Add(2*time.Hour), v.next, 5*time.Second, "at a third of the lifetime")
	driver.renewDue(t.Context())
	require.Empty(t, errs, "nothing is due")

	broken = true
	clock.SetTime(v.next)
	for _, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 5 * time.Minute, 5 * time.Minute} {
		assert.Equal(t, want, driver.renewDue(t.Context()))
		clock.Step(want)
	}
	require.Len(t, errs, 6)
	require.ErrorContains(t, errs[0], "renewing volume tls of pod shop/web-0: creating a CertificateRequest: no API server")

	broken = false
	key := v.key
	driver.renewDue(t.Context())
	assert.NotEqual(t, key, v.key, "a new key")
	assert.Zero(t, v.backoff)
}

func TestRenewAt(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	cert := &x509.Certificate{NotBefore: start, NotAfter: start.Add(9 * time.Hour)}
	cases := map[string]struct{ before, want time.Duration }{
		"by default":             {0, 6 * time.Hour},
		"as asked":               {time.Hour, 8 * time.Hour},
		"longer than its life":   {10 * time.Hour, 6 * time.Hour},
		"exactly its whole life": {9 * time.Hour, 6 * time.Hour},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, tc.want, renewAt(cert, tc.before).Sub(start))
		})
	}
}
