package e2e

// Attacks by how a value is written: look-alikes, separators, variables, length.

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/intent"
)

// What is said of values that have not the right form.
const (
	mustBeDNS  = "must be a lower-case DNS name without a trailing dot, at most 253 characters, 63 between dots"
	mustBeName = "must be a lower-case name of letters, digits and '-', at most 63 characters"
	mustBeText = `must have printable characters only, without comma, '$', '"' and '\'`
	noEmpty    = "must be a comma-separated list without empty items"
)

func textAttacks() []attack {
	return []attack{
		{"look-alikes", tryAll(lookAlikes())},
		{"separators in values", tryAll(separators())},
		{"variables in values", tryAll(variables())},
		{"very long values", tryLong},
	}
}

// item is how the refusal of a list's item begins, and what the item must be.
func item(value, rule string) string { return "item " + strconv.Quote(value) + ": " + rule }

// notGranted is the refusal of a text of the subject.
func notGranted(text string) string {
	return strconv.Quote(text) + ` is not granted to namespace "{ns}" by the configuration (identity.allow)`
}

// lookAlikes are other spellings of names, of which somebody may make the same.
func lookAlikes() map[string]attempt {
	attempts := map[string]attempt{
		"punycode": {key: "dns-names", value: "xn--pyments-2fg.{ns}.svc",
			why: notOwn("xn--pyments-2fg.{ns}.svc") + `; it is the pod's own once Service "xn--pyments-2fg" exists and selects it`},
		"like an IP address": {key: "dns-names", value: "*.0.0.1", why: notOwn("*.0.0.1")},
		"a Service":          {key: "service", value: "Payments", why: item("Payments", mustBeName)},
		"a key in capitals": {key: "DNS-Names", value: "payments", shown: intent.Prefix + "DNS-Names",
			why: `unknown annotation; did you mean "mtls.example.io/dns-names"?`},
		// It is nobody's key, so it says nothing.
		"a prefix in capitals": {change: func(pod *corev1.Pod) { pod.Annotations["MTLS.example.io/dns-names"] = "payments" }},
	}
	for name, spelling := range map[string]string{
		"upper case":          "PAYMENTS.{ns}.svc",
		"a trailing dot":      "payments.{ns}.svc.cluster.local.",
		"a Cyrillic letter":   "p\u0430yments.{ns}.svc",
		"a full-width letter": "\uff50ayments.{ns}.svc",
		"an ideographic dot":  "payments\u3002{ns}\u3002svc",
		"a zero-width space":  "pay\u200bments.{ns}.svc",
		"a soft hyphen":       "pay\u00adments.{ns}.svc",
		"written backwards":   "\u202estnemyap.{ns}.svc",
		"a null byte":         "mallory\x00.payments.{ns}.svc",
		"no UTF-8":            "payments\ufffd.{ns}.svc",
		"an underscore":       "payments_.{ns}.svc",
		"two wildcards":       "*.*.{ns}.svc",
		"a wildcard inside":   "pay*.{ns}.svc",
		"a URI":               "spiffe://cluster.local/ns/{ns}/sa/payments",
	} {
		attempts[name] = attempt{key: "dns-names", value: spelling, why: item(spelling, mustBeDNS)}
	}
	return attempts
}

// separators are those of lists, lines and the driver's attributes.
func separators() map[string]attempt {
	const own, vault = "mallory.{ns}.svc.cluster.local", "vault.{other}.svc"
	theirs := notOwn(vault) + `; it is a name of namespace "{other}"`
	attempts := map[string]attempt{
		"comma, dns-names":         {key: "dns-names", value: own + "," + vault, why: theirs},
		"comma, organizations":     {key: "organizations", value: "a,b", why: notGranted("b")},
		"comma, service":           {key: "service", value: "mallory,payments", why: notSelected("payments")},
		"escaped, dns-names":       {key: "dns-names", value: own + `\,` + vault, why: item(own+`\`, mustBeDNS)},
		"escaped, organizations":   {key: "organizations", value: `a\,b`, why: item(`a\`, mustBeText)},
		"quoted, dns-names":        {key: "dns-names", value: `"` + own + "," + vault + `"`, why: item(`"`+own, mustBeDNS)},
		"quoted, organizations":    {key: "organizations", value: `"a,b"`, why: item(`"a`, mustBeText)},
		"a field, dns-names":       {key: "dns-names", value: own + ",O=" + vault, why: item("O="+vault, mustBeDNS)},
		"a field, common-name":     {key: "common-name", value: own + ",O=b", why: mustBeText},
		"two values, common-name":  {key: "common-name", value: own + "+CN=" + vault, why: notCommon},
		"empty items, dns-names":   {key: "dns-names", value: own + ",,", why: noEmpty},
		"empty items, service":     {key: "service", value: ",", why: noEmpty},
		"another key, common-name": {key: "common-name", value: "a\ncsi.cert-manager.io/is-ca: true", why: mustBeText},
		"JSON, common-name":        {key: "common-name", value: `a","csi.cert-manager.io/is-ca":"true`, why: mustBeText},
	}
	for name, separator := range map[string]string{
		"newline": "\n", "carriage return": "\r\n", "tab": "\t", "null": "\x00", "line separator": "\u2028", "semicolon": ";", "space": " ",
	} {
		names, services := own+separator+vault, "mallory"+separator+"payments"
		attempts[name+", dns-names"] = attempt{key: "dns-names", value: names, why: item(names, mustBeDNS)}
		attempts[name+", service"] = attempt{key: "service", value: services, why: item(services, mustBeName)}
		if name != "semicolon" && name != "space" {
			attempts[name+", common-name"] = attempt{key: "common-name", value: "a" + separator + "b", why: mustBeText}
			attempts[name+", organizations"] = attempt{key: "organizations", value: "a" + separator + "b", why: item("a"+separator+"b", mustBeText)}
		}
	}
	return attempts
}

// variables are the CSI driver's, the kubelet's, a shell's and a template's.
func variables() map[string]attempt {
	attempts := map[string]attempt{}
	for _, variable := range []string{"$POD_NAME", "${POD_NAME}", "${POD_NAMESPACE}", "$(POD_NAME)", "$$", "{{.Name}}", "%s", "`id`"} {
		name, common, organization := variable+".{ns}.svc", mustBeText, item(variable, mustBeText)
		if variable[0] != '$' { // which means nothing to the driver
			common, organization = notCommon, notGranted(variable)
		}
		attempts["common-name "+variable] = attempt{key: "common-name", value: variable, why: common}
		attempts["organizations "+variable] = attempt{key: "organizations", value: variable, why: organization}
		attempts["dns-names "+variable] = attempt{key: "dns-names", value: name, why: item(name, mustBeDNS)}
		attempts["service "+variable] = attempt{key: "service", value: variable, why: item(variable, mustBeName)}
	}
	return attempts
}

// tryLong: an annotation may have 256 KiB less the others, and the API server refuses more
// only after admission. What is refused is told in a few words, however long it was.
func tryLong(t *testing.T, s *attackScene) {
	t.Helper()
	const kib = 1 << 10
	for name, tc := range map[string]struct {
		key, value string
		why        string
	}{
		"64 KiB in one name":  {"dns-names", strings.Repeat("a", 64*kib), mustBeDNS},
		"64 KiB of names":     {"dns-names", strings.Repeat("a.example.com,", 64*kib/14), "must have at most 100 items"},
		"64 KiB of a Service": {"service", strings.Repeat("a", 64*kib), mustBeName},
		"64 KiB of text":      {"common-name", strings.Repeat("a", 64*kib), "must have at most 64 bytes (RFC 5280)"},
		"64 KiB of commas":    {"organizations", strings.Repeat(",", 64*kib), "must have at most 100 items"},
		"64 KiB of an issuer": {"issuer", strings.Repeat("a", 64*kib), "must be a lower-case name"},
		"2 MiB":               {"dns-names", strings.Repeat("a", 2048*kib), mustBeDNS},
	} {
		t.Run(name, func(t *testing.T) {
			err := s.attacker.Create(t.Context(), s.pod(attempt{key: tc.key, value: tc.value}))
			require.ErrorContains(t, err, tc.why)
			assert.Less(t, len(err.Error()), kib)
		})
	}
	t.Run("64 KiB of keys", func(t *testing.T) {
		pod := s.pod(attempt{})
		for i := range 64 * kib / 64 {
			pod.Annotations[intent.Prefix+strings.Repeat("a", i%60)+"-"+strings.Repeat("b", 1+i/60)] = ""
		}
		err := s.attacker.Create(t.Context(), pod)
		require.ErrorContains(t, err, "more annotations that are unknown")
		assert.Less(t, len(err.Error()), 64*kib)
	})
	t.Run("more than the API server takes", func(t *testing.T) {
		pod := s.pod(attempt{})
		pod.Annotations["example.com/text"] = strings.Repeat("a", 256*kib)
		err := s.attacker.Create(t.Context(), pod, client.DryRunAll)
		require.ErrorContains(t, err, "metadata.annotations: Too long: may not be more than 262144 bytes")
		assert.Less(t, len(err.Error()), kib)
	})
}
