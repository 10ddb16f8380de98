package csidriver

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// testPod returns a pod with one volume "tls" that has the attributes. A key without
// a slash is one of the driver's.
func testPod(attributes map[string]string) *corev1.Pod {
	readOnly := true
	full := map[string]string{Prefix + "issuer-name": "ca"}
	for key, value := range attributes {
		if !strings.Contains(key, "/") {
			key = Prefix + key
		}
		full[key] = value
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-0", UID: "11-22"},
		Spec: corev1.PodSpec{
			ServiceAccountName: "web",
			Volumes: []corev1.Volume{
				{Name: "other", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
				{Name: "tls", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{
					Driver: Name, ReadOnly: &readOnly, VolumeAttributes: full,
				}}},
			},
		},
	}
}

// defaults is what a volume with nothing but an issuer asks for.
func defaults(change func(*Request)) *Request {
	r := &Request{
		Issuer:       cmmeta.IssuerReference{Name: "ca", Kind: "Issuer", Group: "cert-manager.io"},
		Duration:     90 * 24 * time.Hour,
		Usages:       []cmapi.KeyUsage{cmapi.UsageDigitalSignature, cmapi.UsageKeyEncipherment},
		KeyAlgorithm: x509.RSA, KeySize: 2048, KeyEncoding: cmapi.PKCS1,
		CAFile: "ca.crt", CertificateFile: "tls.crt", KeyFile: "tls.key",
		Annotations: map[string]string{},
	}
	change(r)
	return r
}

func parseURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	require.NoError(t, err)
	return u
}

func TestParse(t *testing.T) {
	cases := map[string]struct {
		attributes map[string]string
		want       func(*Request)
	}{
		"defaults":       {nil, func(*Request) {}},
		"an empty value": {map[string]string{"duration": "", "is-ca": "", "common-name": ""}, func(*Request) {}},
		"issuer": {
			map[string]string{"issuer-name": "x", "issuer-kind": "ClusterIssuer", "issuer-group": "awspca.example.com"},
			func(r *Request) {
				r.Issuer = cmmeta.IssuerReference{Name: "x", Kind: "ClusterIssuer", Group: "awspca.example.com"}
			},
		},
		"common-name": {
			map[string]string{"common-name": "${POD_NAME}.$POD_NAMESPACE"},
			func(r *Request) { r.Subject.CommonName = "web-0.shop" },
		},
		"a long common-name": {
			map[string]string{"common-name": strings.Repeat("x", 65)},
			func(r *Request) { r.Subject.CommonName = strings.Repeat("x", 65) },
		},
		"subject": {
			map[string]string{
				"organizations": `a,"b, ${POD_UID}"`, "organizationalunits": "$SERVICE_ACCOUNT_NAME", "countries": "NL,BE",
				"provinces": "p", "localities": "l", "streetaddresses": `"1 s, t"`, "postalcodes": "1000 AA",
				"serialnumber": "${POD_NAME}",
			},
			func(r *Request) {
				r.Subject = pkix.Name{
					Organization: []string{"a", "b, 11-22"}, OrganizationalUnit: []string{"web"}, Country: []string{"NL", "BE"},
					Province: []string{"p"}, Locality: []string{"l"}, StreetAddress: []string{"1 s, t"}, PostalCode: []string{"1000 AA"},
					SerialNumber: "${POD_NAME}", // literal
				}
			},
		},
		"literal-subject": {
			map[string]string{"literal-subject": "CN=${POD_NAME}", "common-name": "gone", "organizations": "gone"},
			func(r *Request) { r.RawSubject = []byte("0\x101\x0e0\f\x06\x03U\x04\x03\x13\x05web-0") },
		},
		"dns-names": {
			map[string]string{"dns-names": "a, ${POD_NAME}.b ,,c"},
			func(r *Request) { r.DNSNames = []string{"a", "web-0.b", "", "c"} },
		},
		"uri-sans": {
			map[string]string{"uri-sans": "spiffe://x/ns/${POD_NAMESPACE}/sa/${SERVICE_ACCOUNT_NAME},https://y"},
			func(r *Request) {
				r.URIs = []*url.URL{parseURL(t, "spiffe://x/ns/shop/sa/web"), parseURL(t, "https://y")}
			},
		},
		"ip-sans": {
			map[string]string{"ip-sans": "127.0.0.1,::1"},
			func(r *Request) { r.IPAddresses = []net.IP{net.ParseIP("127.0.0.1"), net.ParseIP("::1")} },
		},
		"lifetime": {
			map[string]string{"duration": "1h30m", "renew-before": "10m"},
			func(r *Request) { r.Duration, r.RenewBefore = 90*time.Minute, 10*time.Minute },
		},
		"is-ca":      {map[string]string{"is-ca": "true"}, func(r *Request) { r.IsCA = true }},
		"key-usages": {map[string]string{"key-usages": "server auth,client auth"}, func(r *Request) { r.Usages = []cmapi.KeyUsage{"server auth", "client auth"} }},
		"RSA": {
			map[string]string{"key-algorithm": "rsa", "key-size": "4096", "key-encoding": "PKCS8"},
			func(r *Request) { r.KeySize, r.KeyEncoding = 4096, cmapi.PKCS8 },
		},
		"ECDSA": {
			map[string]string{"key-algorithm": "Ecdsa"},
			func(r *Request) { r.KeyAlgorithm, r.KeySize, r.KeyEncoding = x509.ECDSA, 256, cmapi.PKCS8 },
		},
		"ECDSA of another size": {
			map[string]string{"key-algorithm": "ECDSA", "key-size": "521"},
			func(r *Request) { r.KeyAlgorithm, r.KeySize, r.KeyEncoding = x509.ECDSA, 521, cmapi.PKCS8 },
		},
		"Ed25519": {
			map[string]string{"key-algorithm": "ED25519"},
			func(r *Request) { r.KeyAlgorithm, r.KeySize, r.KeyEncoding = x509.Ed25519, 0, cmapi.PKCS8 },
		},
		"files": {
			map[string]string{"ca-file": "a", "certificate-file": "b", "privatekey-file": strings.Repeat("c", 255)},
			func(r *Request) { r.CAFile, r.CertificateFile, r.KeyFile = "a", "b", strings.Repeat("c", 255) },
		},
		"fs-group":          {map[string]string{"fs-group": "4294967295"}, func(r *Request) { r.GID = 4294967295 }},
		"reuse-private-key": {map[string]string{"reuse-private-key": "true"}, func(r *Request) { r.ReuseKey = true }},
		"pkcs12": {
			map[string]string{"pkcs12-enable": "true", "pkcs12-password": "pa$$"},
			func(r *Request) { r.KeystoreFile, r.KeystorePassword = "keystore.p12", "pa$$" },
		},
		"pkcs12 turned off": {map[string]string{"pkcs12-enable": "false", "pkcs12-password": "x"}, func(*Request) {}},
		"keys that it does not know": {
			map[string]string{"dnsnames": "typo", "example.com/team": "blue", "csi.storage.k8s.io/ephemeral": "true"},
			func(r *Request) {
				r.Ignored = []string{Prefix + "dnsnames"}
				r.Annotations = map[string]string{"example.com/team": "blue", "csi.storage.k8s.io/ephemeral": "true"}
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(testPod(tc.attributes), "tls")
			require.NoError(t, err)
			assert.Empty(t, cmp.Diff(defaults(tc.want), got))
		})
	}
}

func TestParseRefuses(t *testing.T) {
	const dollar = "only ${POD_NAME}, ${POD_NAMESPACE}, ${POD_UID} and ${SERVICE_ACCOUNT_NAME} are expanded"
	cases := map[string]struct{ key, value, want string }{
		"no issuer":              {"issuer-name", "", "Required value"},
		"literal-subject":        {"literal-subject", "nonsense", "incomplete type, value pair"},
		"organizations":          {"organizations", `"open`, `extraneous or missing "`},
		"uri-sans":               {"uri-sans", "spiffe://x,:", "missing protocol scheme"},
		"ip-sans":                {"ip-sans", "127.0.0.1,localhost", `"localhost" is not an IP address`},
		"a space in ip-sans":     {"ip-sans", "127.0.0.1, ::1", `" ::1" is not an IP address`},
		"duration":               {"duration", "90d", `unknown unit "d"`},
		"renew-before":           {"renew-before", "1", "missing unit"},
		"is-ca":                  {"is-ca", "yes", `must be "true" or "false"`},
		"key-usages":             {"key-usages", "digital signature,serving", `"serving" is not a key usage`},
		"key-algorithm":          {"key-algorithm", "DSA", "must be RSA, ECDSA or Ed25519"},
		"key-size":               {"key-size", "big", "must be a number of bits"},
		"a small RSA key":        {"key-size", "2047", "an RSA key has 2048 to 8192 bits"},
		"a large RSA key":        {"key-size", "8193", "an RSA key has 2048 to 8192 bits"},
		"key-encoding":           {"key-encoding", "pkcs8", "must be PKCS1 or PKCS8"},
		"ca-file":                {"ca-file", "a/b", "must be a plain file name"},
		"certificate-file":       {"certificate-file", "..", "must be a plain file name"},
		"privatekey-file":        {"privatekey-file", strings.Repeat("x", 256), "must be no longer than 255 characters"},
		"one name twice":         {"privatekey-file", "tls.crt", "is also the name of certificate-file"},
		"fs-group of root":       {"fs-group", "0", "must be a group number from 1 to 4294967295"},
		"fs-group too large":     {"fs-group", "4294967296", "must be a group number from 1 to 4294967295"},
		"fs-group, not a number": {"fs-group", "staff", "must be a group number from 1 to 4294967295"},
		"reuse-private-key":      {"reuse-private-key", "True", `must be "true" or "false"`},
		"pkcs12-enable":          {"pkcs12-enable", "1", `must be "true" or "false"`},
		"no pkcs12-password":     {"pkcs12-enable", "true", "needs pkcs12-password"},
		"pkcs12-filename":        {"pkcs12-filename", "../x", "must be a plain file name"},
		"an unknown variable":    {"common-name", "${POD_IP}", dollar},
		"a longer variable":      {"dns-names", "$POD_NAMES", dollar},
		"a dollar sign":          {"uri-sans", "spiffe://x/$", dollar},
		"an escaped dollar":      {"organizations", "$$POD_NAME", dollar},
		"an open brace":          {"countries", "${POD_NAME", dollar},
		"nothing to expand":      {"provinces", "${}", dollar},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(testPod(map[string]string{tc.key: tc.value}), "tls")
			require.ErrorContains(t, err, "spec.volumes[1].csi.volumeAttributes["+Prefix+tc.key+"]: ")
			assert.ErrorContains(t, err, tc.want)
		})
	}
}

func TestParseRefusesKeys(t *testing.T) {
	cases := map[string]struct{ algorithm, key, value, want string }{
		"ECDSA size":       {"ECDSA", "key-size", "2048", "an ECDSA key has 256, 384 or 521 bits"},
		"ECDSA encoding":   {"ECDSA", "key-encoding", "PKCS1", "PKCS1 is for RSA keys only"},
		"Ed25519 size":     {"Ed25519", "key-size", "256", "an Ed25519 key has no size to choose"},
		"Ed25519 encoding": {"Ed25519", "key-encoding", "PKCS1", "PKCS1 is for RSA keys only"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(testPod(map[string]string{"key-algorithm": tc.algorithm, tc.key: tc.value}), "tls")
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestParseReportsAllProblems(t *testing.T) {
	_, err := Parse(testPod(map[string]string{"issuer-name": "", "duration": "x", "key-usages": "x"}), "tls")
	for _, key := range []string{"issuer-name", "duration", "key-usages"} {
		assert.ErrorContains(t, err, Prefix+key)
	}
}

func TestParseRefusesVolumes(t *testing.T) {
	no := false
	cases := map[string]struct {
		volume string
		change func(*corev1.CSIVolumeSource)
		want   string
	}{
		"missing":            {"absent", func(*corev1.CSIVolumeSource) {}, `spec.volumes: Not found: "absent"`},
		"another kind":       {"other", func(*corev1.CSIVolumeSource) {}, "spec.volumes[0].csi: Required value: volume other is of another kind"},
		"another driver":     {"tls", func(s *corev1.CSIVolumeSource) { s.Driver = "x" }, `spec.volumes[1].csi.driver: Unsupported value: "x"`},
		"not read-only":      {"tls", func(s *corev1.CSIVolumeSource) { s.ReadOnly = &no }, "spec.volumes[1].csi.readOnly: Required value: pod.spec.volumes[].csi.readOnly must be set to 'true'"},
		"read-only left out": {"tls", func(s *corev1.CSIVolumeSource) { s.ReadOnly = nil }, "must be set to 'true'"},
		"a secret": {
			"tls", func(s *corev1.CSIVolumeSource) { s.NodePublishSecretRef = &corev1.LocalObjectReference{Name: "x"} },
			"spec.volumes[1].csi.nodePublishSecretRef: Forbidden",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			pod := testPod(nil)
			tc.change(pod.Spec.Volumes[1].CSI)
			_, err := Parse(pod, tc.volume)
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestFilesGroup(t *testing.T) {
	fsGroup := int64(3000)
	pod := testPod(nil)
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: &fsGroup}
	req, err := Parse(pod, "tls")
	require.NoError(t, err)
	assert.Equal(t, fsGroup, req.GID, "the pod's")

	pod.Spec.Volumes[1].CSI.VolumeAttributes[Prefix+"fs-group"] = "4000"
	req, err = Parse(pod, "tls")
	require.NoError(t, err)
	assert.Equal(t, int64(4000), req.GID, "the attribute comes first")
}
