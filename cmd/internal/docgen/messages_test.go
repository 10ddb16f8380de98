package main

// What the code tells people, and what docs/troubleshooting.md says to it: neither without the
// other.

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/intent"
)

// catalogue is the page that quotes every message.
const catalogue = root + "/docs/troubleshooting.md"

// told lists the packages whose texts people get to see: refusals, warnings, errors in the place
// of a decision, readiness, Events. What wraps an error of another is, in some, for those who read the log.
func told() []room {
	return []room{{folder: "intent"}, {folder: "injector"}, {folder: "webhook"}, {folder: "webhook/servingcert", logsErrors: true}, {folder: "certs", logsErrors: true}}
}

// entries returns what the tables of the catalogue quote in their first cells: the messages,
// and the single words, which are reasons and fields.
func entries(t *testing.T) (messages, words []string) {
	t.Helper()
	text, err := os.ReadFile(catalogue)
	require.NoError(t, err)
	_, listed, found := strings.Cut(string(text), "\n## Every message\n")
	require.True(t, found, "the catalogue has no part for messages")
	span := regexp.MustCompile("`` (.+?) ``|`(.+?)`")
	for line := range strings.Lines(listed) {
		cell, isRow := strings.CutPrefix(line, "| ")
		cell, _, _ = strings.Cut(cell, " | ")
		for _, quoted := range span.FindAllStringSubmatch(cell, -1) {
			switch entry := quoted[1] + quoted[2]; {
			case !isRow:
			case strings.Contains(entry, " "):
				messages = append(messages, entry)
			default:
				words = append(words, entry)
			}
		}
	}
	return messages, words
}

// Whoever is refused, warned or told something finds it in the catalogue, with what to do.
func TestEveryMessageHasAnEntry(t *testing.T) {
	messages, _ := entries(t)
	for _, m := range messagesOf(t, root, told()) {
		if !m.needsEntry() {
			continue
		}
		assert.True(t, slices.ContainsFunc(messages, m.matches), "%s: no entry in %s quotes\n%s", m.at, catalogue, m)
	}
}

// Nothing is in the catalogue that nobody says any more: each word of an entry is in a message
// that the entry quotes, but for what stands where values do, which is two words at most.
func TestEveryEntryIsAMessage(t *testing.T) {
	messages, _ := entries(t)
	require.NotEmpty(t, messages)
	all := messagesOf(t, root, told())
	for _, entry := range messages {
		assert.True(t, slices.ContainsFunc(all, func(m message) bool { return m.matches(entry) }), "%s: nothing says\n%s", catalogue, entry)
		for _, rest := range unsaid(entry, all) {
			assert.Less(t, len(strings.Fields(rest)), 3, "%s: nothing says %q of\n%s", catalogue, rest, entry)
		}
	}
}

// Every reason of an Event and every reason to skip a pod is in the catalogue once, and no other.
func TestEveryReasonHasAnEntry(t *testing.T) {
	_, words := entries(t)
	want := constantsOf(t, root+"/certs/events.go", "reason")
	require.Contains(t, want, "IssuerNotReady")
	for _, reason := range slices.Collect(maps.Keys(intent.SkipReasons())) {
		want = append(want, string(reason))
	}
	assert.ElementsMatch(t, want, words)
}

// Texts are found wherever they stand, and matched piece by piece: so the tests above can fail.
func TestMessages(t *testing.T) {
	all := messagesOf(t, "testdata", []room{{folder: "names"}, {folder: "messages"}})
	var got []string
	for _, m := range all {
		got = append(got, m.at+": "+m.String())
	}
	assert.Equal(t, []string{
		"messages, Example: Certificate … is well over 90 % of it",
		"messages, Example: must be from … to … seconds",
		"messages, Example: prefix/key may not claim …: it is neither … nor its own",
		"messages, Example: reading of the key: …",
		"messages, Example: unknown key: …",
	}, got)
	assert.False(t, all[4].needsEntry(), "two words are quoted if they are there, but need not be")
	assert.True(t, all[3].needsEntry())
	logged := messagesOf(t, "testdata", []room{{folder: "names"}, {folder: "messages", logsErrors: true}})
	assert.Equal(t, all[3].String(), logged[3].String())
	assert.False(t, logged[3].needsEntry(), "what is for the log may be quoted, but need not be")

	seconds := all[1]
	assert.True(t, seconds.needsEntry())
	assert.True(t, seconds.matches("duration: must be from 1 to … seconds"))
	assert.False(t, seconds.matches("must be to … seconds from …"))
	assert.Equal(t, []string{" 1 ", " 2 ", "; and nobody says this"}, unsaid("must be from 1 to 2 seconds; and nobody says this", all))
	assert.Empty(t, unsaid("unknown key:", all))
	assert.Equal(t, []string{"unknown word"}, unsaid("unknown word", all))
}
