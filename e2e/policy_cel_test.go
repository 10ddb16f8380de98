package e2e

// Whether the policies say the same as the webhook, case by case. Their rules are evaluated
// with CEL's own library, as approver-policy does it, for far more names than one can ask
// a cluster for.

import (
	"maps"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"example.io/mtls-injector/config"
	"example.io/mtls-injector/intent"
	"example.io/mtls-injector/policy"
)

// policyRules are the compiled rules of one policy, by field.
type policyRules struct {
	selector labels.Set
	rules    map[string][]cel.Program
}

// policyRulesOf compiles the CSI driver's policies for ECDSA keys and the default issuer.
func policyRulesOf(t *testing.T, defaults *intent.Defaults) []policyRules {
	t.Helper()
	env, err := cel.NewEnv(ext.Strings(), cel.Variable("self", cel.StringType), cel.Variable("cr", cel.MapType(cel.StringType, cel.StringType)))
	require.NoError(t, err)
	objects, errs := policy.Objects(defaults, policy.Options{CSIDriver: types.NamespacedName{Namespace: "cm", Name: "driver"}})
	require.Empty(t, errs)
	var out []policyRules
	for _, object := range objects {
		if !strings.HasPrefix(object.GetName(), "mtls-injector-csi-mtls-ca-ecdsa-") {
			continue
		}
		one := policyRules{rules: map[string][]cel.Program{}}
		selector, _, err := unstructured.NestedStringMap(object.Object, "spec", "selector", "namespace", "matchLabels")
		require.NoError(t, err)
		one.selector = selector
		for _, field := range []string{"dnsNames", "uris", "commonName"} {
			validations, _, err := unstructured.NestedSlice(object.Object, "spec", "allowed", field, "validations")
			require.NoError(t, err)
			for _, v := range validations {
				ast, issues := env.Compile(v.(map[string]any)["rule"].(string))
				require.NoError(t, issues.Err())
				program, err := env.Program(ast)
				require.NoError(t, err)
				one.rules[field] = append(one.rules[field], program)
			}
		}
		out = append(out, one)
	}
	require.NotEmpty(t, out)
	return out
}

// policiesAllow reports whether one of the policies does.
func policiesAllow(t *testing.T, policies []policyRules, ns *intent.Namespace, field, value string) bool {
	t.Helper()
	request := map[string]any{"self": value, "cr": map[string]string{"namespace": ns.Name, "username": "system:serviceaccount:cm:driver"}}
	for _, p := range policies {
		if !labels.SelectorFromSet(p.selector).Matches(labels.Set(ns.Labels)) {
			continue
		}
		all := true
		for _, rule := range p.rules[field] {
			out, _, err := rule.Eval(request)
			require.NoError(t, err)
			all = all && out.Value() == true
		}
		if all {
			return true
		}
	}
	return false
}

// webhookAdmits reports whether the webhook lets a hand-written volume ask for it, of the pod and
// the Services that are best for it.
func webhookAdmits(defaults *intent.Defaults, ns *intent.Namespace, field, value string) bool {
	key := map[string]string{"dnsNames": "dns-names", "uris": "uri-sans", "commonName": "common-name"}[field]
	readOnly := true
	pod := &intent.Pod{
		Metadata: intent.PodMetadata{Name: "pod", Labels: map[string]string{"app": "pod"}},
		Spec: intent.PodSpec{Volumes: []intent.Volume{{Name: "tls", CSI: &corev1.CSIVolumeSource{
			Driver: "csi.cert-manager.io", ReadOnly: &readOnly,
			VolumeAttributes: map[string]string{
				"csi.cert-manager.io/issuer-name": "mtls-ca", "csi.cert-manager.io/issuer-kind": "ClusterIssuer",
				"csi.cert-manager.io/key-algorithm": "ECDSA", "csi.cert-manager.io/" + key: value,
			},
		}}}},
	}
	var services []intent.Service
	add := func(name string, headless bool) {
		if len(validation.IsDNS1123Label(name)) == 0 {
			services = append(services, intent.Service{Name: name, Headless: headless, Selector: map[string]string{"app": "pod"}})
		}
	}
	first, _, _ := strings.Cut(value, ".")
	if rest, ok := strings.CutSuffix(value, "."+ns.Name+".svc."+defaults.ClusterDomain); ok && strings.Contains(rest, ".") {
		cut := strings.LastIndexByte(rest, '.')
		if len(validation.IsDNS1123Subdomain(rest[:cut])) == 0 {
			pod.Metadata.Name = rest[:cut]
			first = rest[cut+1:]
		}
	}
	add(first, true)
	if cut := strings.LastIndexByte(value, '/'); cut > 0 && len(validation.IsDNS1123Subdomain(value[cut+1:])) == 0 {
		pod.Spec.ServiceAccountName = value[cut+1:]
	}
	return len(intent.Admit(defaults, ns, pod, services).Errors) == 0
}

// policyCandidate makes a text of pieces that names are made of, whole and broken.
func policyCandidate(random *rand.Rand, field string) string {
	pieces := []string{
		"web", "a", "0", "x-y", "shop", "edge", "shop", "edge", "svc", "svc", "cluster", "local", "cluster.local", "svc.cluster.local",
		"*", "www", "example", "com", "net", "example.com", "api", "api.example.com", "api.exampleXcom", "edge.example.net", "-", "A", "", "é", "_", "xn--a",
		"Edge Gateway", "w*", strings.Repeat("b", 63), strings.Repeat("c", 64), "\n", "|", "$",
	}
	separators := []string{".", ".", ".", ".", ".", ".", "..", "", "-", "/"}
	if field == "uris" {
		pieces = []string{
			"spiffe://corp.example/ns/shop/sa/", "spiffe://corp.example/ns/edge/sa/", "spiffe://corp.example/ns/", "spiffe://corp-example/ns/shop/sa/",
			"spiffe:", "https://example.com/", "https://exampleXcom/", "https:", "shop", "edge", "/", "/sa/", "web", "a.b", "x", "-", "A", "..", "%41", "?", "#", "*",
		}
		separators = []string{"", "", "", "", "/", "."}
	}
	var text strings.Builder
	for i := range 1 + random.IntN(6) {
		if i > 0 {
			text.WriteString(separators[random.IntN(len(separators))])
		}
		text.WriteString(pieces[random.IntN(len(pieces))])
	}
	return text.String()
}

func TestPoliciesSayWhatTheWebhookSays(t *testing.T) {
	defaults, err := config.Load(policyFolder + "/injector.yaml")
	require.NoError(t, err)
	policies := policyRulesOf(t, defaults)
	namespaces := map[string]labels.Set{"shop": {}, "edge": {"tier": "edge"}, "other": {"tier": "edge"}}
	for _, field := range []string{"dnsNames", "commonName", "uris"} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(1, uint64(len(field))))
			allowed, checked := map[string]bool{}, 0
			for range 2500 {
				value := policyCandidate(random, field)
				if isNotAsked(field, value) {
					continue
				}
				for name, extra := range namespaces {
					ns := &intent.Namespace{Name: name, Labels: map[string]string{corev1.LabelMetadataName: name, "mtls-enabled": "true"}}
					maps.Copy(ns.Labels, extra)
					want := webhookAdmits(defaults, ns, field, value)
					got := policiesAllow(t, policies, ns, field, value)
					require.Equal(t, want, got, "%q in %s: by the webhook, by the policies", value, name)
					if checked++; got {
						allowed[value] = true
					}
				}
			}
			t.Logf("%d compared, %d different values allowed", checked, len(allowed))
			assert.Greater(t, len(allowed), 20)
		})
	}
}

// isNotAsked leaves out what the driver does not pass on as it stands: it splits and expands, and
// cannot ask for what is no URI.
func isNotAsked(field, value string) bool {
	if value == "" || strings.TrimSpace(value) != value || strings.ContainsAny(value, ",$") {
		return true
	}
	uri, err := url.Parse(value)
	return field == "uris" && (err != nil || uri.String() != value)
}
