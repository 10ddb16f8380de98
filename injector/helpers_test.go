package injector_test

import (
	"bytes"
	stdjson "encoding/json"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/stretchr/testify/require"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

// readPod returns the JSON of testdata/pods/<name>.yaml with more annotations.
func readPod(t testing.TB, name string, annotations map[string]string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "pods", name+".yaml"))
	require.NoError(t, err)
	var pod map[string]any
	require.NoError(t, yaml.Unmarshal(text, &pod))
	if len(annotations) > 0 {
		meta := pod["metadata"].(map[string]any)
		all := map[string]any{}
		if have, ok := meta["annotations"].(map[string]any); ok {
			maps.Copy(all, have)
		}
		for key, value := range annotations {
			all[intent.Prefix+key] = value
		}
		meta["annotations"] = all
	}
	raw, err := stdjson.Marshal(pod)
	require.NoError(t, err)
	return raw
}

// decode reads what a decision needs, as the webhook does; encoding/json must agree.
func decode(t testing.TB, raw []byte) *intent.Pod {
	t.Helper()
	var pod, same intent.Pod
	require.NoError(t, json.Unmarshal(raw, &pod), "%s", raw)
	require.NoError(t, stdjson.Unmarshal(raw, &same), "%s", raw)
	require.Equal(t, same, pod)
	return &pod
}

// apply applies operations as the API server does.
func apply(t testing.TB, raw []byte, result *injector.Result) []byte {
	t.Helper()
	patched, err := decodePatch(t, result).Apply(raw)
	require.NoError(t, err)
	return patched
}

func decodePatch(t testing.TB, result *injector.Result) jsonpatch.Patch {
	t.Helper()
	document, err := injector.AppendJSON(nil, result.Operations)
	require.NoError(t, err)
	patch, err := jsonpatch.DecodePatch(document)
	require.NoError(t, err, "%s", document)
	return patch
}

// strictly decodes a pod and refuses fields that core/v1 does not know.
func strictly(t testing.TB, raw []byte) *corev1.Pod {
	t.Helper()
	var pod corev1.Pod
	decoder := stdjson.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(&pod), "%s", raw)
	return &pod
}

// betweenCalls does to a pod what the API server does to it between two webhooks:
// it goes through the typed object, and missing fields get their defaults.
func betweenCalls(t testing.TB, raw []byte) []byte {
	t.Helper()
	pod := strictly(t, raw)
	mode := int32(0o644)
	for i := range pod.Spec.Volumes {
		switch v := &pod.Spec.Volumes[i]; {
		case v.Secret != nil && v.Secret.DefaultMode == nil:
			v.Secret.DefaultMode = &mode
		case v.ConfigMap != nil && v.ConfigMap.DefaultMode == nil:
			v.ConfigMap.DefaultMode = &mode
		case v.Projected != nil && v.Projected.DefaultMode == nil:
			v.Projected.DefaultMode = &mode
		}
	}
	if pod.Spec.TerminationGracePeriodSeconds == nil {
		period := int64(corev1.DefaultTerminationGracePeriodSeconds)
		pod.Spec.TerminationGracePeriodSeconds = &period
	}
	raw, err := stdjson.Marshal(pod)
	require.NoError(t, err)
	return raw
}

// defaults are the built-in ones of a release.
func defaults() *intent.Defaults {
	d := intent.BuiltinDefaults()
	d.Version = "v1.0.0"
	d.AllowedNames = []intent.NameRule{{
		Namespaces: labels.Everything(), Organizations: []string{"Shop", "Shop & Co", "Example"}, OrganizationalUnits: []string{"Web"},
	}}
	return d
}

// services of the namespace "shop".
func services() []intent.Service {
	return []intent.Service{
		{Name: "web", Selector: map[string]string{"app": "web"}},
		{Name: "db", Selector: map[string]string{"app": "db"}, Headless: true},
	}
}

// resolve returns what the real core decides for a pod in the namespace "shop".
func resolve(t testing.TB, d *intent.Defaults, pod *intent.Pod) *intent.Intent {
	t.Helper()
	resolved := intent.Resolve(d, &intent.Namespace{Name: "shop"}, pod, services())
	require.Empty(t, resolved.Errors)
	require.NotNil(t, resolved.Intent, "skipped: %s", resolved.Skip)
	return resolved.Intent
}

// inject runs the whole core on a fixture.
func inject(t testing.TB, name string, annotations map[string]string) (*intent.Pod, *intent.Intent, injector.Result) {
	t.Helper()
	pod := decode(t, readPod(t, name, annotations))
	in := resolve(t, defaults(), pod)
	return pod, in, injector.Patch(pod, in)
}
