package intent_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"example.io/mtls-injector/intent"
)

// FuzzResolve makes a namespace, a pod and Services out of the bytes and holds the answer
// against the rules of the design, which fuzz_oracle_test.go states a second time in
// words of its own.
func FuzzResolve(f *testing.F) {
	f.Add([]byte{})
	for seed := range byte(40) {
		raw := make([]byte, 200)
		for i := range raw {
			raw[i] = seed*31 + byte(i*i)*seed + byte(i)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := newCluster(raw)
		result := intent.Resolve(c.defaults, c.namespace, c.pod, c.services)
		require.Equal(t, result, intent.Resolve(c.defaults, c.namespace, c.pod, c.services), "the second answer")
		if explained, decisions := intent.Explain(c.defaults, c.namespace, c.pod, c.services); len(result.Errors) == 0 && len(explained.Errors) == 0 {
			require.Equal(t, result.Intent, explained.Intent, "what is told is what is done")
			require.NotEmpty(t, decisions)
		}
		c.check(t, &result)
	})
}

var (
	fuzzExamples = rightValues()
	fuzzHostile  = hostile()
)

// cluster is what a decision is made of.
type cluster struct {
	defaults  *intent.Defaults
	namespace *intent.Namespace
	pod       *intent.Pod
	services  []intent.Service
}

// choices are made by the bytes, in turn; at their end every choice is the first.
type choices []byte

func (b *choices) upTo(n int) int {
	if len(*b) == 0 {
		return 0
	}
	choice := int((*b)[0]) % n
	*b = (*b)[1:]
	return choice
}

func (b *choices) one(of ...string) string { return of[b.upTo(len(of))] }

func (b *choices) yes() bool { return b.upTo(2) == 1 }

// text takes the next bytes as they are.
func (b *choices) text() string {
	n := min(b.upTo(24), len(*b))
	text := string((*b)[:n])
	*b = (*b)[n:]
	return text
}

func (b *choices) id() *int64 {
	return []*int64{nil, new(int64(0)), new(int64(1000)), new(int64(2000)), new(int64(1 << 31))}[b.upTo(5)]
}

func newCluster(raw []byte) *cluster {
	b := choices(raw)
	c := &cluster{
		defaults: fuzzDefaults(b.yes(), b.yes()),
		namespace: &intent.Namespace{
			Name:   b.one("shop", "a", "svc", "n-"+strings.Repeat("x", 60)),
			Labels: map[string]string{"team": b.one("retail", "bank")},
		},
	}
	c.namespace.Annotations = b.annotations(b.upTo(3), intent.ScopeAny)
	c.pod = b.pod()
	for _, name := range []string{"web", "admin", "db", "a", "svc", "web-peers", strings.Repeat("s", 63)} {
		if b.yes() {
			c.services = append(c.services, b.service(name))
		}
	}
	return c
}

// fuzzDefaults grant some names and issuers to the namespaces of retail.
func fuzzDefaults(companion, secret bool) *intent.Defaults {
	d := intent.BuiltinDefaults()
	d.Companion = companion || secret
	if secret {
		d.Delivery, d.Key = intent.DeliverySecret, intent.PrivateKey{Algorithm: "RSA", Size: 3072}
	}
	retail := labels.SelectorFromSet(labels.Set{"team": "retail"})
	d.AllowedIssuers = []intent.IssuerRule{{Namespaces: retail, Name: "team?*", Kind: "ClusterIssuer", Group: "cert-manager.io"}}
	d.AllowedNames = []intent.NameRule{{
		Namespaces: retail, DNSNames: []string{"example.org", "*.example.com"}, CommonNames: []string{"Shop Web"},
	}}
	return d
}

// annotations are mostly such as may stand in that place.
func (b *choices) annotations(count int, scope intent.Scope) map[string]string {
	out := map[string]string{}
	keys := intent.Keys()
	for range count {
		key := keys[b.upTo(len(keys))]
		if key.Scope != intent.ScopeAny && key.Scope != scope && b.upTo(16) != 15 {
			continue
		}
		name := key.Name
		if b.upTo(64) == 63 {
			name = b.text()
		}
		out[intent.Prefix+name] = b.value(&key)
	}
	if role := b.one("", "server", "client", "both", "server", "both", "client", "none"); role != "" {
		out[intent.Prefix+"role"] = role
	}
	return out
}

// value is a right one more often than not.
func (b *choices) value(key *intent.Key) string {
	switch examples := fuzzExamples[key.Name].examples; b.upTo(24) {
	case 23:
		return fuzzHostile[b.upTo(len(fuzzHostile))]
	case 22:
		return b.text()
	case 21, 20, 19:
	default:
		if len(examples) > 0 {
			return examples[b.upTo(len(examples))].value
		}
	}
	var items []string
	for range b.upTo(4) + 1 {
		items = append(items, b.one(
			"web", "db", "web.shop", "web.shop.svc", "db.shop.svc.cluster.local", "db.a", "a.svc", "web.web", "example.org",
			"x.example.com", "*.example.com", "x.y.example.com", "*.web.shop.svc.cluster.local", "Shop Web", "team-a",
			"svc.svc.svc", "kubernetes.default.svc", "2h", "7m", "app", "istio-proxy", "4096", "w", "", "Web.shop", "web.shop.",
		))
	}
	return strings.Join(items, ",")
}

func (b *choices) pod() *intent.Pod {
	pod := &intent.Pod{Metadata: intent.PodMetadata{
		Name:         b.one("", "web", "db.main"),
		GenerateName: b.one("web-", "", "db-", "-"),
		Labels:       map[string]string{"app": b.one("web", "db"), "tier": b.one("front", "back")},
	}}
	if hash := b.one("5d89", "", "x"); hash != "" {
		pod.Metadata.Labels[b.one("pod-template-hash", "rollouts-pod-template-hash")] = hash
	}
	for range b.upTo(3) {
		pod.Metadata.OwnerReferences = append(pod.Metadata.OwnerReferences, b.owner())
	}
	pod.Metadata.Annotations = b.annotations(b.upTo(6), intent.ScopePod)
	if b.upTo(32) == 31 {
		pod.Metadata.Annotations["kubernetes.io/config.mirror"] = "x"
	}
	spec := &pod.Spec
	spec.ServiceAccountName = b.one("", "web-sa", "sa.v2")
	if b.upTo(32) == 31 {
		spec.ServiceAccountName = b.one("a/b", "a,b", "$x", "A", b.text())
	}
	if b.upTo(24) == 23 {
		spec.OS = &corev1.PodOS{Name: corev1.OSName(b.one("linux", "windows"))}
		spec.NodeSelector = map[string]string{"kubernetes.io/os": b.one("linux", "windows")}
	}
	if b.yes() {
		spec.SecurityContext = &intent.PodSecurityContext{RunAsUser: b.id(), RunAsGroup: b.id(), FSGroup: b.id(), RunAsNonRoot: new(b.yes())}
	}
	for _, name := range []string{"app", "istio-proxy", "migrate"}[:b.upTo(3)+1] {
		container := intent.Container{Name: name}
		if b.yes() {
			container.SecurityContext = &intent.SecurityContext{RunAsUser: b.id(), RunAsGroup: b.id()}
		}
		spec.Containers = append(spec.Containers, container)
	}
	return pod
}

func (b *choices) owner() intent.OwnerReference {
	owner := intent.OwnerReference{
		APIVersion: b.one("apps/v1", "batch/v1", "v1", "example.com/v1", "a/b/c", ""),
		Kind:       b.one("ReplicaSet", "Job", "StatefulSet", "Deployment", "Cluster", "Pod", "K,$", strings.Repeat("K", 300)),
		Name:       b.one("web-5d89", "db", "web", "db-29391840", "web.main", "-5d89", "N,$\n", strings.Repeat("n", 250), strings.Repeat("n.", 200)),
		UID:        "u",
		Controller: b.upTo(4) != 3,
	}
	if b.upTo(16) == 15 {
		owner.Kind, owner.Name = b.text(), b.text()
	}
	return owner
}

// service has a name that the API server has accepted.
func (b *choices) service(name string) intent.Service {
	svc := intent.Service{Name: name, Headless: b.upTo(3) == 2}
	switch b.upTo(5) {
	case 0, 1:
		svc.Selector = map[string]string{"app": "web"}
	case 2:
		svc.Selector = map[string]string{"app": "db"}
	case 3:
		svc.Selector = map[string]string{"app": b.one("web", "db"), "tier": "front"}
	}
	return svc
}
