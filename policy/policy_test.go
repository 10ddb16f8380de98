package policy

import (
	"strings"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"example.io/mtls-injector/intent"
)

func options() Options {
	return Options{
		CSIDriver:   types.NamespacedName{Namespace: "cert-manager", Name: "cert-manager-csi-driver"},
		CertManager: types.NamespacedName{Namespace: "cert-manager", Name: "cert-manager"},
	}
}

// render returns the objects by name, and the names in order.
func render(t *testing.T, d *intent.Defaults, o Options) (map[string]*unstructured.Unstructured, []string) {
	t.Helper()
	objects, errs := Objects(d, o)
	require.Empty(t, errs)
	byName, names := map[string]*unstructured.Unstructured{}, []string{}
	for _, object := range objects {
		name := object.GetKind() + "/" + object.GetName()
		require.NotContains(t, byName, name)
		byName[name], names = object, append(names, name)
		require.Empty(t, validation.IsDNS1123Subdomain(object.GetName()))
		assert.Equal(t, map[string]string{"app.kubernetes.io/managed-by": "mtls-injector", "app.kubernetes.io/component": "signing-policy"}, object.GetLabels())
	}
	return byName, names
}

// at returns what stands at the path, or fails.
func at(t *testing.T, object *unstructured.Unstructured, path ...string) any {
	t.Helper()
	value, found, err := unstructured.NestedFieldNoCopy(object.Object, path...)
	require.NoError(t, err)
	require.True(t, found, "%s: %v", object.GetName(), path)
	return value
}

func TestObjects(t *testing.T) {
	objects, names := render(t, intent.BuiltinDefaults(), options())
	assert.Equal(t, []string{
		"CertificateRequestPolicy/mtls-injector-csi-mtls-ca-ecdsa-a9e40a7d",
		"CertificateRequestPolicy/mtls-injector-csi-mtls-ca-ed25519-389335a4",
		"CertificateRequestPolicy/mtls-injector-csi-mtls-ca-rsa-6e3c5291",
		"CertificateRequestPolicy/mtls-injector-companion-mtls-ca-ecdsa-a9e40a7d",
		"CertificateRequestPolicy/mtls-injector-companion-mtls-ca-ed25519-389335a4",
		"CertificateRequestPolicy/mtls-injector-companion-mtls-ca-rsa-6e3c5291",
		"ClusterRole/mtls-injector-csi-policies",
		"ClusterRoleBinding/mtls-injector-csi-policies",
		"ClusterRole/mtls-injector-companion-policies",
		"ClusterRoleBinding/mtls-injector-companion-policies",
	}, names, "who may use policies is said when all are there")

	one := objects[names[0]]
	assert.Equal(t, "policy.cert-manager.io/v1alpha1", one.GetAPIVersion())
	assert.Equal(t, map[string]any{
		"issuerRef": map[string]any{"name": "mtls-ca", "kind": "ClusterIssuer", "group": "cert-manager.io"},
		"namespace": map[string]any{"matchLabels": map[string]any{"mtls-enabled": "true"}},
	}, at(t, one, "spec", "selector"))
	assert.Equal(t, map[string]any{
		"minDuration": "1h0m0s", "maxDuration": "8760h0m0s",
		"privateKey": map[string]any{"algorithm": "ECDSA", "minSize": int64(256), "maxSize": int64(521)},
	}, at(t, one, "spec", "constraints"))
	assert.Equal(t, false, at(t, one, "spec", "allowed", "isCA"))
	assert.Equal(t, []any{"digital signature", "key encipherment", "server auth", "client auth"}, at(t, one, "spec", "allowed", "usages"))
	assert.Equal(t, true, at(t, one, "spec", "allowed", "uris", "required"))
	assert.NotContains(t, at(t, one, "spec", "allowed"), "subject")
	assert.NotContains(t, at(t, one, "spec", "allowed"), "ipAddresses")
}

func TestRights(t *testing.T) {
	account := func(namespace, name string) map[string]any {
		return map[string]any{"kind": "ServiceAccount", "namespace": namespace, "name": name}
	}
	elsewhere := Options{
		CSIDriver:   types.NamespacedName{Namespace: "pki", Name: "driver"},
		CertManager: types.NamespacedName{Namespace: "pki", Name: "manager"},
	}
	tokens := options()
	tokens.UseTokenRequest = true
	for name, tc := range map[string]struct {
		options        Options
		csi, companion map[string]any
		who            string
	}{
		"usual": {
			options(), account("cert-manager", "cert-manager-csi-driver"), account("cert-manager", "cert-manager"),
			`cr.username == "system:serviceaccount:cert-manager:cert-manager-csi-driver"`,
		},
		"elsewhere": {
			elsewhere, account("pki", "driver"), account("pki", "manager"),
			`cr.username == "system:serviceaccount:pki:driver"`,
		},
		"token requests": {
			tokens,
			map[string]any{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:serviceaccounts"},
			account("cert-manager", "cert-manager"),
			"isServiceAccount(cr.username) && serviceAccount(cr.username).getNamespace() == cr.namespace",
		},
	} {
		t.Run(name, func(t *testing.T) {
			objects, names := render(t, intent.BuiltinDefaults(), tc.options)
			for kind, subject := range map[string]map[string]any{"csi": tc.csi, "companion": tc.companion} {
				var policies []any
				for _, name := range names {
					if policy, ok := strings.CutPrefix(name, "CertificateRequestPolicy/"); ok && strings.HasPrefix(policy, "mtls-injector-"+kind) {
						policies = append(policies, policy)
					}
				}
				require.NotEmpty(t, policies)
				role := objects["ClusterRole/mtls-injector-"+kind+"-policies"]
				assert.Equal(t, []any{map[string]any{
					"apiGroups": []any{"policy.cert-manager.io"}, "resources": []any{"certificaterequestpolicies"},
					"resourceNames": policies, "verbs": []any{"use"},
				}}, at(t, role, "rules"))
				binding := objects["ClusterRoleBinding/mtls-injector-"+kind+"-policies"]
				assert.Equal(t, []any{subject}, at(t, binding, "subjects"))
				assert.Equal(t, role.GetName(), at(t, binding, "roleRef", "name"))
			}
			rules := at(t, objects[names[0]], "spec", "allowed", "uris", "validations").([]any)
			assert.Equal(t, tc.who, rules[0].(map[string]any)["rule"])
		})
	}
}

func TestTheSameObjects(t *testing.T) {
	d := grants(t, map[string]intent.NameRule{
		"a=1": {DNSNames: []string{"b", "a"}}, "b in (1,2)": {URIs: []string{"https://x/*"}}, "": {Countries: []string{"CH"}},
	})
	first, errs := Objects(d, options())
	require.Empty(t, errs)
	for range 5 {
		again, errs := Objects(d, options())
		require.Empty(t, errs)
		require.Equal(t, first, again)
	}
}

// A policy that changes keeps its name, so that applying it replaces what it was.
func TestNamesStay(t *testing.T) {
	d := intent.BuiltinDefaults()
	_, before := render(t, d, options())
	d.AllowedNames = []intent.NameRule{{Namespaces: labels.Everything(), DNSNames: []string{"www.example.com"}}}
	d.MaxDuration *= 2
	tokens := options()
	tokens.UseTokenRequest = true
	_, after := render(t, d, tokens)
	assert.Equal(t, before, after)

	d.Namespaces = labels.Everything()
	_, other := render(t, d, options())
	assert.NotEqual(t, before[:6], other[:6], "another selector makes another policy")
}

func TestNames(t *testing.T) {
	q := requesters(&Options{})[0]
	for name, want := range map[string]string{
		"ca":                     "mtls-injector-csi-ca-ecdsa-",
		"team-*":                 "mtls-injector-csi-team-ecdsa-",
		"*":                      "mtls-injector-csi-any-ecdsa-",
		"my.ca":                  "mtls-injector-csi-my-ca-ecdsa-",
		strings.Repeat("a", 253): "mtls-injector-csi-" + strings.Repeat("a", 100) + "-ecdsa-",
	} {
		keys := intent.KeyRule{Algorithm: cmapi.ECDSAKeyAlgorithm, MinSize: 256, MaxSize: 256}
		got := nameOf(q, intent.Issuer{Name: name}, reach{}, keys)
		assert.Equal(t, want, got[:len(got)-8])
		assert.Empty(t, validation.IsDNS1123Subdomain(got))
	}
}
