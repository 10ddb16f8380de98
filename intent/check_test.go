package intent_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"example.io/mtls-injector/intent"
)

// TestCheck: what an annotation takes, the configuration file takes, and for the same
// reasons it refuses.
func TestCheck(t *testing.T) {
	for key, right := range rightValues() {
		for _, example := range right.examples {
			assert.NoError(t, intent.Check(key, example.value), "%s=%s", key, example.value)
		}
	}
	for key, values := range wrongValues() {
		for value, detail := range values {
			assert.EqualError(t, intent.Check(key, value), detail, "%s=%.40q", key, value)
		}
	}
}

func TestCheckOfNoAnnotation(t *testing.T) {
	assert.Panics(t, func() { _ = intent.Check("rol", "server") })
}

func TestDidYouMean(t *testing.T) {
	words := []string{"server", "client", "both", "web"}
	for word, want := range map[string]string{
		"servr": `; did you mean "server"?`, "CLIENT": `; did you mean "client"?`, "bth": `; did you mean "both"?`,
		"": "", "x": "", "db": "", "unrelated": "", "cloud": "",
	} {
		assert.Equal(t, want, intent.DidYouMean(word, words), "%q", word)
	}
	assert.Empty(t, intent.DidYouMean("server", nil))
}

func TestDefaultKeySize(t *testing.T) {
	assert.Equal(t, 256, intent.DefaultKeySize("ECDSA"))
	assert.Equal(t, 2048, intent.DefaultKeySize("RSA"))
	assert.Equal(t, 0, intent.DefaultKeySize("Ed25519"))
}
