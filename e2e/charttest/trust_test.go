package charttest

import (
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const day = 24 * time.Hour

// withTrust are arguments that have the chart make CA and bundle, and set further values.
func withTrust(values ...string) []string {
	return set(append([]string{"trust.ca.create=true", "trust.bundle.create=true"}, values...)...)
}

// sources returns the Secrets that the Bundle is made of, each with its key.
func sources(t *testing.T, bundle *unstructured.Unstructured) []string {
	t.Helper()
	require.NotNil(t, bundle)
	list, _, err := unstructured.NestedSlice(bundle.Object, "spec", "sources")
	require.NoError(t, err)
	var names []string
	for _, source := range list {
		secret, found, err := unstructured.NestedStringMap(source.(map[string]any), "secret") //nolint:forcetypeassert // the test fails
		require.NoError(t, err)
		if found {
			names = append(names, secret["name"]+" "+secret["key"])
		}
	}
	return names
}

// TestTrust: a root by default; all generations while one signs.
func TestTrust(t *testing.T) {
	cases := map[string]struct {
		args    []string
		made    []string
		active  string
		sources []string
	}{
		"by default": {withTrust(), []string{"mtls-ca-a"}, "mtls-ca-a", []string{"mtls-ca-a tls.crt"}},
		"a new root": {
			withTrust("trust.ca.generations={a,b}"),
			[]string{"mtls-ca-a", "mtls-ca-b"}, "mtls-ca-a", []string{"mtls-ca-a tls.crt", "mtls-ca-b tls.crt"},
		},
		"named by years": {
			withTrust("trust.ca.generations={2026,2036}", "trust.ca.active=2036"),
			[]string{"mtls-ca-2026", "mtls-ca-2036"}, "mtls-ca-2036", []string{"mtls-ca-2026 tls.crt", "mtls-ca-2036 tls.crt"},
		},
		"no list": {
			withTrust("trust.ca.generations=null", "trust.ca.active=b"), []string{"mtls-ca-b"}, "mtls-ca-b", []string{"mtls-ca-b tls.crt"},
		},
		"another issuer's name": {
			withTrust("config.issuer.name=shop"), []string{"shop-a"}, "shop-a", []string{"shop-a tls.crt"},
		},
		"a CA of one's own": {
			append(withTrust("trust.ca.active=corp"),
				"--set-json", `trust.ca.generations=["a",{"name":"corp","existingSecret":"corp-ca","key":"ca.crt"}]`),
			[]string{"mtls-ca-a"}, "corp-ca", []string{"mtls-ca-a tls.crt", "corp-ca ca.crt"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var made []string
			var active string
			var bundle *unstructured.Unstructured
			for _, object := range template(t, tc.args...) {
				switch object.GetKind() {
				case "Certificate":
					cert, err := Into[cmapi.Certificate](object)
					require.NoError(t, err)
					if cert.Namespace == "cert-manager" { // not the webhook's own
						made = append(made, cert.Spec.SecretName)
					}
				case "ClusterIssuer":
					issuer, err := Into[cmapi.ClusterIssuer](object)
					require.NoError(t, err)
					active = issuer.Spec.CA.SecretName
				case "Bundle":
					bundle = object
				}
			}
			assert.Equal(t, tc.made, made)
			assert.Equal(t, tc.active, active)
			assert.Equal(t, tc.sources, sources(t, bundle))
		})
	}
}

// TestRoot: a root's key is never replaced. What its generation says is said to cert-manager.
func TestRoot(t *testing.T) {
	objects := template(t, append(withTrust(), "--set-json", `trust.ca.generations=["a",{"name":"b","privateKey":{"algorithm":"RSA","size":4096},"duration":"43800h"}]`)...)
	first := must[cmapi.Certificate](t, objects, "Certificate", "mtls-ca-a")
	assert.Equal(t, "cert-manager", first.Namespace)
	assert.Equal(t, "mtls-ca-a", first.Spec.CommonName)
	assert.Equal(t, 10*365*day, first.Spec.Duration.Duration)
	assert.Equal(t, cmmeta.IssuerReference{Name: "mtls-ca-selfsigned", Kind: "Issuer", Group: "cert-manager.io"}, first.Spec.IssuerRef)
	assert.Equal(t, &cmapi.CertificatePrivateKey{Algorithm: cmapi.ECDSAKeyAlgorithm, Size: 256, RotationPolicy: cmapi.RotationPolicyNever}, first.Spec.PrivateKey)
	second := must[cmapi.Certificate](t, objects, "Certificate", "mtls-ca-b")
	assert.Equal(t, &cmapi.CertificatePrivateKey{Algorithm: cmapi.RSAKeyAlgorithm, Size: 4096, RotationPolicy: cmapi.RotationPolicyNever}, second.Spec.PrivateKey)
	assert.Equal(t, 5*365*day, second.Spec.Duration.Duration)
}

// TestTrustKept: running pods need issuer, roots and bundle when the release is gone.
func TestTrustKept(t *testing.T) {
	for keep, want := range map[string]string{"true": "keep", "false": ""} {
		objects := template(t, withTrust("trust.keep="+keep)...)
		for kind, name := range map[string]string{
			"Certificate": "mtls-ca-a", "Issuer": "mtls-ca-selfsigned", "ClusterIssuer": "mtls-ca", "Bundle": "mtls-ca-bundle",
		} {
			object := Find(objects, kind, name)
			require.NotNil(t, object, "%s %s", kind, name)
			assert.Equal(t, want, object.GetAnnotations()["helm.sh/resource-policy"], "%s %s", kind, name)
		}
	}
}

// TestBundleTarget: the bundle goes where injection does, and is called as pods mount it.
func TestBundleTarget(t *testing.T) {
	objects := template(t, append(withTrust("config.caBundle.name=roots", "config.caBundle.key=roots.pem", "tests.enabled=false"),
		"--set-json", `namespaceSelector={"matchLabels":null,"matchExpressions":[{"key":"mtls","operator":"Exists"}]}`,
		"--set-json", `trust.bundle.sources=[{"configMap":{"name":"partner","key":"ca.crt"}}]`)...)
	bundle := Find(objects, "Bundle", "roots")
	require.NotNil(t, bundle)
	assert.Equal(t, map[string]any{
		"sources": []any{
			map[string]any{"secret": map[string]any{"name": "mtls-ca-a", "key": "tls.crt"}},
			map[string]any{"configMap": map[string]any{"name": "partner", "key": "ca.crt"}},
		},
		"target": map[string]any{
			"configMap":         map[string]any{"key": "roots.pem"},
			"namespaceSelector": map[string]any{"matchExpressions": []any{map[string]any{"key": "mtls", "operator": "Exists"}}},
		},
	}, bundle.Object["spec"])
}

// TestNoTrust: nothing is made for those who have it.
func TestNoTrust(t *testing.T) {
	for _, object := range template(t, set("trust.ca.create=false", "trust.bundle.create=false")...) {
		assert.NotContains(t, []string{"ClusterIssuer", "Bundle"}, object.GetKind())
	}
}

// TestTrustRefused: what would leave pods without trust is said before anything is changed.
func TestTrustRefused(t *testing.T) {
	const long = "sixty-four-bytes-are-what-the-common-name-of-a-certificate-may-have"
	cases := map[string]struct{ set, want string }{
		"who signs is not trusted": {
			"trust.ca.active=b",
			`trust.ca.active is "b", which is not among trust.ca.generations (a): the root that signs must be one that pods trust`,
		},
		"twice the same": {"trust.ca.generations={a,a}", `trust.ca.generations: "a" is there twice`},
		"too long": {
			"trust.ca.generations={a," + long + "}",
			`trust.ca.generations: "mtls-ca-` + long + `" is 75 bytes long, but it becomes a common name, which may have 64: shorten the generation or config.issuer.name`,
		},
		"an Issuer": {
			"config.issuer.kind=Issuer",
			"trust.ca.create makes a ClusterIssuer of cert-manager.io, but config.issuer is of kind Issuer and group cert-manager.io: set trust.ca.create=false, or leave out config.issuer.kind and config.issuer.group",
		},
		"another kind of bundle": {
			"config.caBundle.kind=ClusterTrustBundle",
			"trust.bundle.create has trust-manager write ConfigMaps, but config.caBundle.kind is ClusterTrustBundle: set trust.bundle.create=false, or leave out config.caBundle.kind",
		},
		"nothing to trust": {
			"trust.ca.create=false",
			"trust.bundle.create needs something to trust: with trust.ca.create=false, name the CA in trust.bundle.sources",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := chart.Template(t.Context(), withTrust(tc.set)...)
			require.ErrorContains(t, err, tc.want)
		})
	}
}
