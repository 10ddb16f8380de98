package intent_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/intent"
)

// TestEveryKeyIsTold walks the annotation table: what somebody can set has a line.
func TestEveryKeyIsTold(t *testing.T) {
	for name, role := range map[string]string{"server": "server", "client": "client", "both": "both"} {
		t.Run(name, func(t *testing.T) {
			pod, services := newPod("role", role), []intent.Service{webService()}
			result, decisions := intent.Explain(intent.BuiltinDefaults(), newNamespace(), pod, services)
			mustIntent(t, result)
			var want, got []string
			for _, key := range intent.Keys() {
				if key.Scope != intent.ScopeStatus {
					want = append(want, key.Name)
				}
			}
			for _, d := range decisions {
				got = append(got, d.Key)
				assert.NotEmpty(t, d.Value, d.Key)
				assert.NotEmpty(t, d.Source, d.Key)
			}
			assert.Equal(t, append(want, "workload", "spiffe-id", "usages"), got)
		})
	}
}

// TestSources has a value from every source, for every key that has more than one.
func TestSources(t *testing.T) {
	configured := intent.BuiltinDefaults()
	configured.Issuer.Name, configured.Reload, configured.Server.RenewBefore = "corp", intent.ReloadRestart, configured.Client.RenewBefore
	configured.Env, configured.Companion = []intent.EnvProfile{intent.EnvMTLS, intent.EnvCurl}, true
	group := int64(2000)
	for name, c := range map[string]struct {
		defaults       *intent.Defaults
		namespace, pod []string
		change         func(*intent.Pod)
		services       []intent.Service
		want           map[string]string
	}{
		"defaults": {
			pod: []string{"role", "server"}, services: []intent.Service{webService()},
			want: map[string]string{
				"role": "server (pod: annotation)", "delivery": "csi (default)", "service": "web (Service: selector)",
				"dns-names":     "web, web.shop, web.shop.svc, web.shop.svc.cluster.local (Service: web)",
				"common-name":   "web.shop.svc.cluster.local (default: the first full name of dns-names)",
				"organizations": "- (default)", "issuer": "mtls-ca (default)", "duration": "2160h (default)", "renew-before": "720h (default)",
				"key-size": "256 (default)", "containers": "migrate, app (default)", "exclude-containers": "istio-proxy (default)",
				"mount-path": "the usual folders below /etc/tls (default)", "ca-bundle": "ConfigMap/mtls-ca-bundle (default)",
				"pre-stop-seconds": "10 (default)", "fs-group": "- (default: no fsGroup and no common runAsGroup)",
				"companion": "true (Certificate web-mtls) (default)", "workload": "Deployment/web (pod: owner)",
				"spiffe-id": "spiffe://cluster.local/ns/shop/sa/web-sa (pod: spec.serviceAccountName)",
				"usages":    "digital signature, server auth (default: of role and key-algorithm)",
			},
		},
		"namespace": {
			namespace: []string{"role", "client", "duration", "48h", "key-algorithm", "RSA", "env", "none", "containers", "app"}, pod: []string{"env", "aws"},
			want: map[string]string{
				"role": "client (namespace: annotation)", "duration": "48h (namespace: annotation)", "renew-before": "16h (namespace: a third of duration)",
				"key-algorithm": "RSA (namespace: annotation)", "key-size": "2048 (namespace: the usual size of key-algorithm)", "env": "aws (pod: annotation)",
				"service": "- (default: a client serves nobody)", "dns-names": "- (default)", "pre-stop-seconds": "0 (default: a client has no hook unless it asks)",
				"containers": "app (namespace: annotation)",
			},
		},
		"configuration": {
			defaults: configured, pod: []string{"role", "server"},
			want: map[string]string{
				"issuer": "corp (configuration: issuer.name)", "issuer-kind": "ClusterIssuer (default)", "reload": "restart (configuration: reload)",
				"renew-before": "168h (configuration: lifetimes)", "duration": "2160h (default)", "env": "mtls, curl (configuration: env)",
				"service":   "- (default: no Service selects the pod)",
				"dns-names": "web, web.shop, web.shop.svc, web.shop.svc.cluster.local (pod: the name of its workload)",
			},
		},
		"the pod's spec": {
			pod: []string{"role", "both", "key-algorithm", "Ed25519", "dns-names", "web.shop"}, services: []intent.Service{webService()},
			change: func(pod *intent.Pod) {
				pod.Spec.SecurityContext = &intent.PodSecurityContext{FSGroup: &group}
				pod.Spec.ServiceAccountName = ""
				pod.Metadata = intent.PodMetadata{Name: "web-0", Namespace: "shop", Labels: pod.Metadata.Labels, Annotations: pod.Metadata.Annotations}
			},
			want: map[string]string{
				"fs-group": "2000 (pod: securityContext.fsGroup)", "key-size": "- (pod: the usual size of key-algorithm)",
				"workload": "Pod/web-0 (pod: it has no controller)", "spiffe-id": "spiffe://cluster.local/ns/shop/sa/default (default: service account)",
				"dns-names": "web, web.shop, web.shop.svc, web.shop.svc.cluster.local (Service: web; annotation of the pod)",
			},
		},
		"runAsGroup": {
			pod:    []string{"role", "client"},
			change: func(pod *intent.Pod) { pod.Spec.SecurityContext = &intent.PodSecurityContext{RunAsGroup: &group} },
			want:   map[string]string{"fs-group": "2000 (pod: runAsGroup of the containers)"},
		},
		"secret": {
			pod:    []string{"role", "client", "delivery", "secret", "dns-names", "web"},
			change: func(pod *intent.Pod) { pod.Spec.SecurityContext = &intent.PodSecurityContext{FSGroup: &group} },
			want: map[string]string{
				"fs-group":  "2000 (pod: securityContext.fsGroup, which Secret volumes follow)",
				"dns-names": "web (pod: annotation)", "delivery": "secret (pod: annotation)",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			pod, d := newPod(c.pod...), c.defaults
			if c.change != nil {
				c.change(pod)
			}
			if d == nil {
				d = intent.BuiltinDefaults()
			}
			result, decisions := intent.Explain(d, newNamespace(c.namespace...), pod, c.services)
			mustIntent(t, result)
			got := map[string]string{}
			for _, decision := range decisions {
				if _, asked := c.want[decision.Key]; asked {
					got[decision.Key] = decision.Value + " (" + decision.String() + ")"
				}
			}
			assert.Equal(t, c.want, got)
		})
	}
}

func TestExplainedRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		namespace, pod []string
		want           []intent.Decision
	}{
		"values": {
			pod: []string{"role", "server", "duration", "30d"},
			want: []intent.Decision{
				{Key: "role", Value: "server", Source: intent.SourcePod, Detail: "annotation"},
				{Key: "duration", Value: "30d", Source: intent.SourcePod, Detail: "annotation", Refused: true},
			},
		},
		"of the namespace": {
			namespace: []string{"duration", "1s"}, pod: []string{"role", "client"},
			want: []intent.Decision{
				{Key: "role", Value: "client", Source: intent.SourcePod, Detail: "annotation"},
				{Key: "duration", Value: "1s", Source: intent.SourceNamespace, Detail: "annotation", Refused: true},
			},
		},
		"no role to go by": {
			pod:  []string{"role", "servr", "env", "aws"},
			want: []intent.Decision{{Key: "role", Value: "servr", Source: intent.SourcePod, Detail: "annotation", Refused: true}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			result, decisions := intent.Explain(intent.BuiltinDefaults(), newNamespace(c.namespace...), newPod(c.pod...), nil)
			require.NotEmpty(t, result.Errors)
			var got []intent.Decision
			for _, d := range decisions {
				if d.Refused || d.Key == "role" {
					got = append(got, d)
				}
			}
			assert.Equal(t, c.want, got)
		})
	}
}

func TestExplainedSkips(t *testing.T) {
	mirror := newPod("role", "server")
	mirror.Metadata.Annotations["kubernetes.io/config.mirror"] = "x"
	for name, c := range map[string]struct {
		pod  *intent.Pod
		want intent.SkipReason
		role string
	}{
		"no annotation": {newPod(), intent.SkipNoRole, "- (default: neither pod nor namespace sets it)"},
		"no role":       {newPod("env", "aws"), intent.SkipNoRole, "- (default: neither pod nor namespace sets it)"},
		"role none":     {newPod("role", "none"), intent.SkipRoleNone, "none (pod: annotation)"},
		"mirror pod":    {mirror, intent.SkipMirrorPod, "server (pod: annotation)"},
	} {
		t.Run(name, func(t *testing.T) {
			result, decisions := intent.Explain(intent.BuiltinDefaults(), newNamespace(), c.pod, nil)
			assert.Equal(t, c.want, result.Skip)
			assert.Equal(t, "role", decisions[0].Key)
			assert.Equal(t, c.role, decisions[0].Value+" ("+decisions[0].String()+")")
		})
	}
}
