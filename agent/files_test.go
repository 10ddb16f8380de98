package agent_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/agent"
)

// problems checks, and names the folders as they are in a pod.
func (s *scene) problems(files agent.Files) []string {
	replace := strings.NewReplacer(s.server.path, "/etc/tls/server", s.trust.path, "/etc/tls/ca")
	var all []string
	for _, problem := range files.Check(time.Now()).Problems {
		all = append(all, replace.Replace(problem))
	}
	return all
}

func TestCheck(t *testing.T) {
	hours := func(from, to time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(to) }
	}
	for name, c := range map[string]struct {
		make  func(*scene)
		files func(*agent.Files)
		// want are regular expressions.
		want []string
	}{
		"all is well": {make: func(s *scene) { s.issue(nil) }},
		"wildcard and capitals": {make: func(s *scene) { s.issue(nil) }, files: func(f *agent.Files) {
			f.DNSNames = []string{"*.orders.shop.svc", "orders-0.orders.shop.svc", "Orders.shop.svc"}
		}},
		"no bundle asked for": {make: func(s *scene) { s.issue(nil) }, files: func(f *agent.Files) { f.CA = "" }},
		"volume with nothing in it": {make: func(s *scene) { s.trust.write(map[string][]byte{"ca.crt": certPEM(s.ca.cert)}) },
			want: []string{`^/etc/tls/server is empty: its files have not been written; .* delete the pod`}},
		"no volume": {make: func(s *scene) { s.issue(nil); require.NoError(s.ca.t, os.RemoveAll(s.server.path)) },
			want: []string{`^/etc/tls/server does not exist: mount the volume`}},
		"file missing": {make: func(s *scene) {
			s.issue(nil)
			require.NoError(s.ca.t, os.Remove(s.server.file("tls.key")))
		}, want: []string{`^/etc/tls/server/tls.key does not exist: /etc/tls/server has only tls.crt$`}},
		"folder in place of a file": {make: func(s *scene) {
			s.issue(nil)
			require.NoError(s.ca.t, os.Remove(s.server.file("tls.key")))
			require.NoError(s.ca.t, os.Mkdir(s.server.file("tls.key"), 0o750))
		}, want: []string{`^/etc/tls/server/tls.key cannot be read: is a directory$`}},
		"huge": {make: func(s *scene) {
			s.issue(nil)
			s.trust.write(map[string][]byte{"ca.crt": make([]byte, 2<<20)})
		}, want: []string{`^/etc/tls/ca/ca.crt cannot be read: it is larger than 1048576 bytes$`}},
		"expired": {make: func(s *scene) { s.issue(hours(-3*time.Hour, -2*time.Hour)) },
			want: []string{`^the certificate expired 2h0m[0-9]s ago, at 20.*Z: look at why it is not renewed`}},
		"expired long ago": {make: func(s *scene) { s.issue(hours(-100*time.Hour, -72*time.Hour-time.Minute)) },
			want: []string{`^the certificate expired 3 days ago`}}, // before the CA's own certificate began
		"not yet": {make: func(s *scene) { s.issue(hours(5*time.Minute, time.Hour)) },
			want: []string{`^the certificate is not valid for another (4m59s|5m0s), before .*: the clock of this node is behind`}},
		"usage missing": {make: func(s *scene) { s.issue(nil) },
			files: func(f *agent.Files) { f.Usages = []string{"server auth", "client auth"} },
			want:  []string{`^the certificate is not good for client auth: it is good for server auth; the issuer or a policy`}},
		"no usage at all": {make: func(s *scene) { s.issue(func(c *x509.Certificate) { c.ExtKeyUsage = nil }) },
			want: []string{`^the certificate is not good for server auth: it is good for no extended usage`}},
		"other usages": {make: func(s *scene) {
			s.issue(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} })
		}, want: []string{`it is good for 1 others`}},
		"names missing": {make: func(s *scene) { s.issue(nil) }, files: func(f *agent.Files) {
			f.DNSNames = []string{"orders.shop.svc", "carts.shop.svc"}
			f.URIs = []string{"spiffe://cluster.local/ns/shop/sa/carts"}
		}, want: []string{
			`^the certificate is not for the DNS name carts.shop.svc: it has orders.shop.svc, \*.orders.shop.svc$`,
			`^the certificate is not for the URI spiffe://cluster.local/ns/shop/sa/carts: it has spiffe://cluster.local/ns/shop/sa/orders$`}},
		"no names": {make: func(s *scene) { s.issue(func(c *x509.Certificate) { c.DNSNames, c.URIs = nil, nil }) },
			want: []string{`it has no DNS name$`, `it has no URI$`}},
		"other key": {make: func(s *scene) {
			cert := s.issue(nil)
			s.server.write(map[string][]byte{"tls.crt": certPEM(cert), "tls.key": keyPEM(s.ca.t, newKey(s.ca.t))})
		}, want: []string{`^the key in /etc/tls/server/tls.key does not belong to the certificate in /etc/tls/server/tls.crt`}},
		"everything empty": {make: func(s *scene) {
			s.server.write(map[string][]byte{"tls.crt": {}, "tls.key": {}})
			s.trust.write(map[string][]byte{"ca.crt": {}})
		}, want: []string{`tls.crt holds no certificate: it must have a PEM block`, `tls.key holds no private key: it must have`,
			`^the bundle /etc/tls/ca/ca.crt has no certificate: look at whether the ConfigMap`}},
		"damaged": {make: func(s *scene) {
			junk := func(kind string) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte("junk")}) }
			s.server.write(map[string][]byte{"tls.crt": junk("CERTIFICATE"), "tls.key": junk("EC PRIVATE KEY")})
			s.trust.write(map[string][]byte{"ca.crt": junk("CERTIFICATE")})
		}, want: []string{`tls.crt holds no certificate chain: certificate 1: x509: malformed`, `tls.key holds a damaged private key`,
			`^the bundle /etc/tls/ca/ca.crt cannot be read: certificate 1: x509: malformed`}},
		"encrypted": {make: func(s *scene) {
			cert := s.issue(nil)
			s.server.write(map[string][]byte{"tls.crt": certPEM(cert), "tls.key": pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY"})})
		}, want: []string{`holds an encrypted key`}},
		"other CA": {make: func(s *scene) {
			s.issue(nil)
			s.trust.write(map[string][]byte{"ca.crt": certPEM(newAuthority(s.ca.t, "another", nil).cert)})
		}, want: []string{`^the certificate was signed by "CN=the CA", which is not in the bundle /etc/tls/ca/ca.crt: that has "CN=another"; add`}},
		"CA with a new key": {make: func(s *scene) {
			s.issue(nil)
			s.trust.write(map[string][]byte{"ca.crt": certPEM(newAuthority(s.ca.t, "the CA", nil).cert)})
		}, want: []string{`has another key: the issuer has a new one`}},
		"expired CA": {make: func(s *scene) {
			s.ca = newAuthority(s.ca.t, "old", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })
			s.issue(nil)
		}, want: []string{`^the CA that signed the certificate, "CN=old", expired 1h0m[0-9]s ago in the bundle /etc/tls/ca/ca.crt: put`}},
		"CA not yet valid": {make: func(s *scene) {
			s.ca = newAuthority(s.ca.t, "early", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) })
			s.issue(nil)
		}, want: []string{`^the CA that signed the certificate, "CN=early", is not valid for another (59m59s|1h0m0s): the clock`}},
		"CA may not": {make: func(s *scene) {
			s.ca = newAuthority(s.ca.t, "clients", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
			s.issue(nil)
		}, want: []string{`^the certificate's CA may not sign for server auth: x509: certificate specifies an incompatible key usage`}},
		"CA of other names": {make: func(s *scene) {
			s.ca = newAuthority(s.ca.t, "named", func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"example.org"} })
			s.issue(nil)
		}, want: []string{`^the certificate does not verify against the bundle /etc/tls/ca/ca.crt: .*not permitted`}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			c.make(s)
			files := s.files()
			if c.files != nil {
				c.files(&files)
			}
			found := s.problems(files)
			require.Len(t, found, len(c.want), "%q", found)
			for i, want := range c.want {
				assert.Regexp(t, want, found[i])
			}
		})
	}
}

// TestCheckIntermediate has a chain of three, and one whose middle is missing.
func TestCheckIntermediate(t *testing.T) {
	s := newScene(t)
	root := s.ca
	middle := authority{t: t, key: newKey(t)}
	template := *root.cert
	template.Subject.CommonName, template.RawSubject = "middle", nil
	middle.cert = root.sign(&template, middle.key.Public(), nil)
	cert, key := middle.leaf(nil)
	s.trust.write(map[string][]byte{"ca.crt": certPEM(newAuthority(t, "older", nil).cert, root.cert)})

	s.server.write(map[string][]byte{"tls.crt": certPEM(cert, middle.cert), "tls.key": keyPEM(t, key)})
	report := s.files().Check(time.Now())
	assert.Empty(t, report.Problems)
	assert.Equal(t, cert.NotAfter, report.NotAfter)
	require.NoError(t, report.Err())

	s.server.write(map[string][]byte{"tls.crt": certPEM(cert), "tls.key": keyPEM(t, key)})
	assert.Regexp(t, `^the certificate was signed by "CN=middle", which is not in the bundle .*: that has "CN=older", "CN=the CA"; .* missing intermediate into `+
		s.server.file("tls.crt")+`$`, s.files().Check(time.Now()).Err())
}

// TestKeyForms reads keys of every form that cert-manager writes.
func TestKeyForms(t *testing.T) {
	s := newScene(t)
	cert, key := s.ca.leaf(nil)
	ec, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	parsed, err := x509.ParsePKCS8PrivateKey(ec)
	require.NoError(t, err)
	assert.NotNil(t, parsed)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	rsaCert := s.ca.sign(&x509.Certificate{SerialNumber: cert.SerialNumber, NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, ExtKeyUsage: cert.ExtKeyUsage}, rsaKey.Public(), nil)
	s.trust.write(map[string][]byte{"ca.crt": certPEM(s.ca.cert)})
	files := s.files()
	files.DNSNames, files.URIs = nil, nil
	for name, text := range map[string][]byte{
		"PKCS #1": pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)}),
		"PKCS #8": keyPEM(t, rsaKey),
	} {
		s.server.write(map[string][]byte{"tls.crt": certPEM(rsaCert), "tls.key": text})
		assert.Empty(t, files.Check(time.Now()).Problems, name)
	}
}

// TestNothingOfAKeyIsTold looks at problems for what a key is made of.
func TestNothingOfAKeyIsTold(t *testing.T) {
	s := newScene(t)
	cert := s.issue(nil)
	secret := []byte("c2VjcmV0IG9mIHRoZSBrZXk=")
	for name, text := range map[string][]byte{
		"no PEM":     secret,
		"damaged":    []byte("-----BEGIN PRIVATE KEY-----\n" + string(secret) + "\n-----END PRIVATE KEY-----\n"),
		"no end":     []byte("-----BEGIN PRIVATE KEY-----\n" + string(secret)),
		"other kind": []byte("-----BEGIN DSA PRIVATE KEY-----\n" + string(secret) + "\n-----END DSA PRIVATE KEY-----\n"),
	} {
		s.server.write(map[string][]byte{"tls.crt": certPEM(cert), "tls.key": text})
		report := s.files().Check(time.Now())
		require.Len(t, report.Problems, 1, name)
		assert.NotContains(t, report.Problems[0], "secret", name)
		assert.NotContains(t, report.Problems[0], string(secret), name)
	}
}

func TestFingerprint(t *testing.T) {
	s := newScene(t)
	empty := s.files().Check(time.Now()).Fingerprint
	cert := s.issue(nil)
	first := s.files().Check(time.Now()).Fingerprint
	assert.NotEqual(t, empty, first)

	data := map[string][]byte{}
	for _, name := range []string{"tls.crt", "tls.key"} {
		var err error
		data[name], err = os.ReadFile(s.server.file(name))
		require.NoError(t, err)
	}
	s.server.write(data)
	assert.Equal(t, first, s.files().Check(time.Now()).Fingerprint, "the same contents, swapped in anew")

	s.trust.write(map[string][]byte{"ca.crt": certPEM(s.ca.cert, newAuthority(t, "next", nil).cert)})
	bundle := s.files().Check(time.Now()).Fingerprint
	assert.NotEqual(t, first, bundle, "the bundle counts")
	s.issue(nil)
	assert.NotEqual(t, bundle, s.files().Check(time.Now()).Fingerprint)
	assert.NotNil(t, cert)
}

// TestUnreadable runs the check as a user that may not read the files.
func TestUnreadable(t *testing.T) {
	const variable = "AGENT_TEST_UNREADABLE"
	if dir := os.Getenv(variable); dir != "" {
		files := agent.Files{Cert: filepath.Join(dir, "open/tls.crt"), Key: filepath.Join(dir, "open/tls.key"), CA: filepath.Join(dir, "shut/ca.crt")}
		_, _ = os.Stdout.WriteString(files.Check(time.Now()).Err().Error() + "\n")
		return
	}
	dir, err := os.MkdirTemp("", "agent-unreadable-") //nolint:usetesting // others must be able to go through it
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	for _, folder := range []string{"open", "shut"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, folder), 0o755))
	}
	cert, key := newAuthority(t, "the CA", nil).leaf(nil)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "open/tls.crt"), certPEM(cert), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "open/tls.key"), keyPEM(t, key), 0o600))
	require.NoError(t, os.Chmod(filepath.Join(dir, "open/tls.key"), 0o040))
	require.NoError(t, os.Chmod(filepath.Join(dir, "shut"), 0))
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "shut"), 0o755) })

	program := filepath.Join(dir, "agent.test") // go test's own folder is for its user only
	self, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, self, 0o755))
	cmd := exec.CommandContext(t.Context(), program, "-test.run", "^TestUnreadable$")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), variable+"="+dir)
	user, group := os.Getuid(), os.Getgid()
	if user == 0 { // to root nothing is unreadable
		user, group = 65532, 65533
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65532, Gid: 65533}}
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	us := "this process has uid " + strconv.Itoa(user) + " and groups "
	assert.Contains(t, string(out), "/open/tls.key cannot be read: it has mode 0040, owner ")
	assert.Contains(t, string(out), us)
	assert.Contains(t, string(out), strconv.Itoa(group))
	assert.Contains(t, string(out), "/shut cannot be read: it has mode 0000, owner ")
	assert.Contains(t, string(out), "set the annotation fs-group, or the pod's securityContext.fsGroup")
}
