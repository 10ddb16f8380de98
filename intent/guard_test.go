package intent_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"example.io/mtls-injector/intent"
)

// handWritten returns a volume of the CSI driver that asks for the default issuer, an
// ECDSA key, and what the pairs say.
func handWritten(pairs ...string) intent.Volume {
	attributes := map[string]string{
		"csi.cert-manager.io/issuer-name": "mtls-ca", "csi.cert-manager.io/issuer-kind": "ClusterIssuer",
	}
	for i := 0; i < len(pairs); i += 2 {
		key := pairs[i]
		if !strings.Contains(key, "/") {
			key = "csi.cert-manager.io/" + key
		}
		attributes[key] = pairs[i+1]
	}
	return intent.Volume{Name: "tls", CSI: &corev1.CSIVolumeSource{
		Driver: "csi.cert-manager.io", ReadOnly: new(true), VolumeAttributes: attributes,
	}}
}

// admit decides about a pod behind two Services, one of them headless, and beside those of
// others.
func admit(d *intent.Defaults, pod *intent.Pod) intent.Result {
	return intent.Admit(d, newNamespace(), pod, []intent.Service{webService(), headless("peers", "web"), service("db", "db")})
}

// generous grants something of each kind to the team retail.
func generous() *intent.Defaults {
	d := grants("retail")
	rule := &d.AllowedNames[1]
	rule.URIs = []string{"https://shop.example.com/*", "spiffe://partner.example/ns/*/sa/web"}
	rule.IPAddresses = []string{"10.0.0.1", "2001:db8::1"}
	rule.Countries, rule.Provinces, rule.Localities = []string{"NL"}, []string{"Gelderland"}, []string{"Ede"}
	rule.StreetAddresses, rule.PostalCodes, rule.SerialNumbers = []string{"Kade 1, links"}, []string{"1234"}, []string{"42"}
	d.AllowedIssuers = []intent.IssuerRule{{Namespaces: labels.Everything(), Name: "team-*", Kind: "Issuer", Group: "cert-manager.io"}}
	return d
}

func TestGuardAdmits(t *testing.T) {
	const id = "spiffe://cluster.local/ns/shop/sa/web-sa"
	for name, pairs := range map[string][]string{
		"nothing but an issuer":     {},
		"own names":                 {"dns-names", "web,web.shop, web.shop.svc ,peers.shop.svc.cluster.local"},
		"own names with variables":  {"dns-names", "web.${POD_NAMESPACE}.svc,web.$POD_NAMESPACE"},
		"the pod's own name":        {"dns-names", "${POD_NAME}.peers.shop.svc.cluster.local,$POD_NAME.peers.${POD_NAMESPACE}.svc.cluster.local"},
		"granted names":             {"dns-names", "shop.example.com,a.shop.example.com,*.shop.example.com"},
		"a granted pod's name":      {"dns-names", "${POD_NAME}.shop.example.com"},
		"own SPIFFE ID":             {"uri-sans", id},
		"own, with variables":       {"uri-sans", "spiffe://cluster.local/ns/${POD_NAMESPACE}/sa/${SERVICE_ACCOUNT_NAME}"},
		"granted URIs":              {"uri-sans", "https://shop.example.com/a," + id + ",spiffe://partner.example/ns/x/sa/web"},
		"granted addresses":         {"ip-sans", "10.0.0.1,2001:db8::1"},
		"another spelling":          {"ip-sans", "::ffff:10.0.0.1,2001:0db8::0:1"},
		"common name, own":          {"common-name", "web.shop.svc"},
		"common name, the pod's":    {"common-name", "${POD_NAME}.peers.shop.svc.cluster.local", "dns-names", "web"},
		"common name, granted":      {"common-name", "The Shop"},
		"common name, granted DNS":  {"common-name", "a.shop.example.com"},
		"granted subject":           {"organizations", "Retail", "organizationalunits", `Web,"Back Office"`, "countries", "NL", "provinces", "Gelderland", "localities", "Ede", "streetaddresses", `"Kade 1, links"`, "postalcodes", "1234", "serialnumber", "42"},
		"granted issuer":            {"issuer-name", "team-a", "issuer-kind", ""},
		"bounds":                    {"duration", "1h", "renew-before", "20m"},
		"usages":                    {"key-usages", "digital signature,key encipherment,server auth,client auth"},
		"no CA":                     {"is-ca", "false"},
		"keys":                      {"key-algorithm", "rsa", "key-size", "4096", "key-encoding", "PKCS8"},
		"Ed25519":                   {"key-algorithm", "Ed25519"},
		"files":                     {"ca-file", "ca.pem", "certificate-file", "a", "privatekey-file", "b", "fs-group", "2000", "reuse-private-key", "true"},
		"keystore":                  {"pkcs12-enable", "true", "pkcs12-filename", "k", "pkcs12-password", "changeit"},
		"an annotation of another":  {"venafi.cert-manager.io/custom-fields", "[]"},
		"empty, which is left out":  {"dns-names", "", "is-ca", "", "organizations", "", "key-size", ""},
		"of another driver's group": {"example.com/anything", "goes"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, role := range [][]string{nil, {"role", "server"}, {"role", "none"}} {
				pod := newPod(role...)
				pod.Spec.Volumes = []intent.Volume{handWritten(pairs...)}
				result := admit(generous(), pod)
				assert.Empty(t, texts(result.Errors))
				assert.Empty(t, result.Warnings)
				pod.Spec.Volumes = nil
				assert.Equal(t, intent.Resolve(generous(), newNamespace(), pod, []intent.Service{webService(), headless("peers", "web"), service("db", "db")}), result)
			}
		})
	}
}

func TestGuardRefuses(t *testing.T) {
	const (
		granted  = `granted to namespace "shop" by the configuration (identity.allow)`
		notOwn   = `: it is neither a name of a Service that selects the pod, nor of its workload, nor ` + granted
		id       = "spiffe://cluster.local/ns/shop/sa/web-sa"
		notOwnID = ": the pod's SPIFFE ID is \"" + id + "\", that of its namespace and service account"
		noURI    = ": is neither the pod's SPIFFE ID \"" + id + "\" nor " + granted
		variable = "has a variable that the driver does not expand: only ${POD_NAME}, ${POD_NAMESPACE}, ${POD_UID} and ${SERVICE_ACCOUNT_NAME} are, and '$' stands for nothing else"
		dns      = ": must be a lower-case DNS name without a trailing dot, at most 253 characters, 63 between dots"
		usages   = ": must be one of digital signature, key encipherment, server auth, client auth"
		ignored  = "unknown attribute, which the driver ignores; "
		foreign  = "is not for users to write: the driver's attributes begin with csi.cert-manager.io/"
		bounds   = "must be from 1h to 8760h, the bounds of the configuration (lifetimes)"
	)
	claim := func(name, remedy string) string { return `the pod may not claim "` + name + `"` + notOwn + remedy }
	bank := `; it is a name of namespace "bank"`
	for name, c := range map[string]struct {
		key, value, want string
	}{
		"another namespace's name":      {"dns-names", "admin.bank.svc", claim("admin.bank.svc", bank)},
		"its full name":                 {"dns-names", "admin.bank.svc.cluster.local", claim("admin.bank.svc.cluster.local", bank)},
		"hidden behind a comma":         {"dns-names", "web,admin.bank.svc", claim("admin.bank.svc", bank)},
		"a neighbour's name":            {"dns-names", "db", claim("db", `; Service "db" selects other pods: give this one the labels of its selector, or leave the name out`)},
		"a name of nobody yet":          {"dns-names", "cache.shop", claim("cache.shop", `; it is the pod's own once Service "cache" exists and selects it`)},
		"another pod's name":            {"dns-names", "web-0.peers.shop.svc.cluster.local", claim("web-0.peers.shop.svc.cluster.local", "; a pod gets its own name below a headless Service by itself")},
		"every pod's name":              {"dns-names", "*.peers.shop.svc.cluster.local", claim("*.peers.shop.svc.cluster.local", "")},
		"the pod below another Service": {"dns-names", "${POD_NAME}.db.shop.svc.cluster.local", claim("web-5d89f7c6b4-xxxxx.db.shop.svc.cluster.local", "; a pod gets its own name below a headless Service by itself")},
		"below none that is headless":   {"dns-names", "${POD_NAME}.web.shop.svc.cluster.local", claim("web-5d89f7c6b4-xxxxx.web.shop.svc.cluster.local", "; a pod gets its own name below a headless Service by itself")},
		"the short form of that":        {"dns-names", "${POD_NAME}.peers", claim("web-5d89f7c6b4-xxxxx.peers", "")},
		"the pod's name alone":          {"dns-names", "$POD_NAME", claim("web-5d89f7c6b4-xxxxx", `; it is the pod's own once Service "web-5d89f7c6b4-xxxxx" exists and selects it`)},
		"the service account":           {"dns-names", "${SERVICE_ACCOUNT_NAME}", claim("web-sa", `; it is the pod's own once Service "web-sa" exists and selects it`)},
		"two labels deep":               {"dns-names", "a.b.shop.example.com", claim("a.b.shop.example.com", "")},
		"upper case":                    {"dns-names", "Web", `item "Web"` + dns},
		"a trailing dot":                {"dns-names", "web.shop.svc.cluster.local.", `item "web.shop.svc.cluster.local."` + dns},
		"an empty item":                 {"dns-names", "web,", `item ""` + dns},
		"a look-alike":                  {"dns-names", cyrillic, `item "` + cyrillic + `"` + dns},
		"a line break":                  {"dns-names", "web\nadmin.bank.svc", `item "web\nadmin.bank.svc"` + dns},
		"an unknown variable":           {"dns-names", "${HOME}.shop", variable},
		"a lone dollar":                 {"dns-names", "web$", variable},
		"an open brace":                 {"dns-names", "${POD_NAME.peers", variable},
		"an escaped dollar":             {"dns-names", "$$POD_NAME", variable},
		"longer than a variable":        {"dns-names", "$POD_NAMES", variable},
		"the UID":                       {"uri-sans", "urn:uuid:${POD_UID}", `item "urn:uuid:00000000-0000-0000-0000-000000000000"` + noURI},
		"another service account":       {"uri-sans", "spiffe://cluster.local/ns/shop/sa/admin", `item "spiffe://cluster.local/ns/shop/sa/admin"` + notOwnID},
		"another's besides":             {"uri-sans", id + ",spiffe://cluster.local/ns/bank/sa/admin", `item "spiffe://cluster.local/ns/bank/sa/admin"` + notOwnID},
		"with a port":                   {"uri-sans", "spiffe://cluster.local:1/ns/shop/sa/admin", `item "spiffe://cluster.local:1/ns/shop/sa/admin"` + notOwnID},
		"the domain in upper case":      {"uri-sans", "spiffe://CLUSTER.local/ns/shop/sa/admin", `item "spiffe://CLUSTER.local/ns/shop/sa/admin"` + notOwnID},
		"the scheme in upper case":      {"uri-sans", "SPIFFE://cluster.local/ns/shop/sa/admin", `item "SPIFFE://cluster.local/ns/shop/sa/admin": must be an absolute URI in its usual form`},
		"another trust domain":          {"uri-sans", "spiffe://other.example/ns/shop/sa/web", `item "spiffe://other.example/ns/shop/sa/web"` + noURI},
		"past a granted slash":          {"uri-sans", "https://shop.example.com/a/b", `item "https://shop.example.com/a/b"` + noURI},
		"a path":                        {"uri-sans", "/ns/shop", `item "/ns/shop": must be an absolute URI in its usual form`},
		"an address":                    {"ip-sans", "10.0.0.2", `item "10.0.0.2": is not ` + granted},
		"no address":                    {"ip-sans", "10.0.0", `item "10.0.0": must be an IP address`},
		"an address with a zone":        {"ip-sans", "2001:db8::1%eth0", `item "2001:db8::1%eth0": must be an IP address`},
		"a common name":                 {"common-name", "admin.bank.svc", claim("admin.bank.svc", bank)},
		"a person":                      {"common-name", "Payments", claim("Payments", "")},
		"a list that ends as granted":   {"common-name", "x,a.shop.example.com", claim("x,a.shop.example.com", "")},
		"a long one":                    {"common-name", strings.Repeat("a", 65), "must have at most 64 bytes (RFC 5280)"},
		"a variable in it":              {"common-name", "$HOME", variable},
		"a literal subject":             {"literal-subject", "CN=web", "may say anything: write common-name, organizations and the like in its place"},
		"masters":                       {"organizations", "system:masters", `"system:masters" is not ` + granted + "; allowed: Retail"},
		"hidden in quotes":              {"organizations", `Retail,"Bank, the"`, `"Bank, the" is not ` + granted + "; allowed: Retail"},
		"an open quote":                 {"organizations", `"Retail`, "must be a list in CSV form, with quotes around whole items only"},
		"a unit":                        {"organizationalunits", "Sales", `"Sales" is not ` + granted + "; allowed: Web, Back Office"},
		"a country":                     {"countries", "BE", `"BE" is not ` + granted + "; allowed: NL"},
		"a province":                    {"provinces", "Utrecht", `"Utrecht" is not ` + granted + "; allowed: Gelderland"},
		"a place":                       {"localities", "Epe", `"Epe" is not ` + granted + `; allowed: Ede; did you mean "Ede"?`},
		"a street":                      {"streetaddresses", "Kade 1", `"Kade 1" is not ` + granted + "; allowed: Kade 1, links"},
		"a post code":                   {"postalcodes", "9999", `"9999" is not ` + granted + "; allowed: 1234"},
		"a serial number":               {"serialnumber", "$POD_UID", `"$POD_UID" is not ` + granted + "; allowed: 42"},
		"a CA":                          {"is-ca", "true", "no pod is a certificate authority: leave it out"},
		"a CA in other words":           {"is-ca", "TRUE", "no pod is a certificate authority: leave it out"},
		"a usage":                       {"key-usages", "digital signature,cert sign", `item "cert sign"` + usages},
		"a usage, mistyped":             {"key-usages", "server-auth", `item "server-auth"` + usages + `; did you mean "server auth"?`},
		"a usage with a space":          {"key-usages", "server auth, client auth", `item " client auth"` + usages + `; did you mean "client auth"?`},
		"longer than the bounds":        {"duration", "9000h", bounds},
		"no duration":                   {"duration", "90d", "must be a Go duration such as 720h"},
		"no renewal time":               {"renew-before", "soon", "must be a Go duration such as 240h"},
		"no algorithm":                  {"key-algorithm", "DSA", `must be one of ECDSA, RSA, Ed25519; did you mean "RSA"?`},
		"a weak key":                    {"key-size", "1024", "must be from 2048 to 8192 for RSA, not 1024"},
		"no size":                       {"key-size", "many", "must be a number of bits"},
		"an issuer":                     {"issuer-name", "root", "issuer ClusterIssuer/root is not allowed in namespace \"shop\"; allowed by the configuration: ClusterIssuer/mtls-ca, Issuer/team-*"},
		"no kind of an issuer":          {"issuer-kind", "issuer", "must be a kind such as Issuer or ClusterIssuer"},
		"no group of an issuer":         {"issuer-group", "cert-manager.io,x", "must be a lower-case name of letters, digits, '-' and '.', at most 253 characters"},
		"a typo":                        {"dns-name", "web", ignored + `did you mean "csi.cert-manager.io/dns-names"?`},
		"another case":                  {"DNS-Names", "web", ignored + `did you mean "csi.cert-manager.io/dns-names"?`},
		"the kubelet's":                 {"csi.storage.k8s.io/serviceAccount.name", "admin", foreign},
		"cert-manager's":                {"cert-manager.io/private-key-secret-name", "x", foreign},
		"ACME's":                        {"acme.cert-manager.io/http01-override-ingress-name", "x", foreign},
	} {
		t.Run(name, func(t *testing.T) {
			key, value := c.key, c.value
			if !strings.Contains(key, "/") {
				key = "csi.cert-manager.io/" + key
			}
			if strings.Contains(c.want, "the driver") && (strings.HasPrefix(c.want, ignored) || c.want == foreign) {
				value = key // there, the key is what is wrong
			}
			shown := value
			if len(shown) > 120 {
				shown = shown[:120] + "…"
			}
			want := fmt.Sprintf("spec.volumes[0].csi.volumeAttributes[%s]: Invalid value: %q: %s", key, shown, c.want)
			for _, role := range [][]string{nil, {"role", "server"}, {"role", "none"}} {
				pod := newPod(role...)
				pod.Spec.Volumes = []intent.Volume{handWritten(c.key, c.value)}
				result := admit(generous(), pod)
				assert.Equal(t, []string{want}, texts(result.Errors))
				assert.Nil(t, result.Intent)
				assert.Empty(t, result.Skip)
			}
		})
	}
}

func TestGuardModes(t *testing.T) {
	pod := newPod("role", "client")
	pod.Spec.Volumes = []intent.Volume{handWritten("is-ca", "true")}
	problem := `spec.volumes[0].csi.volumeAttributes[csi.cert-manager.io/is-ca]: Invalid value: "true": no pod is a certificate authority: leave it out`
	d := intent.BuiltinDefaults()
	assert.Equal(t, []string{problem}, texts(admit(d, pod).Errors))

	d.Guard = intent.ModeWarn
	warned := admit(d, pod)
	mustIntent(t, warned)
	assert.Equal(t, []string{problem}, warned.Warnings)
	pod.Metadata.Annotations = annotations("role", "clint")
	assert.Len(t, admit(d, pod).Errors, 1, "annotations are refused all the same")

	d.Guard = intent.ModeOff
	pod.Metadata.Annotations = annotations("role", "client")
	assert.Equal(t, intent.Resolve(d, newNamespace(), pod, nil), admit(d, pod))
}

func TestGuardLeavesAlone(t *testing.T) {
	wrong := handWritten("is-ca", "true")
	for name, change := range map[string]func(pod *intent.Pod, v *intent.Volume){
		"another driver":       func(_ *intent.Pod, v *intent.Volume) { v.CSI.Driver = "csi.example.com" },
		"a mirror pod":         func(pod *intent.Pod, _ *intent.Volume) { pod.Metadata.Annotations[corev1.MirrorPodAnnotationKey] = "x" },
		"what will be written": func(_ *intent.Pod, v *intent.Volume) { v.Name = "mtls-certs" },
	} {
		t.Run(name, func(t *testing.T) {
			pod, v := newPod("role", "client"), wrong
			csi := *wrong.CSI
			v.CSI = &csi
			change(pod, &v)
			pod.Spec.Volumes = []intent.Volume{v}
			assert.Empty(t, texts(admit(intent.BuiltinDefaults(), pod).Errors))
		})
	}
	t.Run("of our name in a pod that is not injected", func(t *testing.T) {
		pod, v := newPod("role", "none"), wrong
		v.Name = "mtls-certs"
		pod.Spec.Volumes = []intent.Volume{v}
		assert.Len(t, admit(intent.BuiltinDefaults(), pod).Errors, 1)
	})
}

func TestGuardWithoutIssuer(t *testing.T) {
	pod := newPod()
	pod.Spec.Volumes = []intent.Volume{{Name: "tls", CSI: &corev1.CSIVolumeSource{Driver: "csi.cert-manager.io"}}}
	result := admit(intent.BuiltinDefaults(), pod)
	assert.Equal(t, []string{"spec.volumes[0].csi.volumeAttributes[csi.cert-manager.io/issuer-name]: Required value: the driver mounts nothing without it"}, texts(result.Errors))

	pod.Spec.Volumes = []intent.Volume{handWritten()}
	pod.Spec.Volumes[0].CSI.ReadOnly = nil
	assert.Equal(t, []string{"spec.volumes[0].csi.readOnly must be true: the driver mounts nothing else"}, admit(intent.BuiltinDefaults(), pod).Warnings)
}

// TestGuardOfDefaults: what is left out is the driver's default, which has bounds, too.
func TestGuardOfDefaults(t *testing.T) {
	d := intent.BuiltinDefaults()
	d.MaxDuration, d.AllowedKeys = 24*d.MinDuration, nil
	pod := newPod()
	pod.Spec.Volumes = []intent.Volume{handWritten()}
	const at = "spec.volumes[0].csi.volumeAttributes[csi.cert-manager.io/"
	assert.Equal(t, []string{
		at + `key-size]: Invalid value: "": RSA 2048 is not allowed by the configuration (privateKey); allowed: ECDSA 256`,
		at + `duration]: Invalid value: "": must be from 1h to 24h, the bounds of the configuration (lifetimes)`,
	}, texts(admit(d, pod).Errors))
}

// TestGuardNamedByWorkload: a name that rests on the workload's, which somebody has to verify.
func TestGuardNamedByWorkload(t *testing.T) {
	pod := newPod()
	pod.Spec.Volumes = []intent.Volume{handWritten("dns-names", "web.shop")}
	result := intent.Admit(intent.BuiltinDefaults(), newNamespace(), pod, nil)
	assert.Empty(t, texts(result.Errors))
	assert.True(t, result.NamedByWorkload)
	assert.False(t, admit(intent.BuiltinDefaults(), pod).NamedByWorkload)
}

// TestGuardOfNamedPods: a pod whose name is known has no other.
func TestGuardOfNamedPods(t *testing.T) {
	for name, c := range map[string]struct {
		pod, dns string
		ok       bool
	}{
		"its own":               {"db-0", "db-0.peers.shop.svc.cluster.local", true},
		"by variable":           {"db-0", "${POD_NAME}.peers.shop.svc.cluster.local", true},
		"with dots":             {"a.b", "${POD_NAME}.peers.shop.svc.cluster.local", true},
		"another's":             {"db-0", "db-1.peers.shop.svc.cluster.local", false},
		"a pod like a Service":  {"admin", "${POD_NAME}.bank.svc", false},
		"a pod like a full one": {"admin.bank.svc", "${POD_NAME}", false},
		"with the domain":       {"admin.bank.svc", "${POD_NAME}.cluster.local", false},
		"two labels, granted":   {"a.b", "${POD_NAME}.shop.example.com", false},
	} {
		t.Run(name, func(t *testing.T) {
			pod := newPod()
			pod.Metadata.Name = c.pod
			pod.Spec.Volumes = []intent.Volume{handWritten("dns-names", c.dns)}
			assert.Equal(t, c.ok, len(admit(generous(), pod).Errors) == 0)
		})
	}
}

// TestGuardIsShort: however much is wrong, what is said about it stays readable.
func TestGuardIsShort(t *testing.T) {
	many := strings.Repeat("admin.bank.svc,", 4000)
	manyKeys := handWritten()
	for i := range 5000 {
		manyKeys.CSI.VolumeAttributes[fmt.Sprintf("csi.cert-manager.io/dns-name%d", i)] = many
	}
	for name, volumes := range map[string][]intent.Volume{
		"items":      {handWritten("dns-names", many, "uri-sans", many, "ip-sans", many, "organizations", many, "key-usages", many)},
		"attributes": {manyKeys},
		"volumes":    repeat(handWritten("is-ca", "true"), 2000),
		"one text":   {handWritten("dns-names", strings.Repeat("a", 64<<10), "common-name", strings.Repeat("😀", 64<<10), "organizations", `"`+many)},
	} {
		t.Run(name, func(t *testing.T) {
			pod := newPod()
			pod.Spec.Volumes = volumes
			result := admit(intent.BuiltinDefaults(), pod)
			require.NotEmpty(t, result.Errors)
			assert.LessOrEqual(t, len(result.Errors), 51)
			for _, text := range texts(result.Errors) {
				assertShort(t, text)
			}
		})
	}
}

func repeat(v intent.Volume, times int) []intent.Volume {
	volumes := make([]intent.Volume, times)
	for i := range volumes {
		volumes[i] = v
	}
	return volumes
}

func TestCheckNamespace(t *testing.T) {
	const at = "metadata.annotations[mtls.example.io/"
	for name, c := range map[string]struct {
		pairs []string
		want  []string
	}{
		"nothing":               {nil, nil},
		"a role":                {[]string{"role", "client"}, nil},
		"none":                  {[]string{"role", "none", "env", "curl"}, nil},
		"without a role":        {[]string{"organizations", "Retail", "duration", "48h"}, nil},
		"a wrong role":          {[]string{"role", "chief"}, []string{at + `role]: Invalid value: "chief": must be one of server, client, both, none`}},
		"for pods only":         {[]string{"role", "server", "service", "web"}, []string{at + `service]: Invalid value: "mtls.example.io/service": may stand on pods only, not on a Namespace`}},
		"unknown":               {[]string{"rol", "server"}, []string{at + `rol]: Invalid value: "mtls.example.io/rol": unknown annotation; did you mean "mtls.example.io/role"?`}},
		"not granted":           {[]string{"organizations", "Bank"}, []string{at + `organizations]: Invalid value: "Bank": "Bank" is not granted to namespace "shop" by the configuration (identity.allow); allowed: Retail`}},
		"an issuer":             {[]string{"role", "none", "issuer", "root"}, []string{at + `issuer]: Invalid value: "root": issuer ClusterIssuer/root is not allowed in namespace "shop"; allowed by the configuration: ClusterIssuer/mtls-ca, Issuer/team-*`}},
		"several at once":       {[]string{"env", "x", "probes", "y"}, []string{at + `env]: Invalid value: "x": item "x": must be one of mtls, openssl, curl, python, node, grpc, postgres, aws, none`, at + `probes]: Invalid value: "y": must be one of keep, tcp`}},
		"for pods to complete":  {[]string{"issuer-kind", "Issuer", "issuer-group", "a.b", "key-size", "4096", "renew-before", "9000h", "companion", "false"}, nil},
		"incomplete and wrong":  {[]string{"key-size", "x"}, []string{at + `key-size]: Invalid value: "x": must be a whole number from 1 to 8192`}},
		"a key that is not one": {[]string{"key-size", "4096", "key-algorithm", "ECDSA"}, []string{at + `key-size]: Invalid value: "4096": must be 256, 384 or 521 for ECDSA, not 4096`}},
		"a signal":              {[]string{"reload", "signal", "reload-container", "app"}, nil},
		"a signal and a URL":    {[]string{"reload", "signal", "reload-url", "http://localhost:1/", "reload-signal", "SIGHUP"}, []string{at + `reload-signal]: Invalid value: "SIGHUP": not with reload-url, which is called in place of a signal`}},
		"what does not agree":   {[]string{"duration", "1h", "renew-before", "2h"}, []string{at + `renew-before]: Invalid value: "2h": must be at least 5m and less than the lifetime of 1h`}},
		"restart, no companion": {[]string{"reload", "restart", "companion", "false"}, []string{at + `companion]: Invalid value: "false": reload: restart needs the companion Certificate, whose renewal restarts the workload: set companion: true or reload: none`}},
	} {
		t.Run(name, func(t *testing.T) {
			ns := newNamespace(c.pairs...)
			before := maps.Clone(ns.Annotations)
			assert.Equal(t, c.want, texts(intent.CheckNamespace(generous(), ns)))
			assert.Equal(t, before, ns.Annotations)
		})
	}
}
