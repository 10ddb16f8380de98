package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func selecting(t testing.TB, text string) labels.Selector {
	t.Helper()
	selector, err := labels.Parse(text)
	require.NoError(t, err)
	return selector
}

func TestReachesOf(t *testing.T) {
	const name = corev1.LabelMetadataName
	for text, tc := range map[string]struct {
		text string
		want []string // labels, a space, names
	}{
		"everything":                {"", []string{" "}},
		"a label":                   {"team=a", []string{"team=a "}},
		"labels":                    {"team=a,tier==gold", []string{"team=a,tier=gold "}},
		"one of one":                {"team in (a)", []string{"team=a "}},
		"one of several":            {"team in (b,a)", []string{"team=a ", "team=b "}},
		"several of several":        {"team in (a,b),tier in (x,y)", []string{"team=a,tier=x ", "team=a,tier=y ", "team=b,tier=x ", "team=b,tier=y "}},
		"an empty value":            {"team=", []string{"team= "}},
		"a name":                    {name + "=shop", []string{" shop"}},
		"names":                     {name + " in (shop,bank)", []string{" bank,shop"}},
		"names and a label":         {name + " in (shop,bank),team=a", []string{"team=a bank,shop"}},
		"names twice":               {name + " in (a,b)," + name + " in (b,c)", []string{" b"}},
		"names that exclude others": {name + "=a," + name + "=b", nil},
		"values that exclude each":  {"team=a,team=b", nil},
		"some exclude each other":   {"team in (a,b),team in (b,c)", []string{"team=b "}},
	} {
		t.Run(text, func(t *testing.T) {
			reaches, errs := reachesOf(selecting(t, tc.text), field.NewPath("namespaceSelector"))
			require.Empty(t, errs)
			var got []string
			for _, r := range reaches {
				got = append(got, r.String())
			}
			assert.Equal(t, tc.want, got)
		})
	}
	reaches, errs := reachesOf(labels.Nothing(), nil)
	assert.Empty(t, reaches)
	assert.Empty(t, errs, "that it selects nothing is no problem of translation")
}

func TestReachesThatCannotBeSaid(t *testing.T) {
	const instead = "give the wanted namespaces a label with a value of its own, and select that with matchLabels or the operator In"
	many := func(key string) string {
		values := make([]string, 11)
		for i := range values {
			values[i] = fmt.Sprintf("v%d", i)
		}
		return key + " in (" + strings.Join(values, ",") + ")"
	}
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"not in":     {"env notin (prod)", []string{`namespaceSelector: Invalid value: "env notin (prod)": approver-policy cannot leave namespaces out: ` + instead}},
		"not":        {"env!=prod", []string{`namespaceSelector: Invalid value: "env!=prod": approver-policy cannot leave namespaces out: ` + instead}},
		"not a name": {corev1.LabelMetadataName + "!=a", []string{`namespaceSelector: Invalid value: "kubernetes.io/metadata.name!=a": approver-policy cannot leave namespaces out: ` + instead}},
		"absent":     {"!env", []string{`namespaceSelector: Invalid value: "!env": approver-policy cannot leave namespaces out: ` + instead}},
		"present": {"env", []string{`namespaceSelector: Invalid value: "env": approver-policy wants a label's value: name the values with ` +
			`the operator In, or ` + instead}},
		"greater": {"env>1", []string{`namespaceSelector: Invalid value: "env>1": approver-policy has no operator "gt": ` + instead}},
		"several": {"a,b!=c,d=e", []string{
			`namespaceSelector: Invalid value: "a": approver-policy wants a label's value: name the values with the operator In, or ` + instead,
			`namespaceSelector: Invalid value: "b!=c": approver-policy cannot leave namespaces out: ` + instead,
		}},
		"combinations": {many("a") + "," + many("b"), []string{"namespaceSelector: Forbidden: the configuration makes more than 100 policies: " +
			"one for each issuer, kind of key and set of labels that a namespace can have; give rules for the same namespaces the same " +
			"namespaceSelector, or select namespaces by kubernetes.io/metadata.name, which in identity.allow makes no policies of its own"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, errs := reachesOf(selecting(t, tc.text), field.NewPath("namespaceSelector"))
			var got []string
			for _, err := range errs {
				got = append(got, err.Error())
			}
			assert.Equal(t, tc.want, got)
		})
	}
}

// namespaces are all that there can be with two labels of two values each and two names.
func namespaces() []labels.Set {
	var all []labels.Set
	for _, name := range []string{"x", "y"} {
		for _, a := range []string{"", "1", "2"} {
			for _, b := range []string{"", "1", "2"} {
				set := labels.Set{corev1.LabelMetadataName: name}
				if a != "" {
					set["a"] = a
				}
				if b != "" {
					set["b"] = b
				}
				all = append(all, set)
			}
		}
	}
	return all
}

func (r reach) has(namespace labels.Set) bool {
	for key, value := range r.labels {
		if namespace[key] != value {
			return false
		}
	}
	return r.names == nil || slices.Contains(r.names, namespace[corev1.LabelMetadataName])
}

// allReaches are all that there can be of these namespaces.
func allReaches() []reach {
	var all []reach
	for _, names := range [][]string{nil, {"x"}, {"y"}, {"x", "y"}} {
		for _, a := range []string{"", "1", "2"} {
			for _, b := range []string{"", "1", "2"} {
				r := reach{names: names, labels: map[string]string{}}
				if a != "" {
					r.labels["a"] = a
				}
				if b != "" {
					r.labels["b"] = b
				}
				all = append(all, r)
			}
		}
	}
	return all
}

// Set theory, by counting.
func TestReachesAreSets(t *testing.T) {
	for _, one := range allReaches() {
		for _, other := range allReaches() {
			both, ok := one.and(other)
			inside, some := true, false
			for _, ns := range namespaces() {
				want := one.has(ns) && other.has(ns)
				assert.Equal(t, want, ok && both.has(ns), "%s and %s: %s", one, other, ns)
				some = some || want
				inside = inside && (!one.has(ns) || other.has(ns))
			}
			assert.Equal(t, some, ok, "%s and %s", one, other)
			if one.within(other) {
				assert.True(t, inside, "%s within %s", one, other)
			} else if inside {
				// Both names, when there are no others, are all: it does not know.
				assert.Len(t, other.names, 2, "%s within %s", one, other)
			}
		}
	}
}

// randomSelector selects some of the namespaces.
func randomSelector(t testing.TB, random *rand.Rand) labels.Selector {
	t.Helper()
	choices := [][]string{
		{"", "", "kubernetes.io/metadata.name=x", "kubernetes.io/metadata.name in (x,y)", "kubernetes.io/metadata.name=y"},
		{"", "a=1", "a=2", "a in (1,2)"},
		{"", "", "b=1", "b in (1,2)"},
	}
	var parts []string
	for _, of := range choices {
		if part := of[random.IntN(len(of))]; part != "" {
			parts = append(parts, part)
		}
	}
	return selecting(t, strings.Join(parts, ","))
}

func TestReachesSelectTheSame(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		selector := randomSelector(t, random)
		reaches, errs := reachesOf(selector, nil)
		require.Empty(t, errs)
		for _, ns := range namespaces() {
			got := slices.ContainsFunc(reaches, func(r reach) bool { return r.has(ns) })
			assert.Equal(t, selector.Matches(ns), got, "%s: %s", selector, ns)
		}
	}
}
