package injector_test

import (
	stdjson "encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

// shapes are annotations that lead to each shape of volume.
func shapes() map[string]map[string]string {
	return map[string]map[string]string{
		"CSI":                      {"role": "server", "organizations": "Shop"},
		"Secret":                   {"role": "server", "delivery": "secret"},
		"projected ConfigMap":      {"role": "server", "delivery": "secret", "mount-path": "/certs"},
		"projected trust bundle":   {"role": "server", "delivery": "secret", "mount-path": "/certs", "ca-bundle": "ClusterTrustBundle/mtls"},
		"CSI and trust bundle":     {"role": "client", "ca-bundle": "ClusterTrustBundle/mtls"},
		"a ConfigMap of that name": {"role": "client", "ca-bundle": "mtls"},
		"CSI in a folder":          {"role": "both", "mount-path": "/certs"},
		"Secret in a pod's group":  {"role": "client", "delivery": "secret", "fs-group": "7"},
		"CSI with a group to know": {"role": "client", "fs-group": "7"},
	}
}

// TestVolumeDifferences changes each single thing in an injected volume, and adds each
// thing that could be added: in a pod that carries our status the volume is put right
// again by one operation, in any other it is refused.
func TestVolumeDifferences(t *testing.T) {
	t.Parallel()
	for name, annotations := range shapes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw := readPod(t, "bare", annotations)
			in := resolve(t, defaults(), decode(t, raw))
			first := injector.Patch(decode(t, raw), in)
			pod := tree(t, apply(t, raw, &first)).(object)
			volumes := pod["spec"].(object)["volumes"].([]any)
			count := 0
			for i := range volumes {
				original := volumes[i]
				for what, changed := range differences(original) {
					volumes[i] = changed
					requirePutRight(t, what, encode(t, pod), in)
					count++
				}
				volumes[i] = original
			}
			assert.Greater(t, count, 10)
			requireOthersPutRight(t, pod, in)
			requireNothingToDo(t, encode(t, pod), in)
		})
	}
}

// requireOthersPutRight puts every volume of every shape in the place of each of the pod's.
func requireOthersPutRight(t *testing.T, pod object, in *intent.Intent) {
	t.Helper()
	volumes := pod["spec"].(object)["volumes"].([]any)
	for i := range volumes {
		original := volumes[i].(object)
		for name, annotations := range shapes() {
			raw := readPod(t, "bare", annotations)
			other := injector.Patch(decode(t, raw), resolve(t, defaults(), decode(t, raw)))
			for _, volume := range tree(t, apply(t, raw, &other)).(object)["spec"].(object)["volumes"].([]any) {
				volume.(object)["name"] = original["name"]
				if !reflect.DeepEqual(original, volume) {
					volumes[i] = volume
					requirePutRight(t, name, encode(t, pod), in)
				}
			}
		}
		volumes[i] = original
	}
}

func requirePutRight(t *testing.T, what string, raw []byte, in *intent.Intent) {
	t.Helper()
	result := injector.Patch(decode(t, raw), in)
	require.Empty(t, result.Errors, what)
	require.Len(t, result.Operations, 1, what)
	require.Equal(t, "replace", result.Operations[0].Operation, what)
	require.True(t, strings.HasPrefix(result.Operations[0].Path, "/spec/volumes/"), what)
	requireNothingToDo(t, apply(t, raw, &result), in)

	foreign := decode(t, raw)
	delete(foreign.Metadata.Annotations, intent.AnnotationStatus)
	result = injector.Patch(foreign, in)
	require.Len(t, result.Errors, 1, what)
	require.Contains(t, result.Errors[0].Error(), "the name is reserved for the volume that is injected", what)
}

// differences returns copies of a volume that differ in one place each, by description.
func differences(volume any) map[string]any {
	name := volume.(object)["name"]
	out := map[string]any{
		"other source": object{"name": name, "emptyDir": object{}},
		"empty CSI":    object{"name": name, "csi": object{"driver": "csi.cert-manager.io", "readOnly": true}},
	}
	if bundle, ok := volume.(object)["configMap"].(object); ok {
		source := object{"configMap": object{"name": bundle["name"], "items": bundle["items"]}}
		out["projected"] = object{"name": name, "projected": object{"defaultMode": bundle["defaultMode"], "sources": []any{source}}}
	}
	var walk func(at string, value any, rebuild func(any) any)
	walk = func(at string, value any, rebuild func(any) any) {
		switch v := value.(type) {
		case object:
			for key := range v {
				if at == "" && key == "name" {
					continue // another name is another volume
				}
				with := func(member any) any {
					changed := maps.Clone(v)
					changed[key] = member
					return rebuild(changed)
				}
				without := maps.Clone(v)
				delete(without, key)
				out["without "+at+"/"+key] = rebuild(without)
				walk(at+"/"+key, v[key], with)
			}
			for key, extra := range extras(at) {
				changed := maps.Clone(v)
				changed[key] = extra
				out["with "+at+"/"+key] = rebuild(changed)
			}
		case []any:
			out["shorter "+at] = rebuild(v[:len(v)-1])
			out["longer "+at] = rebuild(append(slices.Clip(v), v[0]))
			for i := range v {
				walk(at+"/item", v[i], func(item any) any {
					changed := append([]any{}, v...)
					changed[i] = item
					return rebuild(changed)
				})
			}
		case string:
			out["other "+at] = rebuild(v + "x")
		case bool:
			out["other "+at] = rebuild(!v)
		case stdjson.Number:
			out["other "+at] = rebuild(1)
		}
	}
	walk("", volume, func(v any) any { return v })
	return out
}

// extras are the fields of core/v1 that the injector never writes.
func extras(at string) object {
	switch at {
	case "/csi":
		return object{"fsType": "tmpfs", "nodePublishSecretRef": object{"name": "x"}}
	case "/csi/volumeAttributes":
		return object{"csi.cert-manager.io/ip-sans": "10.0.0.1", "csi.cert-manager.io/literal-subject": "CN=somebody-else"}
	case "/secret", "/configMap", "/projected/sources/item/secret", "/projected/sources/item/configMap":
		return object{"optional": true}
	case "/projected/sources/item/clusterTrustBundle":
		return object{"optional": true, "signerName": "example.io/x", "labelSelector": object{}}
	case "/secret/items/item", "/configMap/items/item", "/projected/sources/item/secret/items/item", "/projected/sources/item/configMap/items/item":
		return object{"mode": 511}
	}
	return nil
}
