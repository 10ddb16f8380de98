package policy

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"example.io/mtls-injector/intent"
)

// grants returns defaults with these rules, given as a selector and what to grant.
func grants(t *testing.T, rules map[string]intent.NameRule) *intent.Defaults {
	t.Helper()
	d := intent.BuiltinDefaults()
	for _, text := range slices.Sorted(maps.Keys(rules)) {
		rule := rules[text]
		rule.Namespaces = selecting(t, text)
		d.AllowedNames = append(d.AllowedNames, rule)
	}
	return d
}

// rules returns the selectors of the companions' ECDSA policies with the rule of a field.
func rules(t *testing.T, d *intent.Defaults, path ...string) map[string]string {
	t.Helper()
	objects, names := render(t, d, options())
	out := map[string]string{}
	for _, name := range names {
		if !strings.Contains(name, "-companion-") || !strings.Contains(name, "-ecdsa-") {
			continue
		}
		selector := at(t, objects[name], "spec", "selector").(map[string]any)
		var key []string
		if namespace, ok := selector["namespace"].(map[string]any); ok {
			if names, ok := namespace["matchNames"].([]any); ok {
				for _, name := range names {
					key = append(key, name.(string))
				}
			}
			matchLabels, _ := namespace["matchLabels"].(map[string]any)
			for _, label := range []string{"a", "b", "mtls-enabled"} {
				if value, ok := matchLabels[label]; ok && label != "mtls-enabled" {
					key = append(key, label+"="+value.(string))
				}
			}
		}
		rule := ""
		if value, found, _ := unstructured.NestedSlice(objects[name].Object, append([]string{"spec", "allowed"}, path...)...); found {
			rule = value[len(value)-1].(map[string]any)["rule"].(string)
		}
		issuer := selector["issuerRef"].(map[string]any)["name"].(string)
		out[strings.TrimSpace(issuer+" "+strings.Join(key, " "))] = rule
	}
	return out
}

// One policy approves a request as a whole, so there is one for each set of rules that can
// hold for a namespace.
func TestCombinations(t *testing.T) {
	org := func(names ...string) intent.NameRule { return intent.NameRule{Organizations: names} }
	for name, tc := range map[string]struct {
		rules map[string]intent.NameRule
		want  map[string]string
	}{
		"none": {nil, map[string]string{"mtls-ca": ""}},
		"everywhere": {
			map[string]intent.NameRule{"": org("All", "Any")},
			map[string]string{"mtls-ca": `self in ["All", "Any"]`},
		},
		"by a label": {
			map[string]intent.NameRule{"a=1": org("One")},
			map[string]string{"mtls-ca": "", "mtls-ca a=1": `self in ["One"]`},
		},
		"by several labels": {
			map[string]intent.NameRule{"a=1": org("One"), "b=1": org("Two")},
			map[string]string{
				"mtls-ca": "", "mtls-ca a=1": `self in ["One"]`, "mtls-ca b=1": `self in ["Two"]`,
				"mtls-ca a=1 b=1": `self in ["One", "Two"]`,
			},
		},
		"by labels that exclude each other": {
			map[string]intent.NameRule{"a=1": org("One"), "a=2": org("Two")},
			map[string]string{"mtls-ca": "", "mtls-ca a=1": `self in ["One"]`, "mtls-ca a=2": `self in ["Two"]`},
		},
		"one within the other": {
			map[string]intent.NameRule{"a=1": org("One"), "a=1,b=1": org("Two")},
			map[string]string{"mtls-ca": "", "mtls-ca a=1": `self in ["One"]`, "mtls-ca a=1 b=1": `self in ["One", "Two"]`},
		},
		"the same": {
			map[string]intent.NameRule{"a=1": org("One"), "a in (1)": org("One", "Two")},
			map[string]string{"mtls-ca": "", "mtls-ca a=1": `self in ["One", "Two"]`},
		},
		"by names, without policies of their own": {
			map[string]intent.NameRule{"kubernetes.io/metadata.name=x": org("One"), "kubernetes.io/metadata.name in (x,y)": org("Two")},
			map[string]string{"mtls-ca": `cr.namespace in ["x", "y"] && (self in ["Two"])` + "\n" + `|| cr.namespace in ["x"] && (self in ["One"])`},
		},
		"by a name and a label": {
			map[string]intent.NameRule{"kubernetes.io/metadata.name=x,a=1": org("One"), "": org("All")},
			map[string]string{
				"mtls-ca":     `self in ["All"]`,
				"mtls-ca a=1": `self in ["All"]` + "\n" + `|| cr.namespace in ["x"] && (self in ["One"])`,
			},
		},
		"to nobody who is opted in": {
			map[string]intent.NameRule{"mtls-enabled=false": org("None"), "a=1,mtls-enabled=true": org("One")},
			map[string]string{"mtls-ca": "", "mtls-ca a=1": `self in ["One"]`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, tc.want, rules(t, grants(t, tc.rules), "subject", "organizations", "validations"))
		})
	}
}

func TestIssuers(t *testing.T) {
	d := grants(t, map[string]intent.NameRule{
		"a=1":                           {IPAddresses: []string{"192.0.2.1"}},
		"kubernetes.io/metadata.name=x": {IPAddresses: []string{"192.0.2.2"}},
		"kubernetes.io/metadata.name=z": {IPAddresses: []string{"192.0.2.3"}},
	})
	allow := func(selector, name string) {
		d.AllowedIssuers = append(d.AllowedIssuers, intent.IssuerRule{
			Namespaces: selecting(t, selector), Name: name, Kind: "ClusterIssuer", Group: "cert-manager.io",
		})
	}
	allow("a=1", "team-*")
	allow("kubernetes.io/metadata.name in (x,y)", "names")
	allow("kubernetes.io/metadata.name=x", "one")
	allow("b=1", "twice")
	allow("", "twice")
	allow("a=2", "twice")
	allow("a=1", "mtls-ca")
	allow("mtls-enabled=no", "nowhere")
	all := `cr.namespace in ["x"] && (self in ["192.0.2.2"])` + "\n" + `|| cr.namespace in ["z"] && (self in ["192.0.2.3"])`
	assert.Equal(t, map[string]string{
		"mtls-ca": all, "mtls-ca a=1": `self in ["192.0.2.1"]` + "\n|| " + all,
		"team-* a=1": `self in ["192.0.2.1"]` + "\n|| " + all,
		"names x y":  `cr.namespace in ["x"] && (self in ["192.0.2.2"])`,
		"names x y a=1": `self in ["192.0.2.1"]` + "\n" +
			`|| cr.namespace in ["x"] && (self in ["192.0.2.2"])`,
		"one x": `self in ["192.0.2.2"]`, "one x a=1": `self in ["192.0.2.1", "192.0.2.2"]`,
		"twice": all, "twice a=1": `self in ["192.0.2.1"]` + "\n|| " + all,
	}, rules(t, d, "ipAddresses", "validations"))
}

func TestNoNamespaceSelectorForAll(t *testing.T) {
	d := intent.BuiltinDefaults()
	d.Namespaces = labels.Everything()
	objects, names := render(t, d, options())
	assert.NotContains(t, at(t, objects[names[0]], "spec", "selector"), "namespace")
}

// Whatever the rules: the policies that select a namespace allow what the rules grant to
// it, one of them allows all of that, and none more.
func TestNeverWiderThanTheRules(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		d := intent.BuiltinDefaults()
		d.Namespaces = randomSelector(t, random)
		for i := range random.IntN(5) {
			d.AllowedNames = append(d.AllowedNames, intent.NameRule{Namespaces: randomSelector(t, random), Organizations: []string{strconv.Itoa(i)}})
		}
		for range random.IntN(3) {
			d.AllowedIssuers = append(d.AllowedIssuers, intent.IssuerRule{Namespaces: randomSelector(t, random), Name: "other"})
		}
		r := renderer{defaults: d}
		r.learn()
		require.Empty(t, r.errs)
		for _, ns := range namespaces() {
			for i := range r.issuers {
				checkNamespace(t, &r, &r.issuers[i], ns)
			}
		}
	}
}

func checkNamespace(t *testing.T, r *renderer, i *issuer, ns labels.Set) {
	t.Helper()
	may := r.defaults.Namespaces.Matches(ns)
	if i.Issuer != r.defaults.Issuer {
		may = may && slices.ContainsFunc(r.defaults.AllowedIssuers, func(rule intent.IssuerRule) bool { return rule.Namespaces.Matches(ns) })
	}
	var granted []string
	for _, rule := range r.defaults.AllowedNames {
		if rule.Namespaces.Matches(ns) {
			granted = append(granted, rule.Organizations...)
		}
	}
	most := -1
	for _, base := range i.reaches {
		for _, one := range r.combinations(base) {
			if !one.has(ns) {
				continue
			}
			require.True(t, may, "%s is for %s", one, ns)
			var allowed []string
			for _, s := range r.shares(one) {
				if s.names == nil || slices.Contains(s.names, ns[corev1.LabelMetadataName]) {
					allowed = append(allowed, s.rule.Organizations...)
				}
			}
			require.Subset(t, append(granted, ""), append(allowed, ""), "%s for %s", one, ns)
			most = max(most, len(allowed))
		}
	}
	want := -1
	if may {
		want = len(granted)
	}
	require.Equal(t, want, most, "%s", ns)
}
