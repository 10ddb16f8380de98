package injector_test

import (
	stdjson "encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

// unpatch takes out of a pod what was injected, with what that leaves empty.
func unpatch(t testing.TB, raw []byte) (any, []string) {
	t.Helper()
	result := injector.Unpatch(decode(t, raw))
	return withoutEmpty(t, apply(t, raw, &injector.Result{Operations: result.Operations})), result.Warnings
}

// withoutEmpty decodes JSON and leaves out empty objects, arrays and nulls, of which nobody
// can tell who made them.
func withoutEmpty(t testing.TB, raw []byte) any {
	t.Helper()
	var value any
	require.NoError(t, stdjson.Unmarshal(raw, &value))
	pruned, _ := prune(value)
	return pruned
}

func prune(value any) (pruned any, empty bool) {
	switch v := value.(type) {
	case map[string]any:
		for key, member := range v {
			if p, gone := prune(member); gone {
				delete(v, key)
			} else {
				v[key] = p
			}
		}
		return v, len(v) == 0
	case []any:
		for i := range v {
			v[i], _ = prune(v[i])
		}
		return v, len(v) == 0
	default:
		return v, v == nil
	}
}

// TestUnpatchGolden takes every golden case back to the pod that it was, also after it has
// been through the API server.
func TestUnpatchGolden(t *testing.T) {
	for name, c := range goldenCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := defaults()
			if c.configure != nil {
				c.configure(d)
			}
			raw := readPod(t, c.pod, c.annotations)
			result := injector.Patch(decode(t, raw), resolve(t, d, decode(t, raw)))
			injected := apply(t, raw, &result)
			back, warnings := unpatch(t, injected)
			if name == "copied" { // it brought an injection of its own
				assert.Equal(t, []string{`container "main" keeps variable MTLS_ROLE, which was injected as "server" and changed since`}, warnings)
				return
			}
			assert.Equal(t, withoutEmpty(t, raw), back)
			if c.pod != "opinionated" { // it mounts our volume by hand
				assert.Empty(t, warnings)
			}

			stored := betweenCalls(t, injected)
			second := injector.Patch(decode(t, stored), resolve(t, d, decode(t, stored)))
			back, _ = unpatch(t, apply(t, stored, &second))
			assert.Equal(t, withoutEmpty(t, betweenCalls(t, raw)), withoutGrace(back, raw))
		})
	}
}

// withoutGrace: what the API server fills in after the first call is as good as not there.
func withoutGrace(back any, raw []byte) any {
	spec := back.(map[string]any)["spec"].(map[string]any)
	if _, there := spec["terminationGracePeriodSeconds"]; !there && !strings.Contains(string(raw), "terminationGracePeriodSeconds") {
		spec["terminationGracePeriodSeconds"] = 30.0
	}
	return back
}

// TestUnpatchKeepsWhatIsThePodsOwn has the pod's own things, which are just like ours.
func TestUnpatchKeepsWhatIsThePodsOwn(t *testing.T) {
	const pod = `{"metadata":{"name":"web","labels":{"mtls.example.io/injected":"true"},"annotations":{"mtls.example.io/role":"server"}},"spec":{"containers":[
		{"name":"app","env":[{"name":"A","value":"1"},{"name":"MTLS_ROLE","value":"server"}],"lifecycle":{"preStop":{"sleep":{"seconds":10}}}},
		{"name":"side","lifecycle":{"postStart":{"sleep":{"seconds":1}}}}]}}`
	in := resolve(t, defaults(), decode(t, []byte(pod)))
	result := injector.Patch(decode(t, []byte(pod)), in)
	injected := apply(t, []byte(pod), &result)
	assert.Contains(t, string(injected), `\"kept\":[\"app/env/MTLS_ROLE\",\"app/preStop\",\"label\"]`)
	back, warnings := unpatch(t, injected)
	assert.Empty(t, warnings)
	assert.Equal(t, withoutEmpty(t, []byte(pod)), back)

	again := injector.Patch(decode(t, injected), in)
	assert.Empty(t, again.Operations, "a second call carries on what the first has found")
}

// TestUnpatchOfWhatWasChanged has one change by hand each: it stays, the rest goes.
func TestUnpatchOfWhatWasChanged(t *testing.T) {
	for name, c := range map[string]struct {
		annotations map[string]string
		pod         string
		old, new    string
		want        string
	}{
		"variable": {old: `{"name":"MTLS_SERVER_KEY","value":"/etc/tls/server/tls.key"}`, new: `{"name":"MTLS_SERVER_KEY","value":"/srv/key"}`,
			want: `container "main" keeps variable MTLS_SERVER_KEY, which was injected as "/etc/tls/server/tls.key" and changed since`},
		"mount": {old: `"mountPath":"/etc/tls/ca"`, new: `"mountPath":"/ca"`,
			want: `container "main" keeps its mount of volume "mtls-ca" at /ca, which was not injected like that: give it another volume, for this one is gone`},
		"hook": {old: `{"seconds":10}`, new: `{"seconds":15}`,
			want: `container "main" keeps its preStop hook, which was injected as a sleep of 10 seconds and changed since`},
		"attribute": {old: `"csi.cert-manager.io/duration":"2160h"`, new: `"csi.cert-manager.io/duration":"48h"`,
			want: `volume "mtls-certs" was changed since it was injected, and stays`},
		"bundle": {old: `"name":"mtls-ca-bundle"`, new: `"name":"other"`, want: `volume "mtls-ca" was changed since it was injected, and stays`},
		"another kind of volume": {old: `"configMap":{"name":"mtls-ca-bundle","items":[{"key":"ca.crt","path":"ca.crt"}],"defaultMode":292}`, new: `"emptyDir":{}`,
			want: `volume "mtls-ca" was changed since it was injected, and stays`},
		"grace period": {annotations: map[string]string{"pre-stop-seconds": "45"}, old: `"terminationGracePeriodSeconds":75`, new: `"terminationGracePeriodSeconds":120`,
			want: `terminationGracePeriodSeconds was raised to 75 and changed since, and stays`},
		"agent": {annotations: map[string]string{"agent": "true"}, old: `"/mtls-agent","run"`, new: `"/mtls-agent","walk"`,
			want: "the agent's command was changed since it was injected, and the container stays"},
		"probe": {pod: "sidecars", annotations: map[string]string{"probes": "tcp"}, old: `"tcpSocket":{"port":"status","host":"localhost"}`, new: `"tcpSocket":{"port":1}`,
			want: `container "backup" keeps its startupProbe, whose httpGet was turned into tcpSocket and changed since`},
	} {
		t.Run(name, func(t *testing.T) {
			annotations := map[string]string{"role": "server"}
			maps.Copy(annotations, c.annotations)
			if c.pod == "" {
				c.pod = "bare"
			}
			raw := readPod(t, c.pod, annotations)
			_, _, result := inject(t, c.pod, annotations)
			injected := string(apply(t, raw, &result))
			require.Contains(t, injected, c.old)
			changed := strings.Replace(injected, c.old, c.new, 1)
			back, warnings := unpatch(t, []byte(changed))
			assert.Equal(t, []string{c.want}, warnings)
			text, err := stdjson.Marshal(back)
			require.NoError(t, err)
			assert.NotContains(t, string(text), intent.AnnotationStatus)
			assert.NotContains(t, string(text), intent.LabelInjected)
		})
	}
}

func TestUnpatchOfWhatWasNotInjected(t *testing.T) {
	for name, c := range map[string]struct {
		pod      string
		injected bool
		warnings []string
	}{
		"not injected": {pod: `{"metadata":{"name":"a"},"spec":{"volumes":[{"name":"data"}],"containers":[{"name":"a"}]}}`},
		"a volume of ours": {pod: `{"spec":{"volumes":[{"name":"mtls-certs"}]}}`,
			warnings: []string{`volume "mtls-certs" looks injected, but there is no annotation mtls.example.io/status that says what was, so nothing is taken out`}},
		"another status": {pod: `{"metadata":{"annotations":{"mtls.example.io/status":"yes"}},"spec":{"volumes":[{"name":"mtls-certs"}]}}`, injected: true,
			warnings: []string{`annotation mtls.example.io/status is not the injector's, so nothing is taken out: invalid character 'y' looking for beginning of value`}},
	} {
		t.Run(name, func(t *testing.T) {
			got := injector.Unpatch(decode(t, []byte(c.pod)))
			assert.Equal(t, injector.Unpatched{Injected: c.injected, Warnings: c.warnings}, got)
		})
	}
}

// TestUnpatchKeepsTheProcessNamespace that the pod has shared by itself.
func TestUnpatchKeepsTheProcessNamespace(t *testing.T) {
	for name, own := range map[string]string{"own": `"shareProcessNamespace":true,`, "injected": ""} {
		t.Run(name, func(t *testing.T) {
			pod := []byte(`{"metadata":{"name":"web","annotations":{"mtls.example.io/role":"server","mtls.example.io/reload":"signal"}},"spec":{` + own +
				`"securityContext":{"runAsUser":1000},"containers":[{"name":"app"}]}}`)
			result := injector.Patch(decode(t, pod), resolve(t, defaults(), decode(t, pod)))
			injected := apply(t, pod, &result)
			assert.True(t, *strictly(t, injected).Spec.ShareProcessNamespace)
			back, warnings := unpatch(t, injected)
			assert.Empty(t, warnings)
			assert.Equal(t, withoutEmpty(t, pod), back)
		})
	}
}
