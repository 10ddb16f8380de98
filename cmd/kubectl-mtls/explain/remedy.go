package explain

import (
	"regexp"
	"strings"

	"example.io/mtls-injector/docs"
)

// catalogue is the part of the troubleshooting page that has every message.
const catalogue = "\n## Every message\n"

// remedy is what the page says about a message.
type remedy struct {
	pieces []string // in their order, with anything between them
	text   string
}

// remedies reads the page, which a test holds complete.
func remedies() []remedy {
	_, listed, _ := strings.Cut(docs.Troubleshooting, catalogue)
	span := regexp.MustCompile("`` (.+?) ``|`(.+?)`")
	var all []remedy
	for line := range strings.Lines(listed) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if !strings.HasPrefix(line, "| ") || len(cells) < 2 {
			continue
		}
		text := strings.TrimSpace(cells[len(cells)-1])
		for _, quoted := range span.FindAllStringSubmatch(cells[0], -1) {
			all = append(all, remedy{pieces: strings.Split(quoted[1]+quoted[2], "…"), text: text})
		}
	}
	return all
}

// remedyOf returns what to do about a message, or "". Of the entries that match, the one that
// says the most of it counts.
func remedyOf(all []remedy, message string) string {
	const least = 12 // shorter ones are words, or ends that many messages have
	best, length := "", least
	for _, r := range all {
		if said := r.matches(message); said > length {
			best, length = r.text, said
		}
	}
	return best
}

// matches returns how many bytes of the message the entry has, or 0.
func (r *remedy) matches(message string) int {
	said := 0
	for _, piece := range r.pieces {
		piece = strings.TrimSpace(piece)
		at := strings.Index(message, piece)
		if at < 0 {
			return 0
		}
		message = message[at+len(piece):]
		said += len(piece)
	}
	return said
}
