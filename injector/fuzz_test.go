package injector_test

import (
	"bytes"
	stdjson "encoding/json"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

// seeds are byte strings that make pods of every kind; as seeds they make each fuzz
// target a test of its properties as well.
func seeds(f *testing.F) {
	f.Helper()
	f.Add([]byte{})
	random := rand.NewChaCha8([32]byte([]byte("pods of every kind, reproducibly")))
	for range 250 {
		seed := make([]byte, 600)
		_, err := random.Read(seed)
		require.NoError(f, err)
		f.Add(seed)
	}
}

// FuzzPatch injects generated pods and holds the outcome against what was promised:
// refused pods get nothing; all others get everything they need, keep everything they
// had, are plain core/v1, and have nothing more to get; the bytes are always the same.
func FuzzPatch(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		d := &dice{bytes: data}
		raw := encode(t, generatePod(d))
		in := generateIntent(d)
		first := injector.Patch(decode(t, raw), in)
		requireSame(t, raw, in, &first)
		if len(first.Errors) > 0 {
			require.Empty(t, first.Operations)
			return
		}
		patched := apply(t, raw, &first)
		requireKept(t, raw, patched, in)
		requireServed(t, patched, in)
		requireNothingToDo(t, patched, in)
		requireNothingToDo(t, betweenCalls(t, stripUnknown(t, patched)), in)
		requireNewcomerServed(t, d, patched, in)
	})
}

// requireSame runs the injector again on the same input.
func requireSame(t *testing.T, raw []byte, in *intent.Intent, first *injector.Result) {
	t.Helper()
	second := injector.Patch(decode(t, raw), in)
	require.Equal(t, first.Warnings, second.Warnings)
	require.Equal(t, first.Errors, second.Errors)
	document, err := injector.AppendJSON(nil, first.Operations)
	require.NoError(t, err)
	again, err := injector.AppendJSON(nil, second.Operations)
	require.NoError(t, err)
	require.Equal(t, string(document), string(again))
	usual, err := stdjson.Marshal(append([]any{}, operations(first)...))
	require.NoError(t, err)
	require.Equal(t, tree(t, usual), tree(t, document))
}

func operations(result *injector.Result) []any {
	list := make([]any, len(result.Operations))
	for i := range list {
		list[i] = &result.Operations[i]
	}
	return list
}

// requireServed checks with the API's own types that each selected container has the
// folders, the variables and the hook.
func requireServed(t *testing.T, raw []byte, in *intent.Intent) {
	t.Helper()
	pod := strictly(t, stripUnknown(t, raw))
	require.Equal(t, "true", pod.Labels[intent.LabelInjected])
	require.NotEmpty(t, pod.Annotations[intent.AnnotationStatus])
	if in.Agent != nil {
		require.True(t, slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == intent.AgentContainer }))
		require.Equal(t, in.Agent.Reload.Signal != "", in.Agent.Reload.Signal != "" && *pod.Spec.ShareProcessNamespace)
	}
	for _, c := range append(slices.Clone(pod.Spec.InitContainers), pod.Spec.Containers...) {
		if c.Name == intent.AgentContainer || !in.Containers.Includes(c.Name) {
			continue
		}
		var folders, names []string
		for _, m := range c.VolumeMounts {
			if strings.HasPrefix(m.Name, "mtls-") {
				folders = append(folders, strings.TrimSuffix("/"+strings.TrimPrefix(m.MountPath, "/"), "/"))
			}
		}
		for _, e := range c.Env {
			names = append(names, e.Name)
		}
		for _, folder := range wantedFolders(in) {
			require.Contains(t, folders, folder, c.Name)
		}
		if slices.Contains(in.Env, intent.EnvMTLS) {
			require.Subset(t, names, []string{"MTLS_ROLE", "MTLS_CA_CERT"}, c.Name)
		}
		if in.PreStop.Seconds > 0 && c.Name[0] == 'c' {
			require.NotNil(t, c.Lifecycle.PreStop, c.Name)
		}
	}
}

// wantedFolders is the design's table, said once more.
func wantedFolders(in *intent.Intent) []string {
	var want []string
	if in.MountPath != "" {
		want = []string{in.MountPath}
		if in.Delivery == intent.DeliveryCSI {
			want = append(want, "/etc/tls/ca")
		}
		return want
	}
	if in.Role != intent.RoleClient {
		want = append(want, "/etc/tls/server")
	}
	if in.Role != intent.RoleServer {
		want = append(want, "/etc/tls/client")
	}
	return append(want, "/etc/tls/ca")
}

// requireNewcomerServed adds a container between two calls, as another webhook does.
func requireNewcomerServed(t *testing.T, d *dice, patched []byte, in *intent.Intent) {
	t.Helper()
	pod := tree(t, patched).(object)
	spec := pod["spec"].(object)
	name := pick(d, "containers", "initContainers")
	list, _ := spec[name].([]any)
	at := d.roll(len(list) + 1)
	spec[name] = slices.Insert(slices.Clone(list), at, any(d.container(name[:1]+"9")))
	raw := encode(t, pod)
	result := injector.Patch(decode(t, raw), in)
	if len(result.Errors) > 0 {
		require.Empty(t, result.Operations)
		return
	}
	newcomer := "/spec/" + name + "/" + strconv.Itoa(at) + "/"
	for _, op := range result.Operations {
		own := strings.HasPrefix(op.Path, newcomer) || op.Operation == "replace" && op.Path == "/metadata/annotations/mtls.example.io~1status" ||
			op.Path == "/spec/terminationGracePeriodSeconds"
		require.True(t, own, "%s %s is not the newcomer's, %s", op.Operation, op.Path, newcomer)
	}
	again := apply(t, raw, &result)
	requireKept(t, raw, again, in)
	requireServed(t, again, in)
	requireNothingToDo(t, again, in)
}

func encode(t *testing.T, value any) []byte {
	t.Helper()
	raw, err := stdjson.Marshal(value)
	require.NoError(t, err)
	return raw
}

// tree decodes without loss of digits.
func tree(t *testing.T, raw []byte) any {
	t.Helper()
	var value any
	decoder := stdjson.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	require.NoError(t, decoder.Decode(&value))
	return value
}

// stripUnknown takes out what core/v1 does not know.
func stripUnknown(t *testing.T, raw []byte) []byte {
	t.Helper()
	var strip func(any)
	strip = func(value any) {
		switch v := value.(type) {
		case object:
			delete(v, unknown)
			for _, member := range v {
				strip(member)
			}
		case []any:
			for _, item := range v {
				strip(item)
			}
		}
	}
	value := tree(t, raw)
	strip(value)
	return encode(t, value)
}
