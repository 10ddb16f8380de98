package injector_test

import (
	stdjson "encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

func TestVariables(t *testing.T) {
	t.Parallel()
	profiles := map[intent.EnvProfile]bool{}
	names := map[string]bool{}
	for _, v := range injector.Variables() {
		profiles[v.Profile] = true
		assert.False(t, names[v.Name], "%s stands twice", v.Name)
		names[v.Name] = true
		assert.Regexp(t, `^[A-Z][A-Z0-9_]+$`, v.Name)
		assert.NotEmpty(t, v.Value, v.Name)
		assert.Regexp(t, `^[A-Z].*\.$`, v.Help, v.Name)
		assert.Contains(t, []intent.Role{intent.RoleServer, intent.RoleClient, intent.RoleBoth}, v.Role, v.Name)
	}
	for _, key := range intent.Keys() {
		if key.Name != "env" {
			continue
		}
		for _, profile := range key.Values {
			assert.True(t, profiles[intent.EnvProfile(profile)] || profile == string(intent.EnvNone), "profile %s has no variables", profile)
		}
		assert.Len(t, key.Values, len(profiles)+1)
		return
	}
	t.Error("the annotation env is gone")
}

// TestVariablesAreInjected holds the documentation's table against a pod that asks for all.
func TestVariablesAreInjected(t *testing.T) {
	t.Parallel()
	for _, role := range []intent.Role{intent.RoleServer, intent.RoleClient, intent.RoleBoth} {
		raw := readPod(t, "bare", map[string]string{"role": string(role), "env": "aws,mtls,openssl,curl,python,node,grpc,postgres"})
		in := resolve(t, defaults(), decode(t, raw))
		result := injector.Patch(decode(t, raw), in)
		got := map[string]string{}
		for _, e := range strictly(t, apply(t, raw, &result)).Spec.Containers[0].Env {
			got[e.Name] = e.Value
		}
		want := map[string]string{}
		for _, v := range injector.Variables() {
			if v.Role == intent.RoleBoth || role == intent.RoleBoth || v.Role == role {
				want[v.Name] = v.Value
			}
		}
		want["MTLS_ROLE"], want["MTLS_SPIFFE_ID"] = string(role), "spiffe://cluster.local/ns/shop/sa/default"
		assert.Equal(t, want, got, role)
	}
}

// TestStatus pins that others can decode the annotation, and that its bytes are those of
// encoding/json.
func TestStatus(t *testing.T) {
	t.Parallel()
	full := injector.Status{
		Version: "v1.0.0", Role: intent.RoleServer, Workload: "Deployment/web",
		SPIFFE:     "spiffe://cluster.local/ns/shop/sa/web",
		DNS:        []string{"web", "web.shop", "web.shop.svc", "web.shop.svc.cluster.local"},
		Issuer:     "ClusterIssuer/mtls-ca",
		Delivery:   intent.DeliverySecret,
		Companion:  "web-mtls",
		Containers: []string{"migrate", "app"},
		Undo:       injector.Undo{Env: []intent.EnvProfile{intent.EnvMTLS}, PreStopSeconds: 10},
	}
	least := full
	least.Undo.PreStopSeconds = 0
	least.Role, least.DNS, least.Delivery, least.Companion = intent.RoleClient, nil, intent.DeliveryCSI, ""
	headless := full
	headless.Workload, headless.SPIFFE, headless.Companion = "StatefulSet/db", "spiffe://cluster.local/ns/shop/sa/db", "db-mtls-statefulset"
	headless.DNS = []string{"db", "db.shop", "db.shop.svc", "db.shop.svc.cluster.local", "*.db.shop.svc.cluster.local"}
	headless.Containers = []string{"prepare", "backup", "db"}
	perPod := headless
	perPod.Delivery = intent.DeliveryCSI
	perPod.DNS = append(append([]string{}, headless.DNS[:4]...), "${POD_NAME}.db.shop.svc.cluster.local")
	cases := map[string]struct {
		pod         string
		annotations map[string]string
		want        injector.Status
	}{
		"everything":        {pod: "web", annotations: map[string]string{"role": "server", "delivery": "secret"}, want: full},
		"the least":         {pod: "web", annotations: map[string]string{"role": "client", "companion": "false"}, want: least},
		"names of a Secret": {pod: "sidecars", annotations: map[string]string{"role": "server", "delivery": "secret"}, want: headless},
		"names of a pod":    {pod: "sidecars", annotations: map[string]string{"role": "server"}, want: perPod},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw := readPod(t, c.pod, c.annotations)
			_, _, result := inject(t, c.pod, c.annotations)
			text := decode(t, apply(t, raw, &result)).Metadata.Annotations[intent.AnnotationStatus]
			var got injector.Status
			require.NoError(t, stdjson.Unmarshal([]byte(text), &got))
			assert.Regexp(t, "^[0-9a-f]{8} [0-9a-f]{8}$", strings.Join(got.Undo.Volumes, " "))
			c.want.Undo.Volumes = got.Undo.Volumes
			assert.Equal(t, c.want, got)
			usual, err := stdjson.Marshal(c.want)
			require.NoError(t, err)
			assert.Equal(t, string(usual), text)
		})
	}
}
