package charttest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"

	"example.io/mtls-injector/config"
	"example.io/mtls-injector/intent"
)

// TestLint: helm lint --strict has nothing to say, but that there is no icon.
func TestLint(t *testing.T) {
	for name, args := range variations(t) {
		t.Run(name, func(t *testing.T) {
			out, err := chart.Run(t.Context(), append([]string{"lint", "--strict", chart.Dir}, args...)...)
			require.NoError(t, err)
			assert.Equal(t, "==> Linting "+chart.Dir+"\n[INFO] Chart.yaml: icon is recommended\n\n1 chart(s) linted, 0 chart(s) failed\n", out)
		})
	}
}

// TestRenderTwice: nothing in the chart is random, dated or looked up, so a GitOps tool that
// renders again sees no drift. Nor is there a caBundle, which others own.
func TestRenderTwice(t *testing.T) {
	for name, args := range variations(t) {
		t.Run(name, func(t *testing.T) {
			first, err := chart.Manifests(t.Context(), args...)
			require.NoError(t, err)
			again, err := chart.Manifests(t.Context(), args...)
			require.NoError(t, err)
			assert.Equal(t, first, again)
			assert.NotContains(t, first, "caBundle: ")
			upgraded, err := chart.Manifests(t.Context(), append(args, "--is-upgrade")...)
			require.NoError(t, err)
			assert.Equal(t, first, upgraded, "an upgrade renders what an installation does")
		})
	}
}

// TestObjects: every object decodes into its type without a field that is not known, has the
// labels, and stands in the release's namespace if in any. The others' groups are their owners'
// to check.
func TestObjects(t *testing.T) {
	scheme := runtime.NewScheme()
	require.NoError(t, clientgoscheme.AddToScheme(scheme))
	require.NoError(t, cmapi.AddToScheme(scheme))
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	for name, args := range variations(t) {
		t.Run(name, func(t *testing.T) {
			seen := map[string]bool{}
			for _, object := range template(t, args...) {
				id := object.GetKind() + " " + object.GetNamespace() + "/" + object.GetName()
				assert.False(t, seen[id], "%s is there twice", id)
				seen[id] = true
				if strings.HasPrefix(object.GetName(), "as-") { // the extra objects of a variation
					continue
				}
				data, err := json.Marshal(object)
				require.NoError(t, err)
				if scheme.IsGroupRegistered(object.GroupVersionKind().Group) {
					_, _, err = decoder.Decode(data, nil, nil)
					assert.NoError(t, err, id)
				}
				assert.Equal(t, Release, object.GetLabels()["app.kubernetes.io/instance"], id)
				assert.Equal(t, "Helm", object.GetLabels()["app.kubernetes.io/managed-by"], id)
				assert.Contains(t, object.GetLabels(), "app.kubernetes.io/name", id)
				assert.Contains(t, object.GetLabels(), "app.kubernetes.io/version", id)
				assert.NotContains(t, string(data), `"status":`, id)
				if name == "everything" {
					assert.Equal(t, "platform", object.GetLabels()["team"], id)
				}
			}
		})
	}
}

// imageOf returns the image of the injector, which is the agent's as well, and when it is pulled.
func imageOf(t *testing.T, objects []*unstructured.Unstructured) (string, corev1.PullPolicy) {
	t.Helper()
	for _, object := range objects {
		if object.GetKind() == "Deployment" {
			deployment, err := Into[appsv1.Deployment](object)
			require.NoError(t, err)
			container := &deployment.Spec.Template.Spec.Containers[0]
			return container.Image, container.ImagePullPolicy
		}
	}
	require.Fail(t, "no Deployment")
	return "", ""
}

// TestConfiguration: the program reads the file that is rendered, and all of it has arrived.
func TestConfiguration(t *testing.T) {
	for name, args := range variations(t) {
		t.Run(name, func(t *testing.T) {
			objects := template(t, args...)
			var files []string
			for _, object := range objects {
				if object.GetKind() == "ConfigMap" {
					configMap, err := Into[corev1.ConfigMap](object)
					require.NoError(t, err)
					if text, ok := configMap.Data["config.yaml"]; ok {
						files = append(files, text)
					}
				}
			}
			require.Len(t, files, 1)
			got, err := config.Parse([]byte(files[0]))
			require.NoError(t, err)
			written, err := config.Encode(got)
			require.NoError(t, err)
			switch name {
			case "all-namespaces":
				assert.True(t, got.Namespaces.Empty())
			case "selectors":
				assert.Equal(t, "mtls-enabled notin (false)", got.Namespaces.String())
			case "configuration":
				var all map[string]json.RawMessage
				require.NoError(t, json.Unmarshal(toJSON(t, string(written)), &all))
				var defaults map[string]json.RawMessage
				encoded, err := config.Encode(intent.BuiltinDefaults())
				require.NoError(t, err)
				require.NoError(t, json.Unmarshal(toJSON(t, string(encoded)), &defaults))
				var same []string
				for _, field := range slices.Sorted(maps.Keys(all)) {
					if string(all[field]) == string(defaults[field]) {
						same = append(same, field)
					}
				}
				assert.Equal(t, []string{"apiVersion", "companion", "kind", "namespaceSelector"}, same,
					"everything else in this variation is other than by default")
			default:
				want := intent.BuiltinDefaults()
				want.Agent.Image, want.Agent.ImagePullPolicy = imageOf(t, objects)
				encoded, err := config.Encode(want)
				require.NoError(t, err)
				assert.Equal(t, string(encoded), string(written))
			}
		})
	}
}
