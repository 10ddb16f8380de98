package demo

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestWrap(t *testing.T) {
	cases := map[string]struct {
		text string
		want []string
	}{
		"empty":          {"", []string{""}},
		"fits":           {"one two", []string{"one two"}},
		"breaks":         {"one two three", []string{"one two", "three"}},
		"exactly":        {"one three", []string{"one three"}},
		"too long":       {"a incomprehensible b", []string{"a", "incomprehensible", "b"}},
		"counts letters": {"äöü äöü ä", []string{"äöü äöü ä"}},
		"spaces":         {"  one\n two ", []string{"one two"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) { assert.Equal(t, tc.want, wrap(tc.text, 9)) })
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	newPrinter(&out).table([]string{"POD", "ROLE"}, []row{
		{cells: []string{"orders", "server"}},
		{cells: []string{"x", "client"}, details: [][2]string{{"names", strings.Repeat("word ", 20)}}},
		{cells: []string{"y", ""}},
	})
	assert.Equal(t, `  POD     ROLE
  orders  server
  x       client
    names     word word word word word word word word word word word word word word word word word
              word word word

  y
`, out.String())
	for line := range strings.Lines(out.String()) {
		assert.LessOrEqual(t, utf8.RuneCountInString(line), width+1)
	}
}

func TestStepsTellTheTime(t *testing.T) {
	var out bytes.Buffer
	p := newPrinter(&out)
	p.step("%d things", 2)
	p.file("01-ca.yaml", "done")
	assert.Regexp(t, `^ +\d+\.\ds  2 things\n +\d+\.\ds  01-ca\.yaml {19}done\n$`, out.String())
}

func TestProgramWith(t *testing.T) {
	p := program{root: "/r", env: []string{"A=1", "AB=2"}, args: []string{"x"}}
	assert.Equal(t, program{root: "/r", env: []string{"AB=2"}, args: []string{"x"}}, p.with("A", ""))
	changed := p.with("A", "3")
	assert.Equal(t, "3", changed.variable("A"))
	assert.Equal(t, "2", changed.variable("AB"))
	assert.Equal(t, "1", p.variable("A"), "the original stays")
	assert.Empty(t, p.variable("B"))
}

func TestProgramWithoutKeyPair(t *testing.T) {
	p := program{root: t.TempDir(), env: []string{"MTLS_CLIENT_CERT=/tls.crt", "MTLS_CLIENT_KEY=/tls.key"}}
	_, err := p.publicKey()
	require.ErrorContains(t, err, "reading its key pair: open "+filepath.Join(p.root, "tls.crt"))
}

func TestNginxArgs(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "etc", "nginx")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	write := func(config string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(config), 0o600))
	}
	write("ssl_certificate        /a/tls.crt;\nssl_certificate_key /a/tls.key;\nssl_client_certificate\t/b/ca.crt;")
	got, err := nginxArgs(root)
	require.NoError(t, err)
	assert.Equal(t, []string{"--cert=/a/tls.crt", "--key=/a/tls.key", "--client-ca=/b/ca.crt"}, got)

	write("ssl_certificate /a/tls.crt; ssl_certificate_key /a/tls.key;")
	_, err = nginxArgs(root)
	require.EqualError(t, err, "nginx's configuration has no ssl_client_certificate")
	_, err = nginxArgs(t.TempDir())
	require.ErrorContains(t, err, "reading nginx's configuration in its pod: open ")
}

func TestDescribe(t *testing.T) {
	object := func(kind, name string) *unstructured.Unstructured {
		obj := &unstructured.Unstructured{}
		obj.SetKind(kind)
		obj.SetName(name)
		return obj
	}
	got := describe([]*unstructured.Unstructured{object("Service", "a"), object("Pod", "b"), object("Deployment", "a")})
	assert.Equal(t, "a: Service, Deployment; b: Pod", got)
}

func TestQuoted(t *testing.T) {
	manifest := "# Says:\n#\n#   The Pod\n#   * is\n#     wrong\n# A pod.\nkind: Pod #   no\n"
	assert.Equal(t, "The Pod * is wrong", quoted([]byte(manifest)))
}

func TestShortNames(t *testing.T) {
	assert.Equal(t, "a.b", shortNames([]string{"a.b"}))
	assert.Equal(t, "a.b.c +2", shortNames([]string{"a", "a.b.c", "a.b"}))
}

func TestReadAudit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	write := func(text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
	write(`{"annotations":{"` + webhookAudit + `outcome":"skipped","` + webhookAudit + `skip-reason":"no-role","other":"x"},"responseObject":{"metadata":{"uid":"1"}}}
{"responseObject":{"metadata":{"uid":"2"}}}
`)
	got, err := readAudit(path)
	require.NoError(t, err)
	assert.Equal(t, map[string]map[string]string{"1": {"outcome": "skipped", "skip-reason": "no-role"}, "2": {}}, got)

	write("{")
	_, err = readAudit(path)
	require.EqualError(t, err, "reading the audit log: unexpected end of JSON input")
	_, err = readAudit(path + ".none")
	require.ErrorContains(t, err, "reading the audit log: open ")
}

func TestTailIsShort(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var text strings.Builder
	for i := range 20 {
		fmt.Fprintf(&text, "%d %s\n", i, strings.Repeat("x", 1000))
	}
	require.NoError(t, os.WriteFile(path, []byte(text.String()), 0o600))
	lines := strings.Split(tail(path), "\n")
	assert.Len(t, lines, 8)
	assert.True(t, strings.HasPrefix(lines[7], "19 "))
	assert.True(t, strings.HasSuffix(lines[7], "x…"))
	assert.Less(t, len(lines[7]), 310)
	assert.Contains(t, tail(path+".none"), "no such file")
}
