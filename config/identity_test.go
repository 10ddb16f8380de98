package config_test

// The rules of names.

import (
	"math/rand/v2"
	"path"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/labels"

	"example.io/mtls-injector/config"
	"example.io/mtls-injector/intent"
)

func TestParseNames(t *testing.T) {
	for name, test := range map[string]parsed{
		"name rules": {
			yaml: `identity:
  allow:
  - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: gateway}}
    dnsNames: [www.example.com, "*.api.example.com"]
    commonNames: [Example Gateway]
`,
			want: func(t *testing.T, d *intent.Defaults) {
				t.Helper()
				d.AllowedNames = []intent.NameRule{{
					Namespaces:  selector(t, "kubernetes.io/metadata.name=gateway"),
					DNSNames:    []string{"www.example.com", "*.api.example.com"},
					CommonNames: []string{"Example Gateway"},
				}}
			},
		},
		"every kind of name": {
			yaml: `identity:
  workloadNames: false
  allow:
  - namespaceSelector: {}
    uris: ["https://example.com/*", "spiffe://partner.example/ns/[^a]/sa/?"]
    ipAddresses: [192.0.2.10, "2001:db8::10"]
    organizations: [Example Inc.]
    organizationalUnits: [Edge]
    countries: [DE]
    provinces: [Bavaria]
    localities: [Munich]
    streetAddresses: [1 Example Street]
    postalCodes: ["80331"]
    serialNumbers: ["1204"]
`,
			want: func(_ *testing.T, d *intent.Defaults) {
				d.WorkloadNames = false
				d.AllowedNames = []intent.NameRule{{
					Namespaces:          labels.Everything(),
					URIs:                []string{"https://example.com/*", "spiffe://partner.example/ns/[^a]/sa/?"},
					IPAddresses:         []string{"192.0.2.10", "2001:db8::10"},
					Organizations:       []string{"Example Inc."},
					OrganizationalUnits: []string{"Edge"},
					Countries:           []string{"DE"},
					Provinces:           []string{"Bavaria"},
					Localities:          []string{"Munich"},
					StreetAddresses:     []string{"1 Example Street"},
					PostalCodes:         []string{"80331"},
					SerialNumbers:       []string{"1204"},
				}}
			},
		},
		"another namespace's names are the administrator's to give": {
			yaml: "identity: {allow: [{namespaceSelector: {}, dnsNames: [web.shop.svc.cluster.local, \"*.shop.svc\"]}]}\n",
			want: func(_ *testing.T, d *intent.Defaults) {
				d.AllowedNames = []intent.NameRule{{
					Namespaces: labels.Everything(), DNSNames: []string{"web.shop.svc.cluster.local", "*.shop.svc"},
				}}
			},
		},
		"SPIFFE IDs of the domain that the file does not have": {
			yaml: "trustDomain: prod.example.org\nidentity: {allow: [{namespaceSelector: {}, uris: [\"spiffe://cluster.local/*\"]}]}\n",
			want: func(_ *testing.T, d *intent.Defaults) {
				d.TrustDomain = "prod.example.org"
				d.AllowedNames = []intent.NameRule{{Namespaces: labels.Everything(), URIs: []string{"spiffe://cluster.local/*"}}}
			},
		},
	} {
		t.Run(name, test.check)
	}
}

// granting is a file with one rule that grants the items of a list.
func granting(t *testing.T, list string, items ...string) []byte {
	t.Helper()
	rule := map[string]any{"namespaceSelector": map[string]any{}, list: items}
	file, err := yaml.Marshal(map[string]any{
		"apiVersion": config.APIVersion, "kind": config.Kind, "identity": map[string]any{"allow": []any{rule}},
	})
	require.NoError(t, err)
	return file
}

func TestParseRefusesURIs(t *testing.T) {
	const (
		form       = "must be an absolute URI, or a pattern of one as in Go's path.Match, such as https://example.com/*; the scheme is in lower case and without wildcards"
		characters = `must have printable ASCII characters only, without space, comma, '$' and '"'`
		domain     = "must be a SPIFFE ID, spiffe://<trust domain>/…, with a trust domain without wildcards: 1 to 255 lower-case letters, digits, '.', '-' and '_'"
		own        = "must be of another trust domain: the SPIFFE IDs of cluster.local come from service accounts alone"
	)
	for pattern, want := range map[string]string{
		"":                                     form,
		"example.com/path":                     form,
		"//example.com/path":                   form,
		"/path":                                form,
		"https:":                               form,
		"HTTPS://example.com":                  form,
		"*://example.com":                      form,
		"*":                                    form,
		"*piffe://cluster.local/ns/a/sa/b":     form,
		"[s]piffe://cluster.local/ns/a":        form,
		`s\piffe://cluster.local/ns/a`:         form,
		"SPIFFE://cluster.local/ns/a/sa/b":     form,
		" spiffe://cluster.local/ns/a/sa/b":    form,
		"https://example.com/[":                form,
		"https://example.com/[]":               form,
		`https://example.com/\`:                form,
		"https://example.com/a b":              characters,
		"https://example.com/a,b":              characters,
		"https://example.com/${POD_NAME}":      characters,
		`https://example.com/"`:                characters,
		"https://exämple.com/":                 characters,
		"https://example.com/\n":               form,
		"https://example.com/\x7f":             characters,
		"spiffe://cluster.local/ns/a/sa/b":     own,
		"spiffe://cluster.local/*":             own,
		"spiffe://cluster.local":               own,
		"spiffe://*/ns/a/sa/b":                 domain,
		"spiffe://cluster.loca?/ns/a/sa/b":     domain,
		"spiffe://cluster.loca[l]/ns/a/sa/b":   domain,
		`spiffe://cluster\.local/ns/a/sa/b`:    domain,
		"spiffe://clust*":                      domain,
		"spiffe://cluster.local[^a]ns":         domain,
		"spiffe://Cluster.local/ns/a/sa/b":     domain,
		"spiffe://cluster.local:443/ns/a":      domain,
		"spiffe://user@cluster.local/ns/a":     domain,
		"spiffe://cluster%2elocal/ns/a":        domain,
		"spiffe://cluster.local#/ns/a":         domain,
		"spiffe:///ns/a/sa/b":                  domain,
		"spiffe:/?cluster.local/ns/a/sa/b":     domain,
		"spiffe:*":                             domain,
		"spiffe:[^a][^a]cluster.local/ns/a":    domain,
		"spiffe:cluster.local":                 domain,
		"spiffe://" + strings.Repeat("a", 256): domain,
	} {
		t.Run(pattern, func(t *testing.T) {
			_, err := config.Parse(granting(t, "uris", "spiffe://cluster.local.example/ns/*/sa/*", pattern))
			require.EqualError(t, err, "identity.allow[0].uris[1]: Invalid value: "+strconv.Quote(pattern)+": "+want)
		})
	}
}

// TestNoGrantMatchesTheOwnTrustDomain holds random patterns, made of a SPIFFE ID, against
// path.Match itself.
func TestNoGrantMatchesTheOwnTrustDomain(t *testing.T) {
	const own = "spiffe://cluster.local/ns/shop/sa/web"
	accepted, dangerous := 0, 0
	for seed := range uint64(2000) {
		random := rand.New(rand.NewPCG(seed, 4))
		pattern := own
		for range 1 + random.IntN(4) {
			from := random.IntN(len(pattern))
			to := min(from+random.IntN(3), len(pattern))
			pattern = pattern[:from] + pick(random, "*", "?", "[^z]", "[a-z]", `\`, "[", "x", "/", "", "*/*") + pattern[to:]
		}
		_, err := config.Parse(granting(t, "uris", pattern))
		if matches, _ := path.Match(pattern, own); matches {
			assert.Error(t, err, "%q", pattern)
			dangerous++
		}
		if err == nil {
			accepted++
		}
	}
	assert.Greater(t, accepted, 100, "patterns that are right")
	assert.Greater(t, dangerous, 100, "patterns that match")
}

func TestParseRefusesIPAddresses(t *testing.T) {
	const form = "must be an IP address such as 192.0.2.1 or 2001:db8::1"
	for address, want := range map[string]string{
		"":                   form,
		"example.com":        form,
		"10.0.0.0/8":         form,
		"10.0.0":             form,
		"10.0.0.256":         form,
		"10.0.0.01":          form,
		"0x0a000001":         form,
		"[::1]":              form,
		" ::1":               form,
		"1.2.3.4:443":        form,
		"fe80::1%eth0":       "must have no zone, which no certificate can hold",
		"2001:DB8::1":        "must be in its canonical form, 2001:db8::1",
		"2001:db8:0:0::1":    "must be in its canonical form, 2001:db8::1",
		"2001:0db8::1":       "must be in its canonical form, 2001:db8::1",
		"::ffff:192.0.2.1":   "must be in its canonical form, 192.0.2.1",
		"::ffff:c000:201":    "must be in its canonical form, 192.0.2.1",
		"64:ff9b::192.0.2.1": "must be in its canonical form, 64:ff9b::c000:201",
	} {
		t.Run(address, func(t *testing.T) {
			_, err := config.Parse(granting(t, "ipAddresses", "192.0.2.7", address))
			require.EqualError(t, err, "identity.allow[0].ipAddresses[1]: Invalid value: "+strconv.Quote(address)+": "+want)
		})
	}
}

func TestParseRefusesSubjects(t *testing.T) {
	const characters = `must have printable characters only, without comma, '$', '"' and '\'`
	lists := []string{
		"commonNames", "organizations", "organizationalUnits", "countries", "provinces", "localities",
		"streetAddresses", "postalCodes", "serialNumbers",
	}
	long := strings.Repeat("ä", 32)
	for _, list := range lists {
		t.Run(list, func(t *testing.T) {
			for text, want := range map[string]string{
				"":         "must not be empty nor begin or end with a space",
				" a":       "must not be empty nor begin or end with a space",
				"A, B":     characters,
				"$A":       characters,
				`a\b`:      characters,
				"a\u202e":  characters,
				long + "a": "must have at most 64 bytes (RFC 5280)",
			} {
				_, err := config.Parse(granting(t, list, long, text))
				assert.EqualError(t, err, "identity.allow[0]."+list+"[1]: Invalid value: "+strconv.Quote(text)+": "+want)
			}
			_, err := config.Parse(granting(t, list, "A", "B", "A"))
			assert.EqualError(t, err, "identity.allow[0]."+list+`[2]: Duplicate value: "A"`)
		})
	}
	for list, item := range map[string]string{"dnsNames": "a.example", "uris": "urn:a", "ipAddresses": "::1"} {
		_, err := config.Parse(granting(t, list, item, item))
		assert.EqualError(t, err, "identity.allow[0]."+list+`[1]: Duplicate value: "`+item+`"`)
	}
}
