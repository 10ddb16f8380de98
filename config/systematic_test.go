package config_test

// Tests over every field of the file, and over random configurations.

import (
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"

	"example.io/mtls-injector/config"
	"example.io/mtls-injector/intent"
)

// fieldOf is one field of a YAML document, by its path.
type fieldOf struct {
	path   string
	parent *yaml.Node
	index  int // of the value in parent.Content
}

// fieldsOf returns all fields of the document except the header, those of rules in lists
// too. Selectors are fields as a whole.
func fieldsOf(document *yaml.Node) []fieldOf {
	var fields []fieldOf
	var walk func(n *yaml.Node, path string)
	walk = func(n *yaml.Node, path string) {
		switch n.Kind {
		case yaml.SequenceNode:
			for i, item := range n.Content {
				walk(item, fmt.Sprintf("%s[%d]", path, i))
			}
		case yaml.MappingNode:
			for i := 0; i < len(n.Content); i += 2 {
				name := n.Content[i].Value
				child := strings.TrimPrefix(path+"."+name, ".")
				if child != "apiVersion" && child != "kind" {
					fields = append(fields, fieldOf{child, n, i + 1})
				}
				if name != "namespaceSelector" { // a selector is one value, and its labels are nobody's fields
					walk(n.Content[i+1], child)
				}
			}
		}
	}
	walk(document.Content[0], "")
	return fields
}

// eachField calls test with every field of a file in turn, parsed anew.
func eachField(t *testing.T, file string, test func(t *testing.T, document *yaml.Node, field fieldOf)) {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	var first yaml.Node
	require.NoError(t, yaml.Unmarshal(data, &first))
	names := fieldsOf(&first)
	require.Greater(t, len(names), 40)
	for i := range names {
		t.Run(names[i].path, func(t *testing.T) {
			var document yaml.Node
			require.NoError(t, yaml.Unmarshal(data, &document))
			test(t, &document, fieldsOf(&document)[i])
		})
	}
}

func parse(t *testing.T, document *yaml.Node) (*intent.Defaults, error) {
	t.Helper()
	data, err := yaml.Marshal(document)
	require.NoError(t, err)
	return config.Parse(data)
}

// everyField is a file that has every field, those of all rules too.
const everyField = "testdata/rules.effective.yaml"

// TestEveryFieldHasAnExample: the tests below miss no field of the types.
func TestEveryFieldHasAnExample(t *testing.T) {
	data, err := os.ReadFile(everyField)
	require.NoError(t, err)
	var document yaml.Node
	require.NoError(t, yaml.Unmarshal(data, &document))
	index := regexp.MustCompile(`\[\d+\]`)
	shown := sets.New[string]()
	for _, field := range fieldsOf(&document) {
		shown.Insert(index.ReplaceAllString(field.path, ""))
	}
	assert.ElementsMatch(t, fieldsOfType(reflect.TypeFor[config.InjectorConfiguration](), ""), sets.List(shown))
}

// fieldsOfType returns the paths of all fields of a type but the header's.
func fieldsOfType(of reflect.Type, prefix string) []string {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct || of == reflect.TypeFor[metav1.LabelSelector]() {
		return nil
	}
	var paths []string
	for field := range of.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if path := prefix + name; path != "apiVersion" && path != "kind" {
			paths = append(append(paths, path), fieldsOfType(field.Type, path+".")...)
		}
	}
	return paths
}

func TestEveryFieldMayBeLeftOut(t *testing.T) {
	eachField(t, "testdata/defaults.yaml", func(t *testing.T, document *yaml.Node, field fieldOf) {
		t.Helper()
		if strings.HasSuffix(field.path, "].algorithm") {
			return // which a rule must have
		}
		want := intent.BuiltinDefaults()
		if field.path == "lifetimes.client.renewBefore" {
			want.Client.RenewBefore = want.Client.Duration / 3 // as the duration is there
		}
		field.parent.Content = append(field.parent.Content[:field.index-1], field.parent.Content[field.index+1:]...)
		got, err := parse(t, document)
		require.NoError(t, err)
		sameDefaults(t, want, got)
	})
}

func TestEveryFieldHasAType(t *testing.T) {
	eachField(t, everyField, func(t *testing.T, document *yaml.Node, field fieldOf) {
		t.Helper()
		wrong := &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{{Kind: yaml.MappingNode}}}
		if field.parent.Content[field.index].Kind == yaml.SequenceNode {
			wrong = &yaml.Node{Kind: yaml.MappingNode}
		}
		field.parent.Content[field.index] = wrong
		_, err := parse(t, document)
		require.Error(t, err)
		// Where several keys are possible, the size may not be one of the default's.
		assert.Regexp(t, `^\[?`+regexp.QuoteMeta(field.path)+`: Invalid value: line \d+: must be `, err.Error())
	})
}

func TestEveryFieldIsSpelledOneWay(t *testing.T) {
	eachField(t, everyField, func(t *testing.T, document *yaml.Node, field fieldOf) {
		t.Helper()
		name := field.parent.Content[field.index-1].Value
		field.parent.Content[field.index-1].Value = strings.ToUpper(name)
		_, err := parse(t, document)
		require.Error(t, err)
		assert.Regexp(t, regexp.QuoteMeta(strings.ToUpper(name))+`: Forbidden: line \d+: unknown field; did you mean "`+name+`"\?`, err.Error())
	})
}

// TestCommentedExamplesAreRight uncomments what example.yaml shows in comments.
func TestCommentedExamplesAreRight(t *testing.T) {
	data, err := os.ReadFile("example.yaml")
	require.NoError(t, err)
	shown := regexp.MustCompile(`(?m)^( *)# ((- |  ).*)$`)
	text := regexp.MustCompile(`(allowedIssuers|allow): \[\]`).ReplaceAllString(string(data), "$1:")
	require.Len(t, shown.FindAllString(text, -1), 34)
	got, err := config.Parse([]byte(shown.ReplaceAllString(text, "$1$2")))
	require.NoError(t, err)

	want := intent.BuiltinDefaults()
	want.AllowedIssuers = []intent.IssuerRule{{
		Namespaces: selector(t, "team=payments"), Name: "payments-*", Kind: "Issuer", Group: "cert-manager.io",
	}}
	want.AllowedNames = []intent.NameRule{{
		Namespaces:          selector(t, "kubernetes.io/metadata.name=gateway"),
		DNSNames:            []string{"www.example.com", "*.api.example.com"},
		URIs:                []string{"spiffe://partner.example/ns/gateway/*"},
		IPAddresses:         []string{"192.0.2.10", "2001:db8::10"},
		CommonNames:         []string{"Example Gateway"},
		Organizations:       []string{"Example Inc."},
		OrganizationalUnits: []string{"Edge"},
		Countries:           []string{"DE"},
		Provinces:           []string{"Bavaria"},
		Localities:          []string{"Munich"},
		StreetAddresses:     []string{"1 Example Street"},
		PostalCodes:         []string{"80331"},
		SerialNumbers:       []string{"1204"},
	}}
	sameDefaults(t, want, got)
}

func TestRandomDefaultsSurviveTheFile(t *testing.T) {
	for seed := range uint64(500) {
		want := randomDefaults(t, rand.New(rand.NewPCG(seed, 3)))
		encoded, err := config.Encode(want)
		require.NoError(t, err)
		got, err := config.Parse(encoded)
		require.NoError(t, err, "seed %d:\n%s", seed, encoded)
		sameDefaults(t, want, got)
	}
}

// pick returns one of the choices.
func pick[T any](random *rand.Rand, choices ...T) T { return choices[random.IntN(len(choices))] }

func randomDefaults(t *testing.T, random *rand.Rand) *intent.Defaults {
	t.Helper()
	d := intent.BuiltinDefaults()
	d.TrustDomain = pick(random, "cluster.local", "prod_1", "0")
	d.ClusterDomain = pick(random, "cluster.local", "k8s.example.com", "1.2")
	d.Issuer = intent.Issuer{Name: pick(random, "ca", "null", "1e3"), Kind: pick(random, "Issuer", "True"), Group: pick(random, "cert-manager.io", "a.b")}
	d.CABundle = pick(random,
		intent.Bundle{Kind: intent.BundleConfigMap, Name: "yes", Key: "0x1f"},
		intent.Bundle{Kind: intent.BundleClusterTrustBundle, Name: "example.org:ca:1", Key: "ca.crt"})
	d.Delivery = pick(random, intent.DeliveryCSI, intent.DeliverySecret)
	d.Companion = d.Delivery == intent.DeliverySecret || random.IntN(2) == 0
	d.Key = pick(random,
		intent.PrivateKey{Algorithm: cmapi.ECDSAKeyAlgorithm, Size: 384},
		intent.PrivateKey{Algorithm: cmapi.RSAKeyAlgorithm, Size: 2048 + random.IntN(6145)},
		intent.PrivateKey{Algorithm: cmapi.Ed25519KeyAlgorithm})
	d.AllowedKeys = pick(random, nil, d.AllowedKeys, []intent.KeyRule{
		{Algorithm: cmapi.Ed25519KeyAlgorithm}, {Algorithm: cmapi.RSAKeyAlgorithm, MinSize: 2048 + random.IntN(1000), MaxSize: 4096},
	})
	d.Guard, d.Workloads = pick(random, intent.Modes()...), pick(random, intent.Modes()...)
	d.WorkloadNames = random.IntN(2) == 0
	d.MinDuration = time.Hour + time.Duration(random.IntN(10000))*time.Second
	d.MaxDuration = d.MinDuration + time.Duration(random.IntN(100000))*time.Second
	for _, life := range []*intent.Lifetime{&d.Server, &d.Client, &d.Both} {
		life.Duration = d.MinDuration + time.Duration(random.Int64N(int64(d.MaxDuration-d.MinDuration)+1)).Truncate(time.Second)
		life.RenewBefore = 5*time.Minute + time.Duration(random.Int64N(int64(life.Duration-5*time.Minute))).Truncate(time.Second)
	}
	d.ExcludeContainers = pick(random, nil, []string{"on"}, []string{"a", "0b1", "null"})
	d.Env = pick(random, nil, []intent.EnvProfile{intent.EnvCurl}, []intent.EnvProfile{intent.EnvMTLS, intent.EnvAWS})
	d.PreStop = intent.PreStop{Seconds: random.Int64N(3601), Method: pick(random, intent.PreStopMethods()...)}
	d.Probes = pick(random, intent.ProbesKeep, intent.ProbesTCP)
	if d.Companion {
		d.Reload = pick(random, intent.ReloadNone, intent.ReloadRestart, intent.ReloadSignal)
	}
	d.Restart = intent.RestartPolicy{
		MaxConcurrentWorkloads: 1 + random.IntN(1000), Jitter: time.Duration(random.IntN(24*60*60+1)) * time.Second,
	}
	d.Agent = intent.AgentDefaults{
		Image: pick(random, "", "0x1f", "registry.example.com:5000/a/b:v1@sha256:00"), ImagePullPolicy: pick(random, corev1.PullAlways, corev1.PullNever),
		MetricsPort: pick(random, int64(0), 1024+random.Int64N(60000)), StartTimeout: time.Duration(10+random.IntN(3600)) * time.Second,
		Requests: intent.Quantities{CPU: pick(random, "", "1", "1e-2"), Memory: pick(random, "", "16Mi")},
		Limits:   intent.Quantities{EphemeralStorage: pick(random, "", "1Gi"), Memory: pick(random, "", "17Mi")},
	}
	selectors := []labels.Selector{
		labels.Everything(), selector(t, "a=b"), selector(t, "true=,x.y/z=1"), selector(t, "a in (b,c),d notin (e),f,!g"),
	}
	d.Namespaces = pick(random, selectors...)
	for i := range random.IntN(3) {
		d.AllowedIssuers = append(d.AllowedIssuers, intent.IssuerRule{
			Namespaces: pick(random, selectors...), Name: pick(random, "*", "team-[a-z]", "?"), Kind: "Issuer", Group: fmt.Sprintf("g%d", i),
		})
		d.AllowedNames = append(d.AllowedNames, randomGrant(random, pick(random, selectors...)))
	}
	return d
}

func randomGrant(random *rand.Rand, namespaces labels.Selector) intent.NameRule {
	texts := func() []string {
		return pick(random, nil, []string{"Ünïcode: #1", "- x"}, []string{"null", "1e3", "0x1f"}, []string{"no"})
	}
	return intent.NameRule{
		Namespaces: namespaces, DNSNames: pick(random, []string{"a"}, []string{"*.b.c", "b.c"}),
		URIs:        pick(random, nil, []string{"urn:a:*", `https://[a-c]\*?#:`}, []string{"spiffe://other/[^x]"}),
		IPAddresses: pick(random, nil, []string{"::", "1.2.3.4"}, []string{"fe80::1:0:0:1"}),
		CommonNames: texts(), Organizations: texts(), OrganizationalUnits: texts(), Countries: texts(), Provinces: texts(),
		Localities: texts(), StreetAddresses: texts(), PostalCodes: texts(), SerialNumbers: texts(),
	}
}
