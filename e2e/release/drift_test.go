package release_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"example.io/mtls-injector/e2e/release"
)

// TestNoDrift: a GitOps tool that applies what is rendered, as Flux and Argo CD do, finds
// nothing to change in what runs, in both modes of the certificate and after the API server
// has been told the CA; and rendering twice gives the same bytes.
func TestNoDrift(t *testing.T) {
	for _, mode := range []string{"certManager", "selfManaged"} {
		t.Run(mode, func(t *testing.T) {
			set := "webhook.certificate.mode=" + mode
			install(t, "--set", set)
			rendered := render(t, "--set", set)
			require.Equal(t, rendered, render(t, "--set", set))
			objects := 0
			for document := range strings.SplitSeq(rendered, "\n---\n") {
				desired := &unstructured.Unstructured{}
				require.NoError(t, yaml.Unmarshal([]byte(document), &desired.Object))
				if len(desired.Object) == 0 || desired.GetAnnotations()["helm.sh/hook"] != "" {
					continue
				}
				objects++
				assert.Empty(t, drift(t, desired), "%s %s", desired.GetKind(), desired.GetName())
			}
			assert.Greater(t, objects, 10)
		})
	}
}

func render(t *testing.T, args ...string) string {
	t.Helper()
	out, err := stage.Helm.Run(t.Context(), append([]string{"template", release.Name, stage.Chart, "-n", release.Namespace}, args...)...)
	require.NoError(t, err)
	return out
}

// drift tells what applying an object would change.
func drift(t *testing.T, desired *unstructured.Unstructured) string {
	t.Helper()
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(desired.GroupVersionKind())
	if mapping, err := stage.Client.RESTMapper().RESTMapping(desired.GroupVersionKind().GroupKind(), desired.GroupVersionKind().Version); assert.NoError(t, err) &&
		mapping.Scope.Name() == "namespace" && desired.GetNamespace() == "" {
		desired.SetNamespace(release.Namespace)
	}
	require.NoError(t, stage.Client.Get(t.Context(), client.ObjectKeyFromObject(desired), live))
	applied := desired.DeepCopy()
	require.NoError(t, stage.Client.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(applied),
		client.FieldOwner("gitops"), client.ForceOwnership, client.DryRunAll))
	for _, obj := range []*unstructured.Unstructured{live, applied} {
		obj.SetManagedFields(nil)
		obj.SetResourceVersion("")
		unstructured.RemoveNestedField(obj.Object, "status")
	}
	return cmp.Diff(live.Object, applied.Object)
}

// TestVariations installs the chart with each of the variations that are documented beside
// it.
func TestVariations(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(stage.Chart, "ci", "*-values.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), "-values.yaml"), func(t *testing.T) {
			t.Cleanup(func() { cleanUp(t) })
			// Nobody is served at the end, so nobody need be waited for.
			_, err := stage.Install(t.Context(), "--values", file, "--set", "shutdown.drainDelaySeconds=0")
			require.NoError(t, err)
			labels := map[string]string{"mtls-enabled": "true"}
			if own := optIn(t, file); own != nil {
				labels = own
			}
			awaitInjected(t, namespaceWith(t, labels))
		})
	}
}

// optIn returns the labels that opt a namespace in, where the values say others.
func optIn(t *testing.T, file string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	var values struct {
		Tests struct {
			NamespaceLabels map[string]string `json:"namespaceLabels"`
		} `json:"tests"`
		NamespaceSelector *struct {
			MatchLabels map[string]string `json:"matchLabels"`
		} `json:"namespaceSelector"`
	}
	require.NoError(t, yaml.Unmarshal(data, &values))
	switch {
	case values.Tests.NamespaceLabels != nil:
		return values.Tests.NamespaceLabels
	case values.NamespaceSelector != nil:
		return values.NamespaceSelector.MatchLabels
	default:
		return nil
	}
}
