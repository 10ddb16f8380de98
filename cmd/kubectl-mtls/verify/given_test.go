package verify

import (
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"example.io/mtls-injector/intent"
)

// Somebody who may not read the configuration is not told that the pod would be refused for
// what that allows.
func TestAsGiven(t *testing.T) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", Annotations: map[string]string{
			intent.Prefix + "role":        "client",
			intent.Prefix + "issuer":      "own",
			intent.Prefix + "issuer-kind": "Issuer",
			intent.Prefix + "dns-names":   "web.example.org, www.example.org",
			intent.AnnotationStatus:       `{"issuer":"Issuer/own","spiffe":"spiffe://example.org/ns/shop/sa/default"}`,
		}},
		Spec: corev1.PodSpec{ServiceAccountName: "default", Volumes: []corev1.Volume{{
			Name: intent.CertificateVolume, VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{VolumeAttributes: map[string]string{
				"csi.cert-manager.io/key-algorithm": "RSA", "csi.cert-manager.io/key-size": "3072",
			}}},
		}}},
	}
	resolve := func(defaults *intent.Defaults) intent.Result {
		return intent.Resolve(defaults, &intent.Namespace{Name: "shop"}, intent.PodOf(pod), nil)
	}
	assert.NotEmpty(t, resolve(intent.BuiltinDefaults()).Errors)
	result := resolve(asGiven(intent.BuiltinDefaults(), pod))
	assert.Empty(t, result.Errors)
	assert.Equal(t, intent.Issuer{Name: "own", Kind: "Issuer", Group: "cert-manager.io"}, result.Intent.Issuer)
	assert.Equal(t, "spiffe://example.org/ns/shop/sa/default", result.Intent.Identity.SPIFFEID)
	assert.Equal(t, intent.PrivateKey{Algorithm: cmapi.RSAKeyAlgorithm, Size: 3072}, result.Intent.Key)
	assert.Equal(t, []string{"web.example.org", "www.example.org"}, result.Intent.Identity.DNSNames)
}

func TestIssuerOf(t *testing.T) {
	for _, issuer := range []intent.Issuer{
		{Name: "a", Kind: "Issuer", Group: "cert-manager.io"}, {Name: "a", Kind: "StepIssuer", Group: "certmanager.step.sm"},
	} {
		got, ok := issuerOf(issuer.String())
		assert.True(t, ok)
		assert.Equal(t, issuer, got)
	}
	_, ok := issuerOf("")
	assert.False(t, ok)
}
