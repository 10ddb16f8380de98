package webhook

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestServicesThatComeLater: a Deployment and its Services are written together, in any order.
func TestServicesThatComeLater(t *testing.T) {
	without := surroundings(nil)
	without.Services = services()[1:]
	const later = "pods will be refused until the Service exists and selects them: "
	problem := func(key, value, detail string) string {
		return "spec.template.metadata.annotations[mtls.example.io/" + key + `]: Invalid value: "` + value + `": ` + detail
	}
	noService := func(value, name, hint string) string {
		return problem("service", value, `Service "`+name+`" does not exist in namespace "shop" or its selector does not match the pod's labels`+hint)
	}
	claim := func(name, hint string) string {
		return problem("dns-names", name, `the pod may not claim "`+name+`": it is neither a name of a Service that selects the pod, nor of its workload, `+
			`nor granted to namespace "shop" by the configuration (identity.allow); `+hint)
	}
	for name, tt := range map[string]struct {
		annotations  string
		cached, live Surroundings
		lives        int64
		// refused is empty when the workload is not; warned is the one warning.
		refused, warned string
	}{
		"there":         {"mtls.example.io/service: cart", surroundings(nil), surroundings(nil), 0, "", ""},
		"just made":     {"mtls.example.io/service: cart", without, surroundings(nil), 1, "", ""},
		"yet to come":   {"mtls.example.io/service: cart", without, without, 1, "", later + noService("cart", "cart", "; no Service selects this pod")},
		"just deleted":  {"mtls.example.io/service: cart", surroundings(nil), without, 0, "", ""},
		"of other pods": {"mtls.example.io/service: db", surroundings(nil), surroundings(nil), 1, noService("db", "db", "; allowed: cart"), ""},
		"of a typo": {"mtls.example.io/service: carts", surroundings(nil), surroundings(nil), 1, "",
			later + noService("carts", "carts", `; did you mean "cart"?; allowed: cart`)},
		"by its DNS name": {"mtls.example.io/dns-names: front.shop.svc", surroundings(nil), surroundings(nil), 1, "",
			later + claim("front.shop.svc", `it is the pod's own once Service "front" exists and selects it`)},
		"by the common name": {"mtls.example.io/service: front, mtls.example.io/common-name: front.shop.svc", surroundings(nil), surroundings(nil), 1, "",
			later + noService("front", "front", "; allowed: cart") + "|" + later + problem("common-name", "front.shop.svc",
				`must be one of the certificate's DNS names or granted to namespace "shop" by the configuration (identity.allow)`)},
		"one to come, one of others": {"mtls.example.io/service: 'front,db'", surroundings(nil), surroundings(nil), 1,
			noService("front,db", "db", "; allowed: cart, front"), later + noService("front,db", "front", "; allowed: cart")},
		"to come, and a mistake": {"mtls.example.io/service: front, mtls.example.io/delivery: pigeon", surroundings(nil), surroundings(nil), 1,
			problem("delivery", "pigeon", "must be one of csi, secret"), later + noService("front", "front", "; allowed: cart")},
		"of another namespace": {"mtls.example.io/dns-names: cart.bank.svc", surroundings(nil), surroundings(nil), 1,
			claim("cart.bank.svc", `it is a name of namespace "bank"`), ""},
	} {
		t.Run(name, func(t *testing.T) {
			v := newValidated(t)
			source := &memory{cached: map[string]Surroundings{"shop": tt.cached}, live: map[string]Surroundings{"shop": tt.live}}
			v.source = source
			want := told{}
			if tt.refused != "" {
				want.refused = `Deployment.apps "cart" is invalid: ` + tt.refused
			}
			if tt.warned != "" {
				want.warnings = limitWarnings(strings.Split(tt.warned, "|"))
			}
			assert.Equal(t, want, written{object: deployment(server + ", " + tt.annotations)}.send(t, v.workloads()))
			assert.Equal(t, tt.lives, source.lives.Load())
		})
	}
}

// TestAwaitedServicesAndConflicts: what waits for its Service is looked at to the end.
func TestAwaitedServicesAndConflicts(t *testing.T) {
	object := strings.Replace(deployment(server+", mtls.example.io/service: front"), "registry.example.com/cart", "x, volumeMounts: [{name: v, mountPath: /etc/tls/server}]", 1)
	got := written{object: object}.send(t, newValidated(t).workloads())
	assert.Contains(t, got.refused, `Deployment.apps "cart" is invalid: spec.template.spec.containers[0].volumeMounts[0].mountPath: Invalid value: "/etc/tls/server"`)
	require.NotEmpty(t, got.warnings)
	assert.Contains(t, got.warnings[0], "pods will be refused until the Service exists and selects them: ")
}
