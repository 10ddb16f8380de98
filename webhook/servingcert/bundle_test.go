package servingcert

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNext(t *testing.T) {
	older, old, current := newCA(t, start.Add(-2*time.Hour)), newCA(t, start.Add(-time.Hour)), newCA(t, start)
	younger := newCA(t, start.Add(time.Minute))
	expired := newCA(t, start.Add(-25*time.Hour))
	foreign := newCA(t, start, func(c *x509.Certificate) { c.Subject.CommonName = "another-ca" })
	for name, tt := range map[string]struct {
		bundle   []byte
		inUse    *testCA
		outlived []*testCA
		want     []byte
	}{
		"empty":                       {nil, nil, nil, pemOf(current)},
		"right already":               {pemOf(current), current, nil, pemOf(current)},
		"beside the old one":          {pemOf(old), old, nil, pemOf(current, old)},
		"youngest first":              {pemOf(older, old, current, younger), nil, nil, pemOf(younger, current, old, older)},
		"each once":                   {pemOf(old, current, old), old, nil, pemOf(current, old)},
		"in use, and overwritten":     {nil, old, nil, pemOf(current, old)},
		"another replica's":           {pemOf(older), old, nil, pemOf(current, old, older)},
		"outlived":                    {pemOf(current, old), nil, []*testCA{old}, pemOf(current)},
		"outlived, though in use":     {pemOf(current, old), old, []*testCA{old}, pemOf(current)},
		"expired":                     {pemOf(current, expired), expired, nil, pemOf(current)},
		"somebody else's":             {pemOf(foreign), nil, nil, pemOf(current)},
		"not PEM":                     {[]byte("\n"), nil, nil, pemOf(current)},
		"text around it":              {append([]byte("# ours\n"), pemOf(current)...), nil, nil, pemOf(current)},
		"what is broken is taken out": {slices.Concat(pemOf(old), block("CERTIFICATE", nil, []byte("?"))), nil, nil, pemOf(current, old)},
	} {
		t.Run(name, func(t *testing.T) {
			var inUse *x509.Certificate
			if tt.inUse != nil {
				inUse = tt.inUse.Certificate
			}
			outlived := func(ca *x509.Certificate) bool { return slices.ContainsFunc(certsOf(tt.outlived...), ca.Equal) }
			got := next(tt.bundle, current.Certificate, inUse, outlived, start)
			assert.Equal(t, string(tt.want), string(got))
			assert.Equal(t, string(got), string(next(got, current.Certificate, inUse, outlived, start)), "once it is right it stays")
		})
	}
}

func TestCheckOurs(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*x509.Certificate)
		want   string
	}{
		"ours": {func(*x509.Certificate) {}, ""},
		"another name": {func(c *x509.Certificate) { c.Subject.CommonName += "2" },
			`the subject is "CN=mtls-injector-webhook-ca2", not "CN=mtls-injector-webhook-ca"`},
		"more than the name": {func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: commonName, Organization: []string{"x"}} },
			`the subject is "CN=mtls-injector-webhook-ca,O=x", not "CN=mtls-injector-webhook-ca"`},
		"no CA": {func(c *x509.Certificate) { c.IsCA = false },
			"it is not a self-signed CA: x509: invalid signature: parent certificate cannot sign this kind of certificate"},
		"may not sign": {func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature },
			"it is not a self-signed CA: x509: invalid signature: parent certificate cannot sign this kind of certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkOurs(newCA(t, start, tt.change).Certificate)
			if tt.want == "" {
				assert.NoError(t, err)
			} else {
				assert.EqualError(t, err, tt.want)
			}
		})
	}
}

// TestCheckOursIssuedByAnother: a CA of our name that another one has signed is not ours.
func TestCheckOursIssuedByAnother(t *testing.T) {
	ca, another := newCA(t, start), newCA(t, start)
	signed := create(t, ca.Certificate, another.Certificate, ca.key, another.key)
	assert.EqualError(t, checkOurs(signed), "it is not a self-signed CA: x509: ECDSA verification failure")
}

func TestParse(t *testing.T) {
	a, b := newCA(t, start), newCA(t, start)
	for name, tt := range map[string]struct {
		text []byte
		want []*x509.Certificate
	}{
		"nothing":          {nil, nil},
		"one after other":  {pemOf(a, b), certsOf(a, b)},
		"another type":     {slices.Concat(block("PUBLIC KEY", nil, a.Raw), pemOf(b)), certsOf(b)},
		"with headers":     {slices.Concat(block(pemType, map[string]string{"a": "b"}, a.Raw), pemOf(b)), certsOf(b)},
		"no certificate":   {slices.Concat(block(pemType, nil, []byte("?")), pemOf(b)), certsOf(b)},
		"cut off":          {pemOf(a, b)[:len(pemOf(a))+20], certsOf(a)},
		"words in between": {slices.Concat(pemOf(a), []byte("and\n"), pemOf(b)), certsOf(a, b)},
	} {
		t.Run(name, func(t *testing.T) {
			got := parse(tt.text)
			assert.True(t, slices.EqualFunc(tt.want, got, (*x509.Certificate).Equal), got)
		})
	}
}

func block(kind string, headers map[string]string, data []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Headers: headers, Bytes: data})
}

// FuzzBundle: whatever stands in a caBundle, the CA that signs is in the next one, all in
// that is ours and lives, was in the last one, or signs, and the next one stays as it is.
func FuzzBundle(f *testing.F) {
	old, current := newCA(f, start.Add(-time.Hour)), newCA(f, start)
	for _, seed := range [][]byte{nil, []byte("\n"), pemOf(old), pemOf(current, old), block(pemType, nil, []byte("?"))} {
		f.Add(seed)
	}
	never := func(*x509.Certificate) bool { return false }
	f.Fuzz(func(t *testing.T, text []byte) {
		got := next(text, current.Certificate, nil, never, start)
		cas := parse(got)
		require.True(t, slices.ContainsFunc(cas, current.Equal))
		for _, ca := range cas {
			require.NoError(t, checkOurs(ca))
			require.True(t, ca.Equal(current.Certificate) || bytes.Contains(der(text), ca.Raw))
		}
		require.Equal(t, string(got), string(encode(cas)))
		require.Equal(t, string(got), string(next(got, current.Certificate, nil, never, start)))
	})
}

// der joins the bytes of all PEM blocks.
func der(text []byte) []byte {
	var all []byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		all = append(all, block.Bytes...)
	}
	return all
}
