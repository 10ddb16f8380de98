package intent_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/labels"

	"example.io/mtls-injector/intent"
)

// TestBuiltinDefaultsAreThoseOfTheDesign: people rely on them without writing a file.
func TestBuiltinDefaultsAreThoseOfTheDesign(t *testing.T) {
	const day = 24 * time.Hour
	d := intent.BuiltinDefaults()
	assert.Contains(t, d.ExcludeContainers, "istio-proxy")
	assert.Contains(t, d.ExcludeContainers, "linkerd-proxy")
	d.ExcludeContainers = nil
	assert.Equal(t, &intent.Defaults{
		Version:       "dev",
		TrustDomain:   "cluster.local",
		ClusterDomain: "cluster.local",
		Namespaces:    labels.SelectorFromSet(labels.Set{"mtls-enabled": "true"}),
		Issuer:        intent.Issuer{Name: "mtls-ca", Kind: "ClusterIssuer", Group: "cert-manager.io"},
		CABundle:      intent.Bundle{Kind: "ConfigMap", Name: "mtls-ca-bundle", Key: "ca.crt"},
		Delivery:      "csi",
		Key:           intent.PrivateKey{Algorithm: "ECDSA", Size: 256},
		Server:        intent.Lifetime{Duration: 90 * day, RenewBefore: 30 * day},
		Client:        intent.Lifetime{Duration: 30 * day, RenewBefore: 7 * day},
		Both:          intent.Lifetime{Duration: 90 * day, RenewBefore: 30 * day},
		Env:           []intent.EnvProfile{"mtls"},
		PreStop:       intent.PreStop{Seconds: 10, Method: "auto"},
		Probes:        "keep",
		Reload:        "none",
		Restart:       intent.RestartPolicy{MaxConcurrentWorkloads: 10, Jitter: 10 * time.Minute},
		Companion:     true,
		Agent: intent.AgentDefaults{
			ImagePullPolicy: "IfNotPresent", MetricsPort: 9469, StartTimeout: 10 * time.Minute,
			Requests: intent.Quantities{CPU: "5m", Memory: "16Mi"}, Limits: intent.Quantities{Memory: "16Mi"},
		},
		Guard:         "enforce",
		Workloads:     "enforce",
		WorkloadNames: true,
		AllowedKeys: []intent.KeyRule{
			{Algorithm: "ECDSA", MinSize: 256, MaxSize: 521}, {Algorithm: "RSA", MinSize: 2048, MaxSize: 8192}, {Algorithm: "Ed25519"},
		},
		MinDuration: time.Hour,
		MaxDuration: 365 * day,
	}, d)
}

func TestBuiltinDefaultsAreNobodysToShare(t *testing.T) {
	intent.BuiltinDefaults().ExcludeContainers[0] = "overwritten"
	assert.Equal(t, "istio-proxy", intent.BuiltinDefaults().ExcludeContainers[0])
}

func TestGrantedPatterns(t *testing.T) {
	for name, c := range map[string]struct {
		pattern, name string
		granted       bool
	}{
		"itself":                    {"a.example", "a.example", true},
		"another":                   {"a.example", "b.example", false},
		"below":                     {"a.example", "x.a.example", false},
		"one label":                 {"*.example", "a.example", true},
		"two labels":                {"*.example", "b.a.example", false},
		"no label":                  {"*.example", "example", false},
		"the wildcard itself":       {"*.example", "*.example", true},
		"a wildcard below":          {"*.example", "*.a.example", false},
		"a wildcard above":          {"*.a.example", "*.example", false},
		"a name for a wildcard":     {"a.example", "*.example", false},
		"suffix without a dot":      {"*.example", "aexample", false},
		"longer suffix":             {"*.example", "a.example.com", false},
		"star without a dot":        {"*example", "aexample", false},
		"star alone":                {"*", "anything", false},
		"star alone, several parts": {"*", "a.example", false},
		"star inside":               {"a.*.example", "a.b.example", false},
	} {
		t.Run(name, func(t *testing.T) {
			d := intent.BuiltinDefaults()
			d.AllowedNames = []intent.NameRule{{Namespaces: labels.Everything(), DNSNames: []string{c.pattern}}}
			got := intent.Resolve(d, newNamespace(), newPod("role", "client", "dns-names", c.name), nil)
			assert.Equal(t, c.granted, got.Intent != nil, "%q", texts(got.Errors))
			if c.granted {
				assert.Equal(t, []string{c.name}, got.Intent.Identity.DNSNames)
			}
		})
	}
}
