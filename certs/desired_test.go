package certs

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"example.io/mtls-injector/intent"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const namespace = "shop"

// annotated returns a living injected pod with annotations under the prefix.
func annotated(name string, annotations map[string]string, owners ...metav1.OwnerReference) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: namespace, UID: types.UID("uid-of-" + name),
			Labels:          map[string]string{intent.LabelInjected: "true", "app": "web"},
			OwnerReferences: owners,
		},
		Spec:   corev1.PodSpec{ServiceAccountName: "web", Containers: []corev1.Container{{Name: "app"}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	for key, value := range annotations {
		metav1.SetMetaDataAnnotation(&pod.ObjectMeta, intent.Prefix+key, value)
	}
	return pod
}

// controlledBy is a controller reference.
func controlledBy(apiVersion, kind, name string) metav1.OwnerReference {
	return metav1.OwnerReference{
		APIVersion: apiVersion, Kind: kind, Name: name, UID: types.UID("uid-of-" + name), Controller: new(true), BlockOwnerDeletion: new(true),
	}
}

// deployed returns a pod of the Deployment "web".
func deployed(name, hash string, annotations map[string]string) *corev1.Pod {
	pod := annotated(name, annotations, controlledBy("apps/v1", "ReplicaSet", "web-"+hash))
	pod.Labels["pod-template-hash"] = hash
	return pod
}

func resolved(t *testing.T, pod *corev1.Pod, services ...intent.Service) *intent.Intent {
	t.Helper()
	ns := intent.Namespace{Name: namespace, Labels: map[string]string{"team": "shop"}}
	result := intent.Resolve(defaultsWithGrants(), &ns, intent.PodOf(pod), services)
	require.Empty(t, result.Errors)
	require.NotNil(t, result.Intent, "skipped: %s", result.Skip)
	return result.Intent
}

func defaultsWithGrants() *intent.Defaults {
	d := intent.BuiltinDefaults()
	d.AllowedNames = []intent.NameRule{{Namespaces: everything(), Organizations: []string{"Shop", "Example"}, OrganizationalUnits: []string{"Checkout"}}}
	d.AllowedIssuers = []intent.IssuerRule{{Namespaces: everything(), Name: "*", Kind: "AWSPCAIssuer", Group: "awspca.cert-manager.io"}}
	return d
}

func TestDesired(t *testing.T) {
	web := intent.Service{Name: "web", Selector: map[string]string{"app": "web"}}
	headless := intent.Service{Name: "db", Selector: map[string]string{"app": "web"}, Headless: true}
	for name, test := range map[string]struct {
		pod      *corev1.Pod
		services []intent.Service
	}{
		"server":     {deployed("web-5d9-a", "5d9", map[string]string{"role": "server"}), []intent.Service{web}},
		"client":     {annotated("call", map[string]string{"role": "client"}, controlledBy("batch/v1", "Job", "call")), nil},
		"both":       {deployed("web-5d9-a", "5d9", map[string]string{"role": "both"}), []intent.Service{web}},
		"no-service": {deployed("web-5d9-a", "5d9", map[string]string{"role": "server"}), nil},
		"rsa":        {deployed("web-5d9-a", "5d9", map[string]string{"role": "server", "key-algorithm": "RSA", "key-size": "4096"}), []intent.Service{web}},
		"ed25519":    {deployed("web-5d9-a", "5d9", map[string]string{"role": "client", "key-algorithm": "ed25519"}), nil},
		"subject": {deployed("web-5d9-a", "5d9", map[string]string{
			"role": "server", "organizations": "Shop, Example", "organizational-units": "Checkout", "common-name": "web",
		}), []intent.Service{web}},
		"headless":        {annotated("db-0", map[string]string{"role": "both"}, controlledBy("apps/v1", "StatefulSet", "db")), []intent.Service{headless, web}},
		"secret":          {deployed("web-5d9-a", "5d9", map[string]string{"role": "server", "delivery": "secret"}), []intent.Service{web}},
		"external-issuer": {deployed("web-5d9-a", "5d9", map[string]string{"role": "client", "issuer": "pca", "issuer-kind": "AWSPCAIssuer", "issuer-group": "awspca.cert-manager.io"}), nil},
		"lifetime":        {deployed("web-5d9-a", "5d9", map[string]string{"role": "client", "duration": "24h", "renew-before": "90m"}), nil},
		"cronjob":         {annotated("tidy-29000000-x", map[string]string{"role": "client"}, controlledBy("batch/v1", "Job", "tidy-29000000")), nil},
		"bare-pod":        {annotated("alone", map[string]string{"role": "client"}), nil},
		"custom-owner":    {annotated("spark-1", map[string]string{"role": "client"}, controlledBy("sparkoperator.k8s.io/v1beta2", "SparkApplication", "spark")), nil},
		"long-name": {annotated("x", map[string]string{"role": "client"},
			controlledBy("apps/v1", "StatefulSet", strings.Repeat("long-name.", 25)+"db")), nil},
	} {
		t.Run(name, func(t *testing.T) {
			desired := Desired(resolved(t, test.pod, test.services...))
			for key, value := range desired.Labels {
				assert.Empty(t, validation.IsValidLabelValue(value), key)
			}
			apply, err := applyConfiguration(desired)
			require.NoError(t, err)
			got, err := yaml.Marshal(apply)
			require.NoError(t, err)
			golden(t, filepath.Join("desired", name+".yaml"), got)
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(got), "rewrite %s with -update", path)
}

func TestDesiredSharesNothingThatChanges(t *testing.T) {
	in := resolved(t, deployed("web-5d9-a", "5d9", map[string]string{"role": "server"}))
	first := Desired(in)
	first.Labels[LabelRole] = "changed"
	assert.Equal(t, "server", first.Spec.SecretTemplate.Labels[LabelRole])
	assert.Equal(t, "server", Desired(in).Labels[LabelRole])
}

func TestLabelValueKeepsDifferentNamesDifferent(t *testing.T) {
	short := strings.Repeat("a", 63)
	assert.Equal(t, short, labelValue(short))
	long := strings.Repeat("a", 64)
	assert.Equal(t, strings.Repeat("a", 54)+"-ffe054fe", labelValue(long))
	assert.NotEqual(t, labelValue(long+"a"), labelValue(long+"b"))
	assert.Equal(t, strings.Repeat("a", 53)+"-6adc8321", labelValue(strings.Repeat("a", 53)+"."+strings.Repeat("b", 30)))
}

// FuzzLabelValue: the label of every possible workload name is a valid one.
func FuzzLabelValue(f *testing.F) {
	f.Add("web")
	f.Add(strings.Repeat("a-b.", 60) + "c")
	f.Fuzz(func(t *testing.T, name string) {
		if len(validation.IsDNS1123Subdomain(name)) > 0 {
			return
		}
		if problems := validation.IsValidLabelValue(labelValue(name)); len(problems) > 0 {
			t.Fatalf("%q: %v", name, problems)
		}
	})
}
