package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseStatus(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "status"))
	require.NoError(t, err)
	got, err := parseStatus(string(text))
	require.NoError(t, err)
	assert.Equal(t, memory{resident: 46388 << 10, anonymous: 19048 << 10, peak: 50612 << 10}, got)

	for name, tc := range map[string]struct{ old, replacement, want string }{
		"one is missing": {"RssAnon", "Rss", "a process's status lacks VmRSS, RssAnon or VmHWM"},
		"no number":      {"46388", "much", `VmRSS in a process's status: strconv.ParseInt: parsing "much": invalid syntax`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseStatus(strings.ReplaceAll(string(text), tc.old, tc.replacement))
			assert.EqualError(t, err, tc.want)
		})
	}
}

func TestParseStat(t *testing.T) {
	const behind = " S 1 4242 4242 0 -1 4194560 9876 0 12 0 150 25 3 4 20 0 9 0 8888 1323397120 11597 18446744073709551615\n"
	for name, tc := range map[string]struct {
		text, err string
		want      time.Duration
	}{
		"plain":        {text: "4242 (mtls-injector)" + behind, want: 1750 * time.Millisecond},
		"any name":     {text: "4242 (a ) (b) S 1 2)" + behind, want: 1750 * time.Millisecond},
		"too short":    {text: "4242 (mtls-injector) S 1 2", err: "a process's stat has 3 fields behind its name"},
		"empty":        {err: "a process's stat has 0 fields behind its name"},
		"not a number": {text: "1 (a) S 1 1 1 0 -1 1 1 0 1 0 x 25 0", err: `a time in a process's stat: strconv.ParseInt: parsing "x": invalid syntax`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseStat(tc.text)
			if tc.err != "" {
				assert.EqualError(t, err, tc.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tc.want, got)
		})
	}
}

// TestReadUsage reads of this very process.
func TestReadUsage(t *testing.T) {
	u, err := readUsage(os.Getpid())
	require.NoError(t, err)
	assert.Greater(t, u.resident, u.anonymous)
	assert.GreaterOrEqual(t, u.peak, u.resident)
	assert.Positive(t, u.anonymous)

	_, err = readUsage(-1)
	assert.ErrorIs(t, err, os.ErrNotExist)
	assert.ErrorContains(t, err, "reading the memory of process -1")
}
