package csidriver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
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
	"software.sslmate.com/src/go-pkcs12"

	"example.io/mtls-injector/e2e/csidriver/csidrivertest"
)

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
			driver := New(Options{Client: csidrivertest.Client(t, csidrivertest.Sign(t)), Root: t.TempDir()})
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
	driver := New(Options{Client: csidrivertest.Client(t, csidrivertest.Sign(t)), Root: t.TempDir()})
	dir, err := driver.Publish(t.Context(), testPod(map[string]string{"pkcs12-enable": "true", "pkcs12-password": "x"}), "tls")
	require.NoError(t, err)
	data, err := os.ReadFile(filepath.Join(dir, "keystore.p12"))
	require.NoError(t, err)
	_, _, err = pkcs12.Decode(data, "x")
	require.NoError(t, err)
}

func TestRequestHasNoUsageExtensions(t *testing.T) {
	var csr *x509.CertificateRequest
	sign := csidrivertest.Sign(t)
	driver := New(Options{Root: t.TempDir(), Client: csidrivertest.Client(t, func(cr *cmapi.CertificateRequest) (err error) {
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
					csidrivertest.Condition(cmapi.CertificateRequestConditionDenied, "policy", "not yours"),
				}
				return nil
			},
			want: "has been denied by the approval plugin: not yours",
		},
		"failed": {
			answer: func(cr *cmapi.CertificateRequest) error {
				failed := csidrivertest.Condition(cmapi.CertificateRequestConditionReady, cmapi.CertificateRequestReasonFailed, "broken")
				failed.Status = cmmeta.ConditionFalse
				cr.Status.Conditions = []cmapi.CertificateRequestCondition{failed}
				return nil
			},
			want: "has failed: broken",
		},
		"not created":  {answer: func(*cmapi.CertificateRequest) error { return errors.New("forbidden") }, want: "submitting request: forbidden"},
		"not approved": {answer: func(*cmapi.CertificateRequest) error { return nil }, want: "waiting for request: request has not yet been approved by approval plugin"},
		"not signed": {
			answer: func(cr *cmapi.CertificateRequest) error {
				cr.Status.Conditions = []cmapi.CertificateRequestCondition{csidrivertest.Condition(cmapi.CertificateRequestConditionApproved, "ok", "")}
				return nil
			},
			want: "waiting for request: request has no ready condition",
		},
		"no issuer": {
			answer: func(cr *cmapi.CertificateRequest) error {
				pending := csidrivertest.Condition(cmapi.CertificateRequestConditionReady, cmapi.CertificateRequestReasonPending, `Referenced "Issuer" not found`)
				pending.Status = cmmeta.ConditionFalse
				cr.Status.Conditions = []cmapi.CertificateRequestCondition{pending}
				return nil
			},
			want: `waiting for request: request pending: Referenced "Issuer" not found`,
		},
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
			_, err := New(Options{Client: csidrivertest.Client(t, tc.answer), Root: t.TempDir()}).Publish(ctx, pod, "tls")
			require.ErrorContains(t, err, tc.want)
		})
	}
}
