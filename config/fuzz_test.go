package config_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/config"
)

// FuzzParse: whatever the bytes, Parse returns; and what it accepts is accepted again in
// its effective form, with the same meaning.
func FuzzParse(f *testing.F) {
	for _, path := range []string{"example.yaml", "testdata/defaults.yaml", "testdata/every-problem.yaml", "testdata/rules.yaml"} {
		data, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Add([]byte(header + "privateKey: {algorithm: RSA}\nlifetimes: {server: {duration: 100h}}\nenv: [none]\n"))
	f.Add([]byte(header + "reload: restart\nrestart: {maxConcurrentWorkloads: 1, jitter: 24h}\n"))
	f.Add([]byte(header + "companion: false\nreload: restart\nrestart: {maxConcurrentWorkloads: 0, jitter: -1s}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, err := config.Parse(data)
		if err != nil {
			if parsed != nil || err.Error() == "" {
				t.Fatalf("an error with a result, or without text: %v %v", parsed, err)
			}
			return
		}
		encoded, err := config.Encode(parsed)
		require.NoError(t, err)
		again, err := config.Parse(encoded)
		require.NoError(t, err, "%s", encoded)
		sameDefaults(t, parsed, again)
		twice, err := config.Encode(again)
		require.NoError(t, err)
		assert.Equal(t, string(encoded), string(twice))
	})
}
