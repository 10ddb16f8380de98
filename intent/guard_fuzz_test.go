package intent_test

import (
	"maps"
	"net/netip"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"example.io/mtls-injector/intent"
)

// FuzzAdmit makes pods with hand-written volumes. What is admitted is read as the CSI
// driver reads it, and held against the rules in words of their own: no certificate may say
// more of its bearer than that.
func FuzzAdmit(f *testing.F) {
	f.Add([]byte{})
	for seed := range byte(60) {
		raw := make([]byte, 300)
		for i := range raw {
			raw[i] = seed*37 + byte(i*i)*(seed+3) + byte(i*7)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		b := choices(raw)
		volumes := b.volumes()
		c := newCluster(b)
		c.pod.Spec.Volumes = volumes
		rule := &c.defaults.AllowedNames[0]
		rule.URIs, rule.IPAddresses = []string{"https://x.example.com/*"}, []string{"10.0.0.1"}
		rule.Organizations, rule.Countries = []string{"Retail"}, []string{"NL"}

		before := make([]map[string]string, len(volumes))
		for i := range volumes {
			before[i] = maps.Clone(volumes[i].CSI.VolumeAttributes)
		}
		result := intent.Admit(c.defaults, c.namespace, c.pod, c.services)
		require.Equal(t, result, intent.Admit(c.defaults, c.namespace, c.pod, c.services), "the second answer")
		explained, _ := intent.Explain(c.defaults, c.namespace, c.pod, c.services)
		require.Equal(t, result, explained, "what is told is what is done")
		for i := range volumes {
			require.Equal(t, before[i], volumes[i].CSI.VolumeAttributes)
		}
		for _, err := range result.Errors {
			assertShort(t, err.Error())
		}
		if len(result.Errors) > 0 || result.Skip == intent.SkipMirrorPod {
			return
		}
		for i := range volumes {
			if volumes[i].Name != intent.CertificateVolume || result.Intent == nil {
				c.checkVolume(t, volumes[i].CSI, result.NamedByWorkload)
			}
		}
	})
}

// driverItems are what the attributes are made of, right and wrong.
var driverItems = map[string][]string{
	"dns-names": {
		"web", "db", "web.shop", "web.${POD_NAMESPACE}.svc", "admin.shop.svc.cluster.local", "db.a", "admin.svc", "example.org", "x.example.com",
		"${POD_NAME}", "$POD_NAME.web.shop.svc.cluster.local", "${POD_NAME}.${POD_NAMESPACE}", "${POD_NAME}.db.$POD_NAMESPACE.svc.cluster.local",
		"db-0.web.shop.svc.cluster.local", "${POD_NAME}.example.com", "${POD_UID}.example.com", "$SERVICE_ACCOUNT_NAME.shop",
		"*.web.shop.svc.cluster.local", "*.example.com", " web ", "", "$", "web\nadmin", "Web", "web.",
	},
	"common-name": {"web", "db", "web.shop", "Shop Web", "x.example.com", "${POD_NAME}.web.shop.svc.cluster.local", "$POD_NAME", "Retail"},
	"uri-sans": {
		"spiffe://cluster.local/ns/shop/sa/web-sa", "spiffe://cluster.local/ns/${POD_NAMESPACE}/sa/${SERVICE_ACCOUNT_NAME}",
		"spiffe://cluster.local/ns/a/sa/default", "SPIFFE://cluster.local/ns/a/sa/default", "spiffe://cluster.local/ns/shop/sa/$POD_NAME",
		"https://x.example.com/a", "https://x.example.com/a/b", "https://x.example.com/${POD_NAME}", "web",
	},
	"ip-sans":       {"10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2", "::1", "web"},
	"organizations": {"Retail", `"Retail"`, "Bank", `"weird, thing"`, "$POD_NAME"},
	"countries":     {"NL", "BE", "Retail"},
	"is-ca":         {"false", "true", "False", "0"},
	"key-usages":    {"server auth", "client auth", "digital signature", "cert sign", "any", " server auth"},
	"duration":      {"2h", "99999h", "1s", "2160h", "2h30m", "x"},
	"key-algorithm": {"RSA", "ecdsa", "ED25519", "DSA"},
	"key-size":      {"256", "2048", "1024", "4096", "521", "x"},
	"issuer-group":  {"cert-manager.io", "example.com"},
}

func (b *choices) volumes() []intent.Volume {
	names := slices.Sorted(maps.Keys(driverItems))
	var volumes []intent.Volume
	for range b.upTo(2) + 1 {
		attributes := map[string]string{}
		if b.upTo(16) != 15 {
			attributes["csi.cert-manager.io/issuer-name"] = b.one("mtls-ca", "mtls-ca", "team-a", "other")
			attributes["csi.cert-manager.io/issuer-kind"] = b.one("ClusterIssuer", "ClusterIssuer", "ClusterIssuer", "Issuer")
		}
		for range b.upTo(4) {
			name := names[b.upTo(len(names))]
			value := b.attribute(driverItems[name])
			if b.upTo(16) == 15 {
				name = b.one("literal-subject", "serialnumber", "dns-name", "renew-before", "pkcs12-password")
			}
			prefix := "csi.cert-manager.io/"
			if b.upTo(16) == 15 {
				prefix = b.one("example.com/", "cert-manager.io/", "")
			}
			attributes[prefix+name] = value
		}
		volumes = append(volumes, intent.Volume{
			Name: b.one("tls", "tls", "mtls-certs"),
			CSI:  &corev1.CSIVolumeSource{Driver: b.one("csi.cert-manager.io", "csi.cert-manager.io", "other"), ReadOnly: new(true), VolumeAttributes: attributes},
		})
	}
	return volumes
}

func (b *choices) attribute(items []string) string {
	if b.upTo(16) == 15 {
		return b.text()
	}
	chosen := []string{b.one(items...)}
	for range b.upTo(3) {
		chosen = append(chosen, b.one(items...))
	}
	return strings.Join(chosen[:1+b.upTo(len(chosen))], ",")
}

// checkVolume reads the attributes in the driver's way: variables first, lists next.
func (c *cluster) checkVolume(t *testing.T, csi *corev1.CSIVolumeSource, byWorkload bool) {
	t.Helper()
	if csi.Driver != "csi.cert-manager.io" {
		return
	}
	of := func(name string) string { return csi.VolumeAttributes["csi.cert-manager.io/"+name] }
	for _, name := range c.items(of("dns-names")) {
		assert.True(t, c.mayBeCalled(strings.TrimSpace(name), byWorkload), "DNS name %q", name)
	}
	if common := strings.Join(c.items(of("common-name")), ","); common != "" {
		assert.True(t, c.mayBeCalled(common, byWorkload) || c.isRetail() && common == "Shop Web", "common name %q", common)
	}
	account := c.pod.Spec.ServiceAccountName
	if account == "" {
		account = "default"
	}
	for _, uri := range c.items(of("uri-sans")) {
		granted, _ := path.Match("https://x.example.com/*", uri)
		assert.True(t, uri == "spiffe://cluster.local/ns/"+c.namespace.Name+"/sa/"+account || c.isRetail() && granted, "URI %q", uri)
	}
	for _, ip := range c.items(of("ip-sans")) {
		assert.True(t, c.isRetail() && netip.MustParseAddr(ip).Unmap() == netip.MustParseAddr("10.0.0.1"), "address %q", ip)
	}
	for _, field := range []struct{ name, granted string }{{"organizations", "Retail"}, {"countries", "NL"}} {
		for _, item := range c.items(of(field.name)) {
			assert.True(t, c.isRetail() && strings.Trim(item, `"`) == field.granted, "%s %q", field.name, item)
		}
	}
	for _, name := range []string{"literal-subject", "serialnumber", "dns-name"} {
		assert.Empty(t, of(name), name)
	}
	assert.Contains(t, []string{"", "false"}, of("is-ca"))
	for _, usage := range c.items(of("key-usages")) {
		assert.Contains(t, []string{"digital signature", "key encipherment", "server auth", "client auth"}, usage)
	}
	c.checkNumbers(t, of)
	issuer := of("issuer-kind") + "/" + of("issuer-name")
	retail := c.isRetail() && regexp.MustCompile(`^ClusterIssuer/team.+`).MatchString(issuer)
	assert.True(t, issuer == "ClusterIssuer/mtls-ca" || retail, "issuer %q", issuer)
	assert.Contains(t, []string{"", "cert-manager.io"}, of("issuer-group"))
	for key := range csi.VolumeAttributes {
		assert.Regexp(t, `^(csi\.cert-manager\.io/[a-z0-9-]+|example\.com/.*)$`, key)
	}
}

func (c *cluster) checkNumbers(t *testing.T, of func(string) string) {
	t.Helper()
	if text := of("duration"); text != "" {
		d, err := time.ParseDuration(text)
		require.NoError(t, err)
		assert.True(t, d >= time.Hour && d <= 365*24*time.Hour, "duration %s", d)
	}
	if text := of("key-size"); text != "" {
		size, err := strconv.Atoi(text)
		require.NoError(t, err)
		weak := map[string]int{"": 2048, "rsa": 2048, "ecdsa": 256}
		assert.GreaterOrEqual(t, size, weak[strings.ToLower(of("key-algorithm"))])
	}
}

func (c *cluster) isRetail() bool { return c.namespace.Labels["team"] == "retail" }

// items are those of a list; nothing when the attribute is not there.
func (c *cluster) items(value string) []string {
	if value == "" {
		return nil
	}
	return strings.Split(os.Expand(value, func(name string) string {
		switch name {
		case "POD_NAME":
			return c.podName()
		case "POD_NAMESPACE":
			return c.namespace.Name
		case "SERVICE_ACCOUNT_NAME":
			if c.pod.Spec.ServiceAccountName == "" {
				return "default"
			}
			return c.pod.Spec.ServiceAccountName
		case "POD_UID":
			return "7b4c2d1e-0000-4000-8000-000000000000"
		}
		return "\x00"
	}), ",")
}

// podName is one that the pod could get.
func (c *cluster) podName() string {
	if c.pod.Metadata.Name != "" {
		return c.pod.Metadata.Name
	}
	return c.pod.Metadata.GenerateName + "x7k2q"
}

// mayBeCalled reports whether a name is the pod's, its own below a headless Service, or
// granted. A name by the workload only must be announced.
func (c *cluster) mayBeCalled(name string, byWorkload bool) bool {
	var mine []string
	for _, svc := range c.services {
		if c.selects(svc) {
			mine = append(mine, c.forms(svc.Name)...)
			if svc.Headless {
				mine = append(mine, c.podName()+"."+svc.Name+"."+c.namespace.Name+".svc.cluster.local")
			}
		}
	}
	if byWorkload {
		own, _ := c.ownNames()
		mine = append(mine, own...)
	}
	return slices.Contains(mine, name) || c.isRetail() && regexp.MustCompile(`^(example\.org|(\*|[a-z0-9-]+)\.example\.com)$`).MatchString(name)
}
