package config_test

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/labels"

	"example.io/mtls-injector/config"
	"example.io/mtls-injector/intent"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const header = "apiVersion: config.mtls.example.io/v1alpha1\nkind: InjectorConfiguration\n"

// sameDefaults compares selectors by what they select, and nil lists with empty ones.
func sameDefaults(t *testing.T, want, got *intent.Defaults) {
	t.Helper()
	isSelector := func(p cmp.Path) bool { return p.Last().Type() == reflect.TypeFor[labels.Selector]() }
	selectors := cmp.FilterPath(isSelector, cmp.Comparer(func(a, b labels.Selector) bool { return a.String() == b.String() }))
	lists := cmp.FilterPath(func(p cmp.Path) bool { return !isSelector(p) }, cmpopts.EquateEmpty())
	if diff := cmp.Diff(want, got, selectors, lists); diff != "" {
		t.Errorf("defaults differ, want -, got +:\n%s", diff)
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(got), "rewrite %s with -update", path)
}

func selector(t *testing.T, text string) labels.Selector {
	t.Helper()
	s, err := labels.Parse(text)
	require.NoError(t, err)
	return s
}

func TestExampleHoldsExactlyTheDefaults(t *testing.T) {
	got, err := config.Load("example.yaml")
	require.NoError(t, err)
	sameDefaults(t, intent.BuiltinDefaults(), got)
}

func TestExampleNamesEveryField(t *testing.T) {
	// Without comments the example is what Encode writes: no field is left undocumented.
	example, err := config.Load("example.yaml")
	require.NoError(t, err)
	encoded, err := config.Encode(example)
	require.NoError(t, err)
	golden(t, "defaults.yaml", encoded)
	assert.Equal(t, keys(t, "testdata/defaults.yaml"), keys(t, "example.yaml"))
}

func TestNoPathGivesTheDefaults(t *testing.T) {
	got, err := config.Load("")
	require.NoError(t, err)
	sameDefaults(t, intent.BuiltinDefaults(), got)
}

func TestLoadNamesTheFile(t *testing.T) {
	folder := t.TempDir()
	missing := filepath.Join(folder, "missing.yaml")
	_, err := config.Load(missing)
	require.EqualError(t, err, "configuration: open "+missing+": no such file or directory")

	wrong := filepath.Join(folder, "wrong.yaml")
	require.NoError(t, os.WriteFile(wrong, []byte(header+"companion: maybe\n"), 0o600))
	_, err = config.Load(wrong)
	require.EqualError(t, err, "configuration "+wrong+`: companion: Invalid value: "maybe": line 3: must be true or false`)
}

// parsed is the rest of a file, behind the header, and what it changes of the defaults.
type parsed struct {
	yaml string
	want func(t *testing.T, d *intent.Defaults)
}

func (p *parsed) check(t *testing.T) {
	t.Helper()
	file := header + p.yaml
	if strings.HasPrefix(p.yaml, "{") {
		file = p.yaml
	}
	got, err := config.Parse([]byte(file))
	require.NoError(t, err)
	want := intent.BuiltinDefaults()
	p.want(t, want)
	sameDefaults(t, want, got)
}

func TestParse(t *testing.T) {
	for name, test := range map[string]parsed{
		"header only": {
			yaml: "",
			want: func(*testing.T, *intent.Defaults) {},
		},
		"null keeps the default": {
			yaml: "issuer:\ncontainers: {exclude: null}\nenv: ~\ncompanion:\nlifetimes: {server: {duration: null}}\n",
			want: func(*testing.T, *intent.Defaults) {},
		},
		"domains": {
			yaml: "trustDomain: prod_1.example.org\nclusterDomain: k8s.example.org\n",
			want: func(_ *testing.T, d *intent.Defaults) {
				d.TrustDomain, d.ClusterDomain = "prod_1.example.org", "k8s.example.org"
			},
		},
		"opted in by another label": {
			yaml: "namespaceSelector: {matchExpressions: [{key: mesh, operator: DoesNotExist}]}\n",
			want: func(t *testing.T, d *intent.Defaults) {
				t.Helper()
				d.Namespaces = selector(t, "!mesh")
			},
		},
		"every namespace opted in": {
			yaml: "namespaceSelector: {}\n",
			want: func(_ *testing.T, d *intent.Defaults) { d.Namespaces = labels.Everything() },
		},
		"part of the issuer": {
			yaml: "issuer: {name: vault}\n",
			want: func(_ *testing.T, d *intent.Defaults) { d.Issuer.Name = "vault" },
		},
		"external issuer": {
			yaml: "issuer: {name: ca, kind: AWSPCAClusterIssuer, group: awspca.cert-manager.io}\n",
			want: func(_ *testing.T, d *intent.Defaults) {
				d.Issuer = intent.Issuer{Name: "ca", Kind: "AWSPCAClusterIssuer", Group: "awspca.cert-manager.io"}
			},
		},
		"issuer rules": {
			yaml: `allowedIssuers:
- namespaceSelector: {}
  name: shared
  kind: ClusterIssuer
- namespaceSelector:
    matchLabels: {team: payments}
    matchExpressions:
    - {key: stage, operator: In, values: [prod, test]}
    - {key: legacy, operator: DoesNotExist}
  name: payments-*
  kind: Issuer
  group: example.org
`,
			want: func(t *testing.T, d *intent.Defaults) {
				t.Helper()
				d.AllowedIssuers = []intent.IssuerRule{
					{Namespaces: labels.Everything(), Name: "shared", Kind: "ClusterIssuer", Group: "cert-manager.io"},
					{Namespaces: selector(t, "team=payments,stage in (prod,test),!legacy"), Name: "payments-*", Kind: "Issuer", Group: "example.org"},
				}
			},
		},
		"cluster trust bundle of a signer": {
			yaml: "caBundle: {kind: ClusterTrustBundle, name: \"example.org:ca:main\"}\n",
			want: func(_ *testing.T, d *intent.Defaults) {
				d.CABundle.Kind, d.CABundle.Name = intent.BundleClusterTrustBundle, "example.org:ca:main"
			},
		},
		"RSA has a size of its own": {
			yaml: "privateKey: {algorithm: RSA}\n",
			want: func(_ *testing.T, d *intent.Defaults) {
				d.Key = intent.PrivateKey{Algorithm: cmapi.RSAKeyAlgorithm, Size: 2048}
			},
		},
		"Ed25519 has no size": {
			yaml: "privateKey: {algorithm: Ed25519}\n",
			want: func(_ *testing.T, d *intent.Defaults) {
				d.Key = intent.PrivateKey{Algorithm: cmapi.Ed25519KeyAlgorithm}
			},
		},
		"ECDSA of another size": {
			yaml: "privateKey: {size: 521}\n",
			want: func(_ *testing.T, d *intent.Defaults) { d.Key.Size = 521 },
		},
		"a third of the duration is left for renewal": {
			yaml: "lifetimes: {server: {duration: 100h}}\n",
			want: func(_ *testing.T, d *intent.Defaults) {
				d.Server = intent.Lifetime{Duration: 100 * time.Hour, RenewBefore: 33*time.Hour + 20*time.Minute}
			},
		},
		"renewal alone": {
			yaml: "lifetimes: {client: {renewBefore: 90m}}\n",
			want: func(_ *testing.T, d *intent.Defaults) { d.Client.RenewBefore = 90 * time.Minute },
		},
		"bounds": {
			yaml: "lifetimes: {min: 2h, max: 87600h, both: {duration: 43800h, renewBefore: 5m}}\n",
			want: func(_ *testing.T, d *intent.Defaults) {
				d.MinDuration, d.MaxDuration = 2*time.Hour, 87600*time.Hour
				d.Both = intent.Lifetime{Duration: 43800 * time.Hour, RenewBefore: 5 * time.Minute}
			},
		},
		"as long as allowed": {
			yaml: "lifetimes: {both: {duration: 8760h}, client: {duration: 1h, renewBefore: 5m}}\n",
			want: func(_ *testing.T, d *intent.Defaults) {
				d.Both = intent.Lifetime{Duration: 8760 * time.Hour, RenewBefore: 2920 * time.Hour}
				d.Client = intent.Lifetime{Duration: time.Hour, RenewBefore: 5 * time.Minute}
			},
		},
		"lists replace": {
			yaml: "containers: {exclude: [envoy]}\nenv: [curl, mtls]\n",
			want: func(_ *testing.T, d *intent.Defaults) {
				d.ExcludeContainers = []string{"envoy"}
				d.Env = []intent.EnvProfile{intent.EnvCurl, intent.EnvMTLS}
			},
		},
		"nothing excluded, no variables": {
			yaml: "containers: {exclude: []}\nenv: [none]\n",
			want: func(_ *testing.T, d *intent.Defaults) { d.ExcludeContainers, d.Env = nil, nil },
		},
		"the rest": {
			yaml: "delivery: secret\npreStop: {seconds: 0, method: exec}\nprobes: tcp\nreload: restart\n",
			want: func(_ *testing.T, d *intent.Defaults) {
				d.Delivery, d.Probes, d.Reload = intent.DeliverySecret, intent.ProbesTCP, intent.ReloadRestart
				d.PreStop = intent.PreStop{Method: intent.PreStopExec}
			},
		},
		"restarts": {
			yaml: "restart: {maxConcurrentWorkloads: 1, jitter: 0s}\n",
			want: func(_ *testing.T, d *intent.Defaults) { d.Restart = intent.RestartPolicy{MaxConcurrentWorkloads: 1} },
		},
		"restarts, part of it": {
			yaml: "restart: {jitter: 24h}\n",
			want: func(_ *testing.T, d *intent.Defaults) { d.Restart.Jitter = 24 * time.Hour },
		},
		"no companion": {
			yaml: "companion: false\n",
			want: func(_ *testing.T, d *intent.Defaults) { d.Companion = false },
		},
		"separators and comments around the document": {
			yaml: "...\n---\n# nothing\n---\n",
			want: func(*testing.T, *intent.Defaults) {},
		},
		"JSON is YAML": {
			yaml: `{"apiVersion": "config.mtls.example.io/v1alpha1", "kind": "InjectorConfiguration", "companion": false}`,
			want: func(_ *testing.T, d *intent.Defaults) { d.Companion = false },
		},
	} {
		t.Run(name, test.check)
	}
}

func TestParsedDefaultsAreNotShared(t *testing.T) {
	first, err := config.Parse([]byte(header))
	require.NoError(t, err)
	first.ExcludeContainers[0], first.Env[0] = "changed", "changed"
	first.AllowedKeys[0].MinSize = 521
	second, err := config.Parse([]byte(header))
	require.NoError(t, err)
	sameDefaults(t, intent.BuiltinDefaults(), second)
}

func TestEncodeRefusesWhatNoFileCanSay(t *testing.T) {
	for name, test := range map[string]struct {
		change func(d *intent.Defaults)
		want   string
	}{
		"a selector of nothing": {
			change: func(d *intent.Defaults) { d.AllowedNames = []intent.NameRule{{Namespaces: labels.Nothing()}} },
			want:   "identity.allow[0].namespaceSelector: a selector that selects nothing has no written form",
		},
		"an operator that label selectors lack": {
			change: func(d *intent.Defaults) {
				d.AllowedIssuers = []intent.IssuerRule{{Namespaces: selector(t, "tier>3")}}
			},
			want: `allowedIssuers[0].namespaceSelector: operator "gt" has no written form`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := intent.BuiltinDefaults()
			test.change(d)
			_, err := config.Encode(d)
			require.EqualError(t, err, test.want)
		})
	}
}
