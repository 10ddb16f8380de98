package policy

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/labels"

	"example.io/mtls-injector/intent"
)

func TestRefusals(t *testing.T) {
	d := intent.BuiltinDefaults()
	d.Namespaces = selecting(t, "!frozen")
	d.Issuer = intent.Issuer{Name: "*", Kind: "Cluster*", Group: "*"}
	d.AllowedIssuers = []intent.IssuerRule{
		{Namespaces: selecting(t, "team"), Name: "team-?", Kind: "*", Group: "cert-manager.io"},
		{Namespaces: labels.Everything(), Name: `[ab]\*`, Kind: "Issuer", Group: "*.io"},
		{Namespaces: labels.Everything(), Name: "good-*", Kind: "Issuer", Group: "cert-manager.io"},
	}
	d.AllowedNames = []intent.NameRule{
		{Namespaces: selecting(t, "env notin (prod),a=1"), URIs: []string{"https://x/*", "https://x/[ab]", "https://x/?"}},
		{Namespaces: selecting(t, "env"), URIs: []string{`https://x/\*`}},
	}
	objects, errs := Objects(d, options())
	assert.Nil(t, objects)
	var got []string
	for _, err := range errs {
		got = append(got, err.Error())
	}
	const (
		instead = "give the wanted namespaces a label with a value of its own, and select that with matchLabels or the operator In"
		leave   = "approver-policy cannot leave namespaces out: " + instead
		value   = "approver-policy wants a label's value: name the values with the operator In, or " + instead
		full    = "a policy would take '*' for any text: write the name in full"
	)
	assert.Equal(t, []string{
		`namespaceSelector: Invalid value: "!frozen": ` + leave,
		`issuer.name: Invalid value: "*": ` + full,
		`issuer.kind: Invalid value: "Cluster*": ` + full,
		`issuer.group: Invalid value: "*": ` + full,
		`allowedIssuers[0].namespaceSelector: Invalid value: "team": ` + value,
		`allowedIssuers[0].name: Invalid value: "team-?": approver-policy has no patterns with '?' or '[' or '\': write what is meant one by one, or with '*'`,
		`allowedIssuers[0].kind: Invalid value: "*": ` + full,
		`allowedIssuers[1].name: Invalid value: "[ab]\\*": approver-policy has no patterns with '?' or '[' or '\': write what is meant one by one, or with '*'`,
		`allowedIssuers[1].group: Invalid value: "*.io": ` + full,
		`identity.allow[0].namespaceSelector: Invalid value: "env notin (prod)": ` + leave,
		`identity.allow[0].uris[1]: Invalid value: "https://x/[ab]": approver-policy has no patterns with '[' or '\': write what is meant one by one, or with '*'`,
		`identity.allow[1].namespaceSelector: Invalid value: "env": ` + value,
		`identity.allow[1].uris[0]: Invalid value: "https://x/\\*": approver-policy has no patterns with '[' or '\': write what is meant one by one, or with '*'`,
	}, got)
}

func TestNothingToAllow(t *testing.T) {
	for name, selector := range map[string]labels.Selector{
		"":        labels.Nothing(),
		"a=1,a=2": selecting(t, "a=1,a=2"),
	} {
		d := intent.BuiltinDefaults()
		d.Namespaces = selector
		objects, errs := Objects(d, options())
		assert.Nil(t, objects, "a role without names would be about all policies")
		require.Len(t, errs, 1)
		assert.Equal(t, "namespaceSelector: Invalid value: "+strconv.Quote(name)+": must select a namespace, or there is nothing to allow", errs[0].Error())
	}
}

func TestTooManyPolicies(t *testing.T) {
	d := intent.BuiltinDefaults()
	for _, key := range []string{"a", "b", "c", "d"} {
		d.AllowedNames = append(d.AllowedNames, intent.NameRule{Namespaces: selecting(t, key+"=1"), CommonNames: []string{key}})
	}
	objects, errs := Objects(d, options())
	require.Empty(t, errs)
	assert.Len(t, objects, 100, "2^4 sets of labels, 3 kinds of keys and 2 requesters, and 4 of RBAC")

	for _, key := range []string{"e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"} {
		d.AllowedNames = append(d.AllowedNames, intent.NameRule{Namespaces: selecting(t, key+"=1"), CommonNames: []string{key}})
		objects, errs = Objects(d, options())
		assert.Nil(t, objects)
		require.Len(t, errs, 1)
		assert.Contains(t, errs[0].Error(), "identity.allow: Forbidden: the configuration makes more than 100 policies: one for each issuer, kind of key")
	}

	for i := range d.AllowedNames {
		d.AllowedNames[i].Namespaces = selecting(t, "kubernetes.io/metadata.name=ns"+strconv.Itoa(i))
	}
	objects, errs = Objects(d, options())
	require.Empty(t, errs)
	assert.Len(t, objects, 10, "as the message says")
}
