package e2e

import (
	"maps"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestAttackAtAdmission: nothing that somebody with rights on pods alone can write into a
// pod gives him a certificate with another's name.
func TestAttackAtAdmission(t *testing.T) { runAttacks(t, admissionAttacks()) }

// admissionAttacks are the rows of the first table in docs/security.md.
func admissionAttacks() []attack {
	return slices.Concat(nameAttacks(), workloadAttacks(), volumeAttacks(), textAttacks(), rightsAttacks())
}

// notOwn is how the refusal of a DNS name begins.
func notOwn(name string) string {
	return `the pod may not claim "` + name + `": it is neither a name of a Service that selects the pod, nor of its workload, ` +
		`nor granted to namespace "{ns}" by the configuration (identity.allow)`
}

// notCommon is the refusal of a common name.
const notCommon = `must be one of the certificate's DNS names or granted to namespace "{ns}" by the configuration (identity.allow)`

// notSelected is the refusal of a Service.
func notSelected(name string) string {
	return `Service "` + name + `" does not exist in namespace "{ns}" or its selector does not match the pod's labels; allowed: mallory`
}

// nameAttacks ask for names by annotations.
func nameAttacks() []attack {
	const payments, vault = "payments.{ns}.svc.cluster.local", "vault.{other}.svc"
	theirs := `; Service "payments" selects other pods: give this one the labels of its selector, or leave the name out`
	abroad := `; it is a name of namespace "{other}"`
	return []attack{
		{"another namespace's Service", tryAll(map[string]attempt{
			"dns-names":            {key: "dns-names", value: vault, why: notOwn(vault) + abroad},
			"dns-names, short":     {key: "dns-names", value: "vault.{other}", why: notOwn("vault.{other}")},
			"dns-names, in full":   {key: "dns-names", value: vault + ".cluster.local", why: notOwn(vault+".cluster.local") + abroad},
			"among its own":        {key: "dns-names", value: "mallory.{ns}.svc, " + vault, why: notOwn(vault) + abroad},
			"common-name":          {key: "common-name", value: vault, why: notCommon},
			"service":              {key: "service", value: "vault", why: notSelected("vault")},
			"service, with a dot":  {key: "service", value: "vault.{other}", why: item("vault.{other}", mustBeName)},
			"service, with a path": {key: "service", value: "{other}/vault", why: item("{other}/vault", mustBeName)},
			"namespace of the pod": {
				change:   func(pod *corev1.Pod) { pod.Namespace = "default" },
				byServer: `pods is forbidden: User "mallory@{ns}" cannot create resource "pods" in API group "" in the namespace "default"`,
			},
		})},
		{"a neighbour's Service", tryAll(map[string]attempt{
			"service":            {key: "service", value: "payments", why: notSelected("payments")},
			"service, as well":   {key: "service", value: "mallory,payments", why: notSelected("payments")},
			"dns-names":          {key: "dns-names", value: "payments", why: notOwn("payments") + theirs},
			"dns-names, short":   {key: "dns-names", value: "payments.{ns}", why: notOwn("payments.{ns}") + theirs},
			"dns-names, in full": {key: "dns-names", value: payments, why: notOwn(payments) + theirs},
			"as a client":        {key: "dns-names", value: payments, and: map[string]string{"role": "client"}, why: notOwn(payments) + theirs},
			"common-name":        {key: "common-name", value: payments, why: notCommon + `; did you mean "mallory.{ns}.svc.cluster.local"?`},
			"a wildcard":         {key: "dns-names", value: "*.{ns}.svc.cluster.local", why: notOwn("*.{ns}.svc.cluster.local")},
			"its last label":     {key: "dns-names", value: "mallory.payments.{ns}.svc", why: notOwn("mallory.payments.{ns}.svc")},
		})},
		{"a name or an issuer granted to others", tryAll(map[string]attempt{
			"dns-names":            {key: "dns-names", value: "www.example.com", why: notOwn("www.example.com")},
			"dns-names, wildcard":  {key: "dns-names", value: "*.api.example.com", why: notOwn("*.api.example.com")},
			"common-name":          {key: "common-name", value: "Example Gateway", why: notCommon},
			"organizations":        {key: "organizations", value: "system:masters", why: notGranted("system:masters")},
			"organizational-units": {key: "organizational-units", value: "payments", why: notGranted("payments")},
			"issuer": {key: "issuer", value: "public", and: map[string]string{"issuer-kind": "ClusterIssuer"},
				why: `issuer ClusterIssuer/public is not allowed in namespace "{ns}"; allowed by the configuration: Issuer/companions`},
		})},
		{"a Service that selects nobody or others", tryAll(selectors())},
		{"tricks with headless names", tryAll(headless())},
	}
}

// selectors tries the Services that do not make their names anybody's.
func selectors() map[string]attempt {
	all := map[string]attempt{}
	for _, service := range []string{"by-hand", "elsewhere", "reports"} {
		all["service: "+service] = attempt{key: "service", value: service, why: notSelected(service)}
		all["dns-names: "+service] = attempt{key: "dns-names", value: service + ".{ns}.svc", why: notOwn(service+".{ns}.svc") +
			`; Service "` + service + `" selects other pods: give this one the labels of its selector, or leave the name out`}
		all["the pod's name: "+service] = attempt{change: bare(service), services: []string{}}
	}
	return all
}

// headless tries names below a headless Service.
func headless() map[string]attempt {
	const own = "; a pod gets its own name below a headless Service by itself"
	asIf := func(labels map[string]string) func(*corev1.Pod) {
		return func(pod *corev1.Pod) {
			pod.Name, pod.Labels = "db-1", maps.Clone(labels)
			pod.Spec.Hostname, pod.Spec.Subdomain = "db-0", "db"
		}
	}
	return map[string]attempt{
		"dns-names":             {key: "dns-names", value: "db-0.db.{ns}.svc.cluster.local", why: notOwn("db-0.db.{ns}.svc.cluster.local") + own},
		"dns-names, short":      {key: "dns-names", value: "db-0.db", why: notOwn("db-0.db")},
		"its own Service":       {key: "dns-names", value: "db-0.mallory.{ns}.svc.cluster.local", why: notOwn("db-0.mallory.{ns}.svc.cluster.local") + own},
		"a wildcard":            {key: "dns-names", value: "*.db.{ns}.svc.cluster.local", why: notOwn("*.db.{ns}.svc.cluster.local")},
		"a variable":            {key: "dns-names", value: "${POD_NAME}.db.{ns}.svc", why: item("${POD_NAME}.db.{ns}.svc", mustBeDNS)},
		"hostname, subdomain":   {change: asIf(map[string]string{"app": "mallory"}), services: nil},
		"no Service of its own": {change: asIf(map[string]string{"app": "nobody"}), services: []string{"db-1"}},
		"the label of an index": {change: asIf(map[string]string{"app": "nobody", "apps.kubernetes.io/pod-index": "0",
			"statefulset.kubernetes.io/pod-name": "db-0"}), services: []string{"db-1"}},
		"dots in the pod's name": {change: func(pod *corev1.Pod) { pod.Name = "db-0.db.{ns}.svc.cluster.local" }},
	}
}

// bare makes it a pod of that name which no Service selects.
func bare(name string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Name, pod.Labels = name, map[string]string{"app": "nobody"} }
}
