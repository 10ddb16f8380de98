package policy

import (
	"math/rand/v2"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/validation"
)

func TestQuote(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"plain":        {"spiffe://cluster.local", `"spiffe://cluster.local"`},
		"quotes":       {`a" || true || "`, `"a\" || true || \""`},
		"a backslash":  {`a\`, `"a\\"`},
		"a line break": {"a\nb\r", `"a\nb\r"`},
		"control":      {"\x00\x7f\u200b", `"\x00\x7f\u200b"`},
		"not ASCII":    {"Grüße", `"Grüße"`},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, tc.want, quote(tc.text)) })
	}
	assert.Equal(t, `["a", "b\"]"]`, list([]string{"a", `b"]`}))
}

func TestMeta(t *testing.T) {
	assert.Equal(t, "cluster[.]local", meta("cluster.local"))
	assert.Equal(t, `a\|b[.]\*\)\\[.]`, meta(`a|b.*)\.`))
	for _, text := range []string{"a.b", `a\.b`, `\\.`, "^$", "[a]", "(?i)x", "a|b", "é", `\Q\E`} {
		compiled, err := regexp.Compile("^" + meta(text) + "$")
		require.NoError(t, err)
		assert.True(t, compiled.MatchString(text), text)
		assert.False(t, compiled.MatchString(strings.ReplaceAll(text, ".", "x")+"x"), text)
	}
}

func TestPieces(t *testing.T) {
	assert.Equal(t, `self.matches("^a[.]b$")`, matches("a[.]b"))
	assert.Equal(t, `self.matches("^a[.]" + cr.namespace + "[.]b$")`, matchesAround("a[.]", "[.]b"))
	assert.Equal(t, "a\n|| b", anyOf([]string{"a", "b"}))
	assert.Equal(t, `self == "spiffe://x.y/ns/" + cr.namespace + "/sa/" + serviceAccount(cr.username).getName()`, ownSPIFFEID("x.y"))
	assert.Equal(t, `self.matches("^spiffe://x[.]y/ns/" + cr.namespace + "/sa/`+label+`([.]`+label+`)*$")`, anySPIFFEID("x.y"))
}

func TestLabel(t *testing.T) {
	compiled := regexp.MustCompile("^" + label + "$")
	texts := []string{
		"a", "0", "a-b", "a--b", "xn--bcher-kva", strings.Repeat("a", 63),
		"", "-a", "a-", "A", "a.b", "a_b", "é", "a\n", "\na", "*", strings.Repeat("a", 64), "a b", "a,b", "a\x00",
	}
	for _, text := range texts {
		assert.Equal(t, len(validation.IsDNS1123Label(text)) == 0, compiled.MatchString(text), strconv.Quote(text))
	}
}

// What a pattern matches is what Go's path.Match makes of it, as in package intent.
func TestURIPattern(t *testing.T) {
	const alphabet = "ab/.*?+|^"
	random := rand.New(rand.NewPCG(1, 2))
	text := func(longest int) string {
		var out strings.Builder
		for range random.IntN(longest + 1) {
			out.WriteByte(alphabet[random.IntN(len(alphabet))])
		}
		return out.String()
	}
	matched := 0
	for range 20000 {
		pattern, uri := text(6), text(6)
		want, err := path.Match(pattern, uri)
		require.NoError(t, err)
		got := regexp.MustCompile("^" + uriPattern(pattern) + "$").MatchString(uri)
		require.Equal(t, want, got, "%q %q", pattern, uri)
		if got {
			matched++
		}
	}
	assert.Greater(t, matched, 500, "the alphabet is small so that much matches")
}
