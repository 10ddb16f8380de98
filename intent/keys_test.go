package intent_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"

	"example.io/mtls-injector/intent"
)

// TestKeysAreThoseOfTheDesign keeps the table's rows, order and scopes: users' manifests
// depend on them.
func TestKeysAreThoseOfTheDesign(t *testing.T) {
	type row struct {
		Name  string
		Scope intent.Scope
	}
	onPods, anywhere := intent.ScopePod, intent.ScopeAny
	want := []row{
		{"role", anywhere}, {"delivery", anywhere}, {"service", onPods}, {"dns-names", onPods}, {"common-name", onPods},
		{"organizations", anywhere}, {"organizational-units", anywhere},
		{"issuer", anywhere}, {"issuer-kind", anywhere}, {"issuer-group", anywhere},
		{"duration", anywhere}, {"renew-before", anywhere}, {"key-algorithm", anywhere}, {"key-size", anywhere},
		{"containers", anywhere}, {"exclude-containers", anywhere}, {"mount-path", anywhere}, {"ca-bundle", anywhere},
		{"env", anywhere}, {"pre-stop-seconds", anywhere}, {"fs-group", anywhere},
		{"reload", anywhere}, {"reload-signal", anywhere}, {"reload-container", anywhere},
		{"reload-process", anywhere}, {"reload-url", anywhere}, {"agent", anywhere},
		{"probes", anywhere}, {"companion", anywhere}, {"status", intent.ScopeStatus}, {"certificate-hash", intent.ScopeStatus},
	}
	var got []row
	for _, key := range intent.Keys() {
		got = append(got, row{key.Name, key.Scope})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("wanted -, got +:\n%s", diff)
	}
}

// TestEveryKeyHasItsCases fails for a row of the table that came without tests.
func TestEveryKeyHasItsCases(t *testing.T) {
	right, wrong := rightValues(), wrongValues()
	var settable []string
	for _, key := range intent.Keys() {
		if key.Scope == intent.ScopeStatus {
			continue
		}
		settable = append(settable, key.Name)
		assert.GreaterOrEqual(t, len(right[key.Name].examples), 2, "right values of %s", key.Name)
		assert.NotEmpty(t, wrong[key.Name], "wrong values of %s", key.Name)
		assert.Contains(t, wrong[key.Name], "", "the empty value of %s", key.Name)
	}
	assert.ElementsMatch(t, settable, slices.Collect(maps.Keys(right)), "no case without a key")
	assert.ElementsMatch(t, settable, slices.Collect(maps.Keys(wrong)), "no case without a key")
}

// TestKeysAreDocumented keeps the generated reference whole.
func TestKeysAreDocumented(t *testing.T) {
	for _, key := range intent.Keys() {
		t.Run(key.Name, func(t *testing.T) {
			assert.NotEmpty(t, key.Type)
			assert.NotEmpty(t, key.Default)
			assert.Regexp(t, `^[A-Z`+"`"+`].*\.$`, key.Help)
			assert.Equal(t, strings.Contains(key.Type, "word"), len(key.Values) > 0, "words and only words are listed")
		})
	}
}

// TestListedWordsAreTheParsedOnes compares Values with what parsing takes.
func TestListedWordsAreTheParsedOnes(t *testing.T) {
	for _, key := range intent.Keys() {
		for _, word := range key.Values {
			assert.NoError(t, intent.Check(key.Name, word), "%s=%s", key.Name, word)
		}
	}
}

func TestKeysReturnsACopy(t *testing.T) {
	intent.Keys()[0].Name = "overwritten"
	assert.Equal(t, "role", intent.Keys()[0].Name)
}

func TestUnknownKeys(t *testing.T) {
	all := "unknown annotation; known under mtls.example.io/: agent, ca-bundle, common-name, companion, containers, delivery, dns-names, duration, " +
		"env, exclude-containers, fs-group, issuer, issuer-group, issuer-kind, key-algorithm, key-size, mount-path, organizational-units, " +
		"organizations, pre-stop-seconds, probes, reload, reload-container, reload-process, reload-signal, reload-url, renew-before, role, service"
	for name, c := range map[string]struct{ key, want string }{
		"letter missing":     {"rol", `unknown annotation; did you mean "mtls.example.io/role"?`},
		"letters swapped":    {"isseur", `unknown annotation; did you mean "mtls.example.io/issuer"?`},
		"upper case":         {"Role", `unknown annotation; did you mean "mtls.example.io/role"?`},
		"plural":             {"roles", `unknown annotation; did you mean "mtls.example.io/role"?`},
		"singular":           {"dns-name", `unknown annotation; did you mean "mtls.example.io/dns-names"?`},
		"other spelling":     {"organisations", `unknown annotation; did you mean "mtls.example.io/organizations"?`},
		"underscore":         {"mount_path", `unknown annotation; did you mean "mtls.example.io/mount-path"?`},
		"another annotation": {"inject-me-please", all},
		"our own label":      {"injected", all},
		"ours, mistyped":     {"certificate-hsah", all},
		"status, mistyped":   {"satus", all},
		"empty":              {"", all},
	} {
		t.Run(name, func(t *testing.T) {
			key := "mtls.example.io/" + c.key
			want := "metadata.annotations[" + key + `]: Invalid value: "` + key + `": ` + c.want
			assert.Equal(t, []string{want}, texts(resolveServer(c.key, "x").Errors))
		})
	}
}

// TestHostileKeys: keys are as little checked at admission as values.
func TestHostileKeys(t *testing.T) {
	for name, key := range map[string]string{
		"line break":       "role\nmetadata.annotations: fine",
		"invalid UTF-8":    "role\xff",
		"64 KiB":           strings.Repeat("role", 16<<10),
		"bidirectional":    "\u202eelor",
		"terminal escapes": "\x1b[2Jrole",
	} {
		t.Run(name, func(t *testing.T) {
			result := resolveServer(key, "server")
			assert.Len(t, result.Errors, 1)
			assertShort(t, result.Errors[0].Error())
			assertShort(t, result.Errors[0].Field)
		})
	}
}

// TestManyUnknownKeys are an attack on whoever computes suggestions, reads and stores them.
func TestManyUnknownKeys(t *testing.T) {
	pod := newPod("role", "server")
	for i := range 5000 {
		pod.Metadata.Annotations[intent.Prefix+strings.Repeat("x", i+1)] = ""
	}
	got := texts(intent.Resolve(intent.BuiltinDefaults(), newNamespace(), pod, nil).Errors)
	assert.Len(t, got, 51)
	assert.Equal(t, "metadata.annotations: Invalid value: 5000: and 4950 more annotations that are unknown", got[50])
}

func TestOtherPrefixesAreNotOurs(t *testing.T) {
	pod := newPod("role", "client")
	for _, key := range []string{"example.io/rol", "MTLS.example.io/rol", "xmtls.example.io/rol", "mtls.example.io", "mtls.example.iox/rol"} {
		pod.Metadata.Annotations[key] = "x"
	}
	mustIntent(t, intent.Resolve(intent.BuiltinDefaults(), newNamespace(), pod, nil))
}
