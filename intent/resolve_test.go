package intent_test

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/intent"
)

// TestPrecedence proves pod over namespace over configuration for every key that may
// stand on both.
func TestPrecedence(t *testing.T) {
	for key, right := range rightValues() {
		if scopeOf(t, key) != intent.ScopeAny || !right.decides() {
			continue
		}
		first, second := right.examples[0], right.examples[1]
		role := func(pairs ...string) *intent.Namespace {
			namespace := newNamespace("role", "server")
			maps.Copy(namespace.Annotations, annotations(pairs...))
			return namespace
		}
		for name, c := range map[string]struct {
			namespace *intent.Namespace
			pod       *intent.Pod
			want      any
		}{
			"configuration":           {role(), newPod(), right.unset},
			"namespace":               {role(key, second.value), newPod(), second.want},
			"pod":                     {role(), newPod(key, first.value), first.want},
			"pod over namespace":      {role(key, second.value), newPod(key, first.value), first.want},
			"pod over namespace, too": {role(key, first.value), newPod(key, second.value), second.want},
		} {
			t.Run(key+"/"+name, func(t *testing.T) {
				in := mustIntent(t, intent.Resolve(permissive(), c.namespace, c.pod, twoServices()))
				if diff := cmp.Diff(c.want, right.of(in)); diff != "" {
					t.Errorf("wanted -, got +:\n%s", diff)
				}
			})
		}
	}
}

// TestPrecedenceOfErrors: a value that another one beats decides nothing, right or wrong.
func TestPrecedenceOfErrors(t *testing.T) {
	for key, right := range rightValues() {
		if scopeOf(t, key) != intent.ScopeAny {
			continue
		}
		t.Run(key, func(t *testing.T) {
			good := right.examples[0].value
			onPod := field.NewPath("metadata", "annotations").Key(intent.Prefix + key).String()
			onNamespace := "namespace." + onPod

			beaten := intent.Resolve(permissive(), newNamespace(key, ""), newPod("role", "server", key, good), twoServices())
			assert.NotContains(t, fields(beaten.Errors), onNamespace)

			beating := intent.Resolve(permissive(), newNamespace(key, good), newPod("role", "server", key, ""), twoServices())
			if key == "role" {
				beating = intent.Resolve(permissive(), newNamespace(key, good), newPod(key, ""), twoServices())
			}
			assert.Equal(t, []string{onPod}, fields(beating.Errors))
		})
	}
}

func fields(errs field.ErrorList) []string {
	var out []string
	for _, err := range errs {
		out = append(out, err.Field)
	}
	return out
}

// TestConfigurationIsUsed sets every default to what the builtin one is not.
func TestConfigurationIsUsed(t *testing.T) {
	d := intent.BuiltinDefaults()
	d.Version, d.TrustDomain, d.ClusterDomain = "v1.2.3", "corp.example", "k8s.example"
	d.Issuer = intent.Issuer{Name: "vault", Kind: "VaultIssuer", Group: "vault.example.com"}
	d.CABundle = intent.Bundle{Kind: intent.BundleClusterTrustBundle, Name: "example.com:mtls:live"}
	d.Delivery, d.Reload, d.Probes = intent.DeliverySecret, intent.ReloadRestart, intent.ProbesTCP
	d.Key = intent.PrivateKey{Algorithm: "RSA", Size: 4096}
	d.Server = intent.Lifetime{Duration: 7200e9, RenewBefore: 600e9}
	d.ExcludeContainers = []string{"envoy"}
	d.Env = []intent.EnvProfile{intent.EnvCurl}
	d.PreStop = intent.PreStop{Seconds: 3, Method: intent.PreStopExec}

	want := &intent.Intent{
		Role: intent.RoleServer, Namespace: "shop", ServiceAccount: "web-sa",
		Workload: intent.Workload{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
		Identity: intent.Identity{
			SPIFFEID: "spiffe://corp.example/ns/shop/sa/web-sa",
			DNSNames: []string{"web", "web.shop", "web.shop.svc", "web.shop.svc.k8s.example"},
			Subject:  intent.Subject{CommonName: "web.shop.svc.k8s.example"},
		},
		Issuer: d.Issuer, Key: d.Key, Lifetime: d.Server, Delivery: d.Delivery, Companion: true, CompanionName: "web-mtls",
		CABundle: d.CABundle, Containers: intent.Selection{Exclude: []string{"envoy"}}, Env: d.Env, PreStop: d.PreStop,
		Probes: d.Probes, Reload: d.Reload, Version: "v1.2.3",
	}
	want.Usages = append(want.Usages, "digital signature", "key encipherment", "server auth")
	got := mustIntent(t, intent.Resolve(d, newNamespace(), newPod("role", "server"), []intent.Service{webService()}))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("wanted -, got +:\n%s", diff)
	}
}

func TestPodOnlyKeysOnNamespaces(t *testing.T) {
	for _, key := range intent.Keys() {
		if key.Scope == intent.ScopeAny {
			continue
		}
		t.Run(key.Name, func(t *testing.T) {
			result := intent.Resolve(permissive(), newNamespace(key.Name, "web"), newPod("role", "server"), twoServices())
			name := intent.Prefix + key.Name
			want := "namespace.metadata.annotations[" + name + `]: Invalid value: "` + name + `": may stand on pods only, not on a Namespace`
			assert.Equal(t, []string{want}, texts(result.Errors))
		})
	}
}

// TestWhatTheInjectorWroteIsIgnored on a pod, with any value and with no other annotation.
func TestWhatTheInjectorWroteIsIgnored(t *testing.T) {
	values := append(hostile(), "", `{"role":"client","version":"v0.1.0"}`, "{", `{"role":"none"}`, "5d89f7c6b4")
	for _, key := range []string{"status", "certificate-hash"} {
		require.Equal(t, intent.ScopeStatus, scopeOf(t, key))
		for _, value := range values {
			if diff := cmp.Diff(resolveServer(), resolveServer(key, value)); diff != "" {
				t.Errorf("%s=%.40q: without -, with +:\n%s", key, value, diff)
			}
			if diff := cmp.Diff(resolve(), resolve(key, value)); diff != "" {
				t.Errorf("%s=%.40q alone: without -, with +:\n%s", key, value, diff)
			}
		}
	}
}

// TestConcerns also says that a pod without our annotations, in a namespace without, is
// skipped: whoever asks Concerns need not ask Resolve.
func TestConcerns(t *testing.T) {
	for name, c := range map[string]struct {
		annotations map[string]string
		want        bool
	}{
		"none":             {nil, false},
		"empty":            {map[string]string{}, false},
		"others":           {map[string]string{"example.io/role": "server", "mtls.example.io": "x", "xmtls.example.io/role": "x"}, false},
		"a role":           {map[string]string{"a": "b", "mtls.example.io/role": "server"}, true},
		"an unknown one":   {map[string]string{"mtls.example.io/": ""}, true},
		"what was written": {map[string]string{intent.AnnotationStatus: "{}"}, true},
		"what it was for":  {map[string]string{intent.AnnotationCertificateHash: "1"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, c.want, intent.Concerns(c.annotations))
			pod, namespace := newPod(), newNamespace()
			pod.Metadata.Annotations, namespace.Annotations = c.annotations, c.annotations
			nothing := intent.Result{Skip: intent.SkipNoRole}
			if !c.want {
				assert.Equal(t, nothing, intent.Resolve(intent.BuiltinDefaults(), namespace, pod, nil))
			}
		})
	}
}

// TestAllProblemsAtOnce also fixes their order: the pod's before its namespace's, unknown
// keys by name, then values in the order of the table, then what hangs together.
func TestAllProblemsAtOnce(t *testing.T) {
	namespace := newNamespace("service", "web", "env", "java", "duration", "soon", "owner", "me")
	pod := newPod("role", "both", "probes", "http2", "zz", "", "aa", "", "delivery", "secret", "companion", "false",
		"dns-names", "db.shop,example.net", "issuer", "other", "agent", "true", "key-size", "2048", "renew-before", "1m")
	pod.Spec.ServiceAccountName = "a/b"
	want := []string{
		"metadata.annotations[mtls.example.io/aa]",
		"metadata.annotations[mtls.example.io/zz]",
		"metadata.annotations[mtls.example.io/probes]",
		"metadata.annotations[mtls.example.io/dns-names]",
		"metadata.annotations[mtls.example.io/dns-names]",
		"metadata.annotations[mtls.example.io/issuer]",
		"metadata.annotations[mtls.example.io/key-size]",
		"spec.serviceAccountName",
		"metadata.annotations[mtls.example.io/companion]",
		"namespace.metadata.annotations[mtls.example.io/owner]",
		"namespace.metadata.annotations[mtls.example.io/service]",
		"namespace.metadata.annotations[mtls.example.io/duration]",
		"namespace.metadata.annotations[mtls.example.io/env]",
	}
	first := intent.Resolve(intent.BuiltinDefaults(), namespace, pod, twoServices())
	assert.Equal(t, want, fields(first.Errors))
	for range 20 {
		again := intent.Resolve(intent.BuiltinDefaults(), namespace, pod, twoServices())
		assert.Equal(t, texts(first.Errors), texts(again.Errors), "maps have no order, the answer has")
	}
}

// TestMalformedValuesMakeNoFurtherProblems: what hangs together with a value that was not
// understood cannot be judged.
func TestMalformedValuesMakeNoFurtherProblems(t *testing.T) {
	for name, pairs := range map[string][]string{
		"key-size for another algorithm": {"key-algorithm", "RSAA", "key-size", "4096"},
		"renew-before of the default":    {"duration", "1 year", "renew-before", "8000h"},
		"kind without its issuer":        {"issuer", "MY-CA", "issuer-kind", "Issuer"},
		"signal of a mistyped reload":    {"reload", "singal", "reload-signal", "SIGHUP"},
		"common name of mistyped names":  {"dns-names", "Web.shop,web.shop", "common-name", "example.net"},
		"common name of another Service": {"service", "Web", "common-name", "example.net"},
		"secret without companion":       {"delivery", "secret", "companion", "nein"},
		"restart without companion":      {"reload", "restart", "companion", "nein"},
		"mistyped without companion":     {"reload", "restrat", "companion", "false"},
		"role":                           {"role", "sever", "delivery", "secret", "companion", "false"},
	} {
		t.Run(name, func(t *testing.T) {
			d := intent.BuiltinDefaults()
			d.Companion = false
			pod := newPod("role", "server")
			maps.Copy(pod.Metadata.Annotations, annotations(pairs...))
			result := intent.Resolve(d, newNamespace(), pod, []intent.Service{webService()})
			assert.Len(t, result.Errors, 1, "%q", texts(result.Errors))
		})
	}
}
