package intent

import (
	"cmp"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// written writes what a key has set as its annotation would.
var written = map[string]func(*settings) string{
	keyRole:                func(s *settings) string { return string(s.role) },
	keyDelivery:            func(s *settings) string { return string(s.delivery) },
	keyService:             func(s *settings) string { return strings.Join(s.services, ",") },
	keyDNSNames:            func(s *settings) string { return strings.Join(s.dnsNames, ",") },
	keyCommonName:          func(s *settings) string { return s.subject.CommonName },
	"organizations":        func(s *settings) string { return strings.Join(s.subject.Organizations, ",") },
	"organizational-units": func(s *settings) string { return strings.Join(s.subject.OrganizationalUnits, ",") },
	keyIssuer:              func(s *settings) string { return s.issuer.Name },
	keyIssuerKind:          func(s *settings) string { return s.issuer.Kind },
	keyIssuerGroup:         func(s *settings) string { return s.issuer.Group },
	keyDuration:            func(s *settings) string { return ShortDuration(s.duration) },
	keyRenewBefore:         func(s *settings) string { return s.renewBefore.String() },
	keyKeyAlgorithm:        func(s *settings) string { return string(s.keyAlgorithm) },
	keyKeySize:             func(s *settings) string { return strconv.FormatInt(s.keySize, 10) },
	keyContainers:          func(s *settings) string { return strings.Join(s.containers, ",") },
	"exclude-containers":   func(s *settings) string { return strings.Join(s.exclude, ",") },
	"mount-path":           func(s *settings) string { return s.mountPath },
	"ca-bundle":            func(s *settings) string { return string(s.bundle.Kind) + "/" + s.bundle.Name },
	"env":                  func(s *settings) string { return cmp.Or(strings.Join(words(s.env...), ","), "none") },
	"pre-stop-seconds":     func(s *settings) string { return strconv.FormatInt(s.preStop, 10) },
	keyFSGroup:             func(s *settings) string { return strconv.FormatInt(s.fsGroup, 10) },
	keyReload:              func(s *settings) string { return string(s.reload) },
	keyReloadSignal:        func(s *settings) string { return s.reloadSignal },
	keyReloadContainer:     func(s *settings) string { return s.reloadContainer },
	keyReloadProcess:       func(s *settings) string { return s.reloadProcess },
	keyReloadURL:           func(s *settings) string { return s.reloadURL },
	keyAgent:               func(s *settings) string { return strconv.FormatBool(s.agent) },
	"probes":               func(s *settings) string { return string(s.probes) },
	keyCompanion:           func(s *settings) string { return strconv.FormatBool(s.companion) },
}

// FuzzParseValue gives any text to any key. It never panics. A value that is taken reads
// the same when written again, and holds nothing that separates items; one that is not
// leaves the settings alone, and what is said of it is short and does not repeat it.
func FuzzParseValue(f *testing.F) {
	for row, key := range table {
		for _, value := range append(key.Values, "", "web", "a, b,a", "*.example.com", "ConfigMap/trust", "ClusterTrustBundle/a:b:c",
			"72h", "1h0m0.5s", "256", "4294967295", "/certs", "http://localhost:1/", "http://localhost:8080/-/reload?x=1", "Issuer", "true", "$x", "a\nb", "\xff", "ü") {
			f.Add(uint8(row), value)
		}
	}
	f.Fuzz(func(t *testing.T, number uint8, value string) {
		key := &table[int(number)%len(table)]
		if key.Scope == ScopeStatus {
			return
		}
		before := newSettings(BuiltinDefaults())
		once := before
		if err := key.set(&once, value); err != nil {
			assert.Equal(t, before, once, "refused and yet set")
			assert.Less(t, len(err.Error()), 1024)
			assert.True(t, utf8.ValidString(err.Error()))
			assert.False(t, strings.ContainsFunc(err.Error(), unicode.IsControl), "%q", err)
			return
		}
		text := written[key.Name](&once)
		twice := before
		require.NoError(t, key.set(&twice, text), "%q was taken, but not %q", value, text)
		assert.Equal(t, once, twice)
		for item := range strings.SplitSeq(text, ",") {
			assert.NotEmpty(t, item)
			assert.Equal(t, strings.TrimSpace(item), item)
			assert.NotContains(t, item, "$")
			assert.False(t, strings.ContainsFunc(item, unicode.IsControl), "%q", item)
			assert.True(t, utf8.ValidString(item))
		}
	})
}

// TestEveryKeyIsWritten keeps the fuzz target whole when a row is added.
func TestEveryKeyIsWritten(t *testing.T) {
	for _, key := range table {
		assert.Equal(t, key.Scope != ScopeStatus, written[key.Name] != nil, key.Name)
		assert.Equal(t, key.Scope != ScopeStatus, key.set != nil, key.Name)
	}
}
