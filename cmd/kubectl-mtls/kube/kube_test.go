package kube

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

const configuration = "apiVersion: config.mtls.example.io/v1alpha1\nkind: InjectorConfiguration\ntrustDomain: shop.example\n"

// clusterWith is one with the objects, in which deny says what the user may not do: "list" or
// "get" and the type.
func clusterWith(t *testing.T, deny func(verb string, object any, namespace string) bool, objects ...client.Object) *Cluster {
	t.Helper()
	scheme, err := Scheme()
	require.NoError(t, err)
	forbidden := func(object any) error {
		resource := map[bool]string{true: "namespaces"}[isNamespace(object)]
		if resource == "" {
			resource = "configmaps"
		}
		return apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "", errors.New("no rule"))
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, o ...client.GetOption) error {
			if deny("get", object, key.Namespace) {
				return forbidden(object)
			}
			return c.Get(ctx, key, object, o...)
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, o ...client.ListOption) error {
			options := (&client.ListOptions{}).ApplyOptions(o)
			if deny("list", list, options.Namespace) {
				return forbidden(list)
			}
			return c.List(ctx, list, o...)
		},
	}).Build()
	return &Cluster{Client: c, Namespace: "shop", Gaps: &Gaps{}, flags: &Flags{}}
}

func isNamespace(object any) bool { _, ok := object.(*corev1.Namespace); return ok }

func nothing(string, any, string) bool    { return false }
func everything(string, any, string) bool { return true }

func configMap(namespace, name string, labels map[string]string, content string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels},
		Data:       map[string]string{"config.yaml": content},
	}
}

func TestConfiguration(t *testing.T) {
	ours := map[string]string{"app.kubernetes.io/name": "mtls-injector"}
	file := t.TempDir() + "/config.yaml"
	require.NoError(t, os.WriteFile(file, []byte(configuration), 0o600))
	onlyInAll := func(verb string, _ any, namespace string) bool { return verb == "list" && namespace == "" }
	for name, tc := range map[string]struct {
		deny    func(string, any, string) bool
		flags   Flags
		objects []client.Object
		source  string
		domain  string
		known   bool
		gaps    []string
	}{
		"by label": {nothing, Flags{}, []client.Object{
			configMap("pki", "inject", ours, configuration), configMap("pki", "dashboard", ours, "{}"),
			configMap("shop", "other", nil, configuration),
		}, "ConfigMap pki/inject", "shop.example", true, nil},
		"in the usual place, without the right to list": {onlyInAll, Flags{}, []client.Object{
			configMap("mtls-injector", "mtls-injector", ours, configuration),
		}, "ConfigMap mtls-injector/mtls-injector", "shop.example", true, nil},
		"in a namespace, under any name": {nothing, Flags{InjectorNamespace: "shop"}, []client.Object{
			configMap("pki", "inject", ours, configuration), configMap("shop", "other", nil, configuration), configMap("shop", "text", nil, "a: ["),
		}, "ConfigMap shop/other", "shop.example", true, nil},
		"from a file": {everything, Flags{ConfigFile: file}, nil, "file " + file, "shop.example", true, nil},
		"hidden": {everything, Flags{}, nil,
			"the built-in defaults, for you may not read the injector's configuration (--config names a copy)", "cluster.local", false,
			[]string{`get configmaps/mtls-injector in namespace "mtls-injector"`}},
		"hidden in a namespace": {everything, Flags{InjectorNamespace: "pki"}, nil,
			"the built-in defaults, for you may not read the injector's configuration (--config names a copy)", "cluster.local", false,
			[]string{`list configmaps in namespace "pki"`}},
		"not installed": {nothing, Flags{}, nil, "the built-in defaults, for no injector is installed", "cluster.local", false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := clusterWith(t, tc.deny, tc.objects...)
			c.flags = &tc.flags
			got, err := c.Configuration(t.Context())
			require.NoError(t, err)
			assert.Equal(t, tc.source, got.Source)
			assert.Equal(t, tc.domain, got.Defaults.TrustDomain)
			assert.Equal(t, tc.known, got.Known)
			assert.Equal(t, tc.gaps, rules(c.Gaps))
		})
	}
}

func rules(gaps *Gaps) []string {
	var rules []string
	for _, gap := range gaps.List() {
		rules = append(rules, gap.Rule())
	}
	return rules
}

func TestConfigurationThatIsNotClear(t *testing.T) {
	ours := map[string]string{"app.kubernetes.io/name": "mtls-injector"}
	c := clusterWith(t, nothing, configMap("a", "one", ours, configuration), configMap("b", "two", ours, configuration))
	_, err := c.Configuration(t.Context())
	require.EqualError(t, err, "there are several injectors: in a/one and b/two; say which with --injector-namespace")

	c = clusterWith(t, nothing, configMap("a", "one", ours, configuration+"nonsense: 1\n"))
	_, err = c.Configuration(t.Context())
	require.ErrorContains(t, err, "ConfigMap a/one: nonsense: Forbidden: line 4: unknown field; known here: ")

	c = clusterWith(t, nothing)
	c.flags.ConfigFile = "testdata/none.yaml"
	_, err = c.Configuration(t.Context())
	require.EqualError(t, err, "configuration: open testdata/none.yaml: no such file or directory")
}

func TestAround(t *testing.T) {
	objects := []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"mtls-enabled": "true"}}},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "web"}},
	}
	c := clusterWith(t, nothing, objects...)
	known, err := c.Configuration(t.Context())
	require.NoError(t, err)
	s, err := c.Around(t.Context(), "shop")
	require.NoError(t, err)
	assert.Len(t, s.Services, 1)
	assert.True(t, s.ServicesKnown)
	optedIn, sure := s.OptedIn(known.Defaults)
	assert.True(t, optedIn)
	assert.True(t, sure)

	_, err = c.Around(t.Context(), "nowhere")
	require.EqualError(t, err, `namespace "nowhere" does not exist`)

	c = clusterWith(t, everything, objects...)
	s, err = c.Around(t.Context(), "shop")
	require.NoError(t, err)
	_, sure = s.OptedIn(known.Defaults)
	assert.False(t, sure)
	assert.False(t, s.ServicesKnown)
	var told bytes.Buffer
	require.NoError(t, c.Gaps.Print(&told))
	assert.Equal(t, `not known: whether namespace "shop" is opted in, and its annotations (you may not get namespaces/shop)
not known: which Services select the pods, and so their DNS names (you may not list configmaps in namespace "shop")
`, told.String())
}

func TestOtherErrorsAreErrors(t *testing.T) {
	c := clusterWith(t, nothing)
	_, err := c.answer(apierrors.NewGenericServerResponse(http.StatusBadGateway, "get", schema.GroupResource{}, "", "", 0, false), Gap{For: "who owns the pods"})
	require.ErrorContains(t, err, "who owns the pods: ")
}

func TestRules(t *testing.T) {
	for want, gap := range map[string]Gap{
		`get pods/web-0 in namespace "shop"`:                  {Verb: "get", Resource: "pods", Name: "web-0", Namespace: "shop"},
		"list certificates.cert-manager.io in all namespaces": {Verb: "list", Group: "cert-manager.io", Resource: "certificates"},
		"get clusterissuers.cert-manager.io/internal":         {Verb: "get", Group: "cert-manager.io", Resource: "clusterissuers", Name: "internal"},
	} {
		assert.Equal(t, want, gap.Rule())
	}
	gaps := &Gaps{}
	gaps.Add(Gap{Verb: "get"})
	gaps.Add(Gap{Verb: "get"})
	assert.Len(t, gaps.List(), 1)
}

func TestFlags(t *testing.T) {
	f := NewFlags()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	f.AddFlags(flags)
	kubeconfig := t.TempDir() + "/config"
	require.NoError(t, os.WriteFile(kubeconfig, []byte(`apiVersion: v1
kind: Config
clusters: [{name: a, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: a, user: {token: secret}}]
contexts: [{name: a, context: {cluster: a, user: a, namespace: shop}}, {name: b, context: {cluster: a, user: a}}]
current-context: b
`), 0o600))
	require.NoError(t, flags.Parse([]string{"--kubeconfig", kubeconfig, "--context", "a", "--as", "jane"}))
	c, err := f.Connect()
	require.NoError(t, err)
	assert.Equal(t, "shop", c.Namespace)
	assert.Equal(t, "https://127.0.0.1:1", c.Config.Host)
	assert.Equal(t, "jane", c.Config.Impersonate.UserName)

	f = NewFlags()
	*f.KubeConfig = kubeconfig + "-none"
	_, err = f.Connect()
	require.ErrorContains(t, err, "-none: no such file or directory")
}

func TestOutput(t *testing.T) {
	require.NoError(t, CheckOutput("", OutputJSON))
	require.NoError(t, CheckOutput("json", OutputWide, OutputJSON))
	require.EqualError(t, CheckOutput("xml", OutputWide, OutputJSON), `--output "xml": must be wide, json`)
	for output, want := range map[string]string{"json": "{\n    \"a\": \"<\"\n}\n", "yaml": "a: <\n"} {
		var out bytes.Buffer
		require.NoError(t, Print(&out, output, map[string]string{"a": "<"}))
		assert.Equal(t, want, out.String())
	}
}
