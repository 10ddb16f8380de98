package intent_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/intent"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden is an Intent as its file shows it: durations in words.
type golden struct {
	*intent.Intent

	Lifetime struct{ Duration, RenewBefore string }
}

// TestWhatAPodGets holds the design's table as files, one for each role. The pod stands
// behind a Service and a headless one and has nothing but its role. Run it with -update
// to rewrite them.
func TestWhatAPodGets(t *testing.T) {
	for _, role := range []intent.Role{intent.RoleServer, intent.RoleClient, intent.RoleBoth} {
		t.Run(string(role), func(t *testing.T) {
			services := []intent.Service{webService(), headless("web-peers", "web"), service("db", "db")}
			result := intent.Resolve(intent.BuiltinDefaults(), newNamespace(), newPod("role", string(role)), services)
			shown := golden{Intent: mustIntent(t, result)}
			shown.Lifetime.Duration = intent.ShortDuration(shown.Intent.Lifetime.Duration)
			shown.Lifetime.RenewBefore = intent.ShortDuration(shown.Intent.Lifetime.RenewBefore)
			assert.Empty(t, result.Warnings)

			got, err := json.MarshalIndent(shown, "", "  ")
			require.NoError(t, err)
			compare(t, filepath.Join("testdata", "intent-"+string(role)+".json"), string(got)+"\n")
		})
	}
}

// compare compares with a golden file, or writes it with -update.
func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: wanted -, got +:\n%s", file, diff)
	}
}

func TestRoles(t *testing.T) {
	for role, want := range map[intent.Role][2]bool{
		intent.RoleServer: {true, false}, intent.RoleClient: {false, true}, intent.RoleBoth: {true, true}, intent.RoleNone: {false, false}, "": {false, false},
	} {
		got := [2]bool{role.IsServer(), role.IsClient()}
		assert.Equal(t, want, got, "%q", role)
	}
}

func TestIssuerString(t *testing.T) {
	for want, issuer := range map[string]intent.Issuer{
		"ClusterIssuer/ca":                     {Name: "ca", Kind: "ClusterIssuer", Group: "cert-manager.io"},
		"Issuer/ca":                            {Name: "ca", Kind: "Issuer"},
		"AWSPCAIssuer.awspca.cert-manager.io/": {Kind: "AWSPCAIssuer", Group: "awspca.cert-manager.io"},
	} {
		assert.Equal(t, want, issuer.String())
	}
}

func TestSelectionIncludes(t *testing.T) {
	for name, c := range map[string]struct {
		selection intent.Selection
		container string
		want      bool
	}{
		"all":                       {intent.Selection{}, "app", true},
		"excluded":                  {intent.Selection{Exclude: []string{"proxy"}}, "proxy", false},
		"not excluded":              {intent.Selection{Exclude: []string{"proxy"}}, "app", true},
		"wanted":                    {intent.Selection{Only: []string{"app"}}, "app", true},
		"not wanted":                {intent.Selection{Only: []string{"app"}}, "other", false},
		"wanted more than excluded": {intent.Selection{Only: []string{"proxy"}, Exclude: []string{"proxy"}}, "proxy", true},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, c.want, c.selection.Includes(c.container))
		})
	}
}

// TestPerPodNamesLeaveTheSharedOnesAlone even where the slice has room behind its end.
func TestPerPodNamesLeaveTheSharedOnesAlone(t *testing.T) {
	backing := []string{"web", "kept"}
	id := intent.Identity{DNSNames: backing[:1], PerPodDomains: []string{"web.shop.svc.cluster.local"}}
	assert.Equal(t, []string{"web", "${POD_NAME}.web.shop.svc.cluster.local"}, id.PodDNSNames())
	assert.Equal(t, []string{"web", "*.web.shop.svc.cluster.local"}, id.CompanionDNSNames())
	assert.Equal(t, []string{"web", "kept"}, backing)

	id.PerPodDomains = nil
	assert.Equal(t, id.DNSNames, id.PodDNSNames())
	assert.Equal(t, id.DNSNames, id.CompanionDNSNames())
}
