package injector_test

import (
	stdjson "encoding/json"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/intent"
)

// requireKept checks that a patched pod still has everything that it had, known to our
// API types or not, but for the replacements that are documented: our own status, our own
// volumes and agent in a pod that carries our status, a grace period that was too short, and HTTPS
// probes that became tcpSocket.
func requireKept(t *testing.T, before, after []byte, in *intent.Intent) {
	t.Helper()
	k := kept{t: t, in: in, injected: decode(t, before).Metadata.Annotations[intent.AnnotationStatus] != ""}
	k.compare("", tree(t, before), tree(t, after))
}

type kept struct {
	t        *testing.T
	in       *intent.Intent
	injected bool
}

func (k *kept) compare(at string, before, after any) {
	k.t.Helper()
	switch before := before.(type) {
	case nil: // null is the same as nothing
	case object:
		if !k.replaced(at, before, after) {
			k.members(at, before, after)
		}
	case []any:
		k.items(at, before, after)
	default:
		if at == "/spec/terminationGracePeriodSeconds" {
			k.raised(before, after)
			return
		}
		require.Equal(k.t, before, after, at)
	}
}

// replaced tells our own outdated volumes.
func (k *kept) replaced(at string, before object, after any) bool {
	name, _ := before["name"].(string)
	switch {
	case !k.injected:
		return false
	case path.Dir(at) == "/spec/initContainers" && name == intent.AgentContainer:
	case path.Dir(at) == "/spec/volumes" && strings.HasPrefix(name, "mtls-"):
	default:
		return false
	}
	require.Equal(k.t, name, after.(object)["name"], at)
	return true
}

func (k *kept) members(at string, before object, after any) {
	k.t.Helper()
	require.IsType(k.t, before, after, at)
	for key, value := range before {
		below := at + "/" + key
		switch {
		case below == "/metadata/annotations/"+intent.AnnotationStatus:
		case key == "httpGet" && strings.HasSuffix(at, "Probe") && after.(object)["tcpSocket"] != nil:
			k.socket(below, value.(object), after.(object))
		default:
			k.compare(below, value, after.(object)[key])
		}
	}
}

// socket checks a probe that became tcpSocket: only where that was asked for, and at the
// same port.
func (k *kept) socket(at string, get, probe object) {
	k.t.Helper()
	require.Equal(k.t, intent.ProbesTCP, k.in.Probes, at)
	require.Equal(k.t, "HTTPS", get["scheme"], at)
	require.Equal(k.t, get["port"], probe["tcpSocket"].(object)["port"], at)
	require.NotContains(k.t, probe, "httpGet", at)
}

// items checks that the list has kept its items in order: variables and the
// agent are added in front of them, everything else behind.
func (k *kept) items(at string, before []any, after any) {
	k.t.Helper()
	list, ok := after.([]any)
	require.True(k.t, ok && len(list) >= len(before), "%s: %v became %v", at, before, after)
	front := 0
	if path.Base(at) == "env" || path.Base(at) == "initContainers" {
		front = len(list) - len(before)
	}
	for i, item := range before {
		k.compare(at+"/item", item, list[front+i])
	}
}

func (k *kept) raised(before, after any) {
	k.t.Helper()
	had, err := before.(stdjson.Number).Int64()
	require.NoError(k.t, err)
	has, err := after.(stdjson.Number).Int64()
	require.NoError(k.t, err)
	if has != had {
		require.Less(k.t, had, k.in.PreStop.Seconds)
		require.Equal(k.t, had+k.in.PreStop.Seconds, has)
	}
}
