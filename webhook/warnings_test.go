package webhook

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	utilnet "k8s.io/apimachinery/pkg/util/net"
)

func TestLimitWarnings(t *testing.T) {
	word := strings.Repeat("x", 300)
	many := make([]string, 30)
	for i := range many {
		many[i] = fmt.Sprintf("%02d ", i) + strings.Repeat("y", 200)
	}
	for name, tt := range map[string]struct{ given, want []string }{
		"none":          {nil, nil},
		"short":         {[]string{"one", "two"}, []string{"one", "two"}},
		"just fits":     {[]string{word[:256]}, []string{word[:256]}},
		"control":       {[]string{"a\nb\tc\x7f"}, []string{"a b c "}},
		"invalid UTF-8": {[]string{"a\xffb"}, []string{"a�b"}},
		"one long word": {[]string{word}, []string{word[:255] + "…", "…" + word[255:]}},
		"many words": {
			[]string{strings.Repeat("word ", 60) + "end"},
			[]string{strings.Repeat("word ", 50) + "word…", "…" + strings.Repeat("word ", 9) + "end"},
		},
		"runes, not bytes": {
			[]string{strings.Repeat("ü", 300)},
			[]string{strings.Repeat("ü", 255) + "…", "…" + strings.Repeat("ü", 45)},
		},
		"too many": {many, append(append([]string{}, many[:18]...), "… and 12 more lines of warnings")},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, tt.want, limitWarnings(tt.given)) })
	}
}

// FuzzLimitWarnings: whatever is to be said, the API server passes it on as it is, and
// nothing that fits is lost.
func FuzzLimitWarnings(f *testing.F) {
	f.Add("short", 1)
	f.Add(strings.Repeat("a few words ", 60), 3)
	f.Add(strings.Repeat("ü", 600)+"\n\xff", 20)
	f.Fuzz(func(t *testing.T, text string, times int) {
		if times < 0 || times > 50 {
			return
		}
		given := make([]string, times)
		for i := range given {
			given[i] = text
		}
		total := 0
		lines := limitWarnings(given)
		for _, line := range lines {
			runes := utf8.RuneCountInString(line)
			total += runes
			require.LessOrEqual(t, runes, warningRunes)
			_, err := utilnet.NewWarningHeader(299, "", line)
			require.NoError(t, err)
		}
		require.LessOrEqual(t, total, allWarningsRunes)
		if times == 1 && total < allWarningsRunes/2 {
			joined := strings.ReplaceAll(strings.Join(lines, ""), "……", "")
			plain := strings.Map(printable, text)
			require.Equal(t, without(plain), without(joined))
		}
	})
}

// without drops the spaces, at which lines are cut.
func without(text string) string { return strings.ReplaceAll(text, " ", "") }
