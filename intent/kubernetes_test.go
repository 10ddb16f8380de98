package intent_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/intent"
)

func TestParseKubernetesVersion(t *testing.T) {
	for text, want := range map[string]intent.KubernetesVersion{
		"1.29": {Major: 1, Minor: 29}, "v1.30.0": {Major: 1, Minor: 30}, "1.31+": {Major: 1, Minor: 31},
		"v1.32.4-gke.1106006": {Major: 1, Minor: 32}, "v1.33.1+k3s1": {Major: 1, Minor: 33}, "v1.36.0-alpha.1": {Major: 1, Minor: 36}, "2.0": {Major: 2},
	} {
		got, err := intent.ParseKubernetesVersion(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "1", "v1", "1.x", "1.29x", " 1.29", "12345.1", "1.29 "} {
		_, err := intent.ParseKubernetesVersion(text)
		require.EqualError(t, err, `"`+text+`" is no version of Kubernetes such as 1.29`)
	}
}

func TestPreStopMethod(t *testing.T) {
	for name, c := range map[string]struct {
		method  intent.PreStopMethod
		version intent.KubernetesVersion
		want    intent.PreStopMethod
	}{
		"auto, unknown":        {intent.PreStopAuto, intent.KubernetesVersion{}, intent.PreStopSleep},
		"auto, 1.30":           {intent.PreStopAuto, intent.KubernetesVersion{Major: 1, Minor: 30}, intent.PreStopSleep},
		"auto, 2.0":            {intent.PreStopAuto, intent.KubernetesVersion{Major: 2}, intent.PreStopSleep},
		"auto, 1.29":           {intent.PreStopAuto, intent.KubernetesVersion{Major: 1, Minor: 29}, intent.PreStopExec},
		"sleep all the same":   {intent.PreStopSleep, intent.KubernetesVersion{Major: 1, Minor: 29}, intent.PreStopSleep},
		"exec though it sleep": {intent.PreStopExec, intent.KubernetesVersion{Major: 1, Minor: 36}, intent.PreStopExec},
	} {
		t.Run(name, func(t *testing.T) {
			d := intent.BuiltinDefaults()
			d.PreStop.Method, d.Kubernetes = c.method, c.version
			got := intent.Resolve(d, newNamespace(), newPod("role", "server"), []intent.Service{webService()})
			assert.Equal(t, intent.PreStop{Seconds: 10, Method: c.want}, mustIntent(t, got).PreStop)
		})
	}
	assert.Equal(t, "the newest", intent.KubernetesVersion{}.String())
	assert.Equal(t, "1.29", intent.KubernetesVersion{Major: 1, Minor: 29}.String())
}
