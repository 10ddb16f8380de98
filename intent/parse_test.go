package intent_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/intent"
)

// TestRightValues resolves every example of every key.
func TestRightValues(t *testing.T) {
	for key, right := range rightValues() {
		if !right.decides() {
			continue
		}
		for _, example := range right.examples {
			t.Run(key+"="+example.value, func(t *testing.T) {
				result := intent.Resolve(permissive(), newNamespace("role", "server"), newPod(key, example.value), twoServices())
				if diff := cmp.Diff(example.want, right.of(mustIntent(t, result))); diff != "" {
					t.Errorf("wanted -, got +:\n%s", diff)
				}
			})
		}
	}
}

// TestWrongValues asserts the whole text of every refusal, on pods and on namespaces.
func TestWrongValues(t *testing.T) {
	for key, values := range wrongValues() {
		for value, detail := range values {
			t.Run(fmt.Sprintf("%s=%.40q", key, value), func(t *testing.T) {
				tail := fmt.Sprintf("metadata.annotations[mtls.example.io/%s]: Invalid value: %q: %s", key, cut(value), detail)

				pod := intent.Resolve(permissive(), newNamespace("role", "server"), newPod(key, value), twoServices())
				assert.Equal(t, []string{tail}, texts(pod.Errors))
				assert.Nil(t, pod.Intent)

				if scopeOf(t, key) == intent.ScopePod {
					return
				}
				ns := newNamespace("role", "server")
				ns.Annotations[intent.Prefix+key] = value
				namespace := intent.Resolve(permissive(), ns, newPod(), twoServices())
				assert.Equal(t, []string{"namespace." + tail}, texts(namespace.Errors))
			})
		}
	}
}

// cut shows a value as messages do.
func cut(value string) string {
	if len(value) > 120 {
		return value[:120] + "…"
	}
	return value
}

func scopeOf(t *testing.T, name string) intent.Scope {
	t.Helper()
	for _, key := range intent.Keys() {
		if key.Name == name {
			return key.Scope
		}
	}
	t.Fatalf("no key %q", name)
	return 0
}

// hostile are values that no key expects.
func hostile() []string {
	return []string{
		"", " ", "\t", "\n", "\x00", "\xff\xfe", "a\nb", "a\r\nx: y", "a,b\nc", "$", "$(id)", "${POD_NAME}", `"`, `\`, "'; --", "../..",
		"WEB", cyrillic, "w\u200beb", "\u202ebew", "web.", ".", "..", "-", "*", "*.", "%00", "{}", "😀", "٣", "nil", "<script>",
		strings.Repeat("a", 64<<10), strings.Repeat(",", 64<<10), strings.Repeat("a,", 64<<10), strings.Repeat("😀", 16<<10),
		strings.Repeat("a.", 32<<10) + "a", "/" + strings.Repeat("../", 1<<10), strings.Repeat("9", 64<<10),
	}
}

// TestHostileValues says for each key which of the hostile values it takes, and that what
// it says of the others is short, printable and one line.
func TestHostileValues(t *testing.T) {
	subject := []string{"'; --", "../..", "WEB", cyrillic, "web.", ".", "..", "-", "*", "*.", "%00", "{}", "😀", "٣", "nil", "<script>"}
	defaults := permissive()
	defaults.AllowedNames[0].Organizations, defaults.AllowedNames[0].OrganizationalUnits = subject, subject
	want := map[string][]string{
		"organizations": subject, "organizational-units": subject,
		"containers": {"nil"}, "exclude-containers": {"nil"}, "ca-bundle": {"nil"}, "issuer": {"nil"},
	}
	for _, key := range intent.Keys() {
		if key.Scope == intent.ScopeStatus {
			continue
		}
		t.Run(key.Name, func(t *testing.T) {
			var accepted []string
			for _, value := range hostile() {
				result := intent.Resolve(defaults, newNamespace("role", "server"), newPod(key.Name, value), twoServices())
				if result.Intent != nil {
					accepted = append(accepted, value)
					continue
				}
				require.NotEmpty(t, result.Errors, "%.40q", value)
				for _, text := range texts(result.Errors) {
					assertShort(t, text)
				}
			}
			assert.Equal(t, want[key.Name], accepted)
		})
	}
}

// assertShort is what every message to a user must be.
func assertShort(t *testing.T, text string) {
	t.Helper()
	assert.Less(t, len(text), 2048, "%.300q", text)
	assert.True(t, utf8.ValidString(text), "%q", text)
	assert.NotContains(t, text, "\n")
	if i := strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		t.Errorf("control character at %d of %q", i, text)
	}
}

func TestListsAreTrimmedAndWithoutRepetition(t *testing.T) {
	hundred := make([]string, 100)
	for i := range hundred {
		hundred[i] = fmt.Sprintf("c%d", i)
	}
	for name, c := range map[string]struct {
		value string
		want  []string
	}{
		"one":               {"a", []string{"a"}},
		"spaces around":     {" a ,\tb\n", []string{"a", "b"}},
		"order is kept":     {"b,a", []string{"b", "a"}},
		"repetition":        {"a,b,a,a", []string{"a", "b"}},
		"a hundred":         {strings.Join(hundred, ","), hundred},
		"a hundred, spaced": {strings.Join(hundred, " , "), hundred},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, c.want, mustIntent(t, resolveServer("containers", c.value)).Containers.Only)
		})
	}
}

func TestLongValuesAreCutInsideNoCharacter(t *testing.T) {
	value := strings.Repeat("a", 119) + "ü" // byte 120 is the middle of the ü
	want := fmt.Sprintf("metadata.annotations[mtls.example.io/probes]: Invalid value: %q: %s", value[:119]+"…", notProbes)
	assert.Equal(t, []string{want}, texts(resolveServer("probes", value).Errors))
}
