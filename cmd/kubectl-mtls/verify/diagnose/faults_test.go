package diagnose

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/cmd/kubectl-mtls/verify/probe"
)

// nginx answers as it does: the handshake passes whatever the client shows.
func nginx(s *scene, verify func(*http.Request) string) {
	s.tls.ClientAuth = tls.RequestClientCert
	s.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", "nginx/1.26.3")
		if why := verify(r); why != "" {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, "<html><head><title>400 "+why+"</title></head></html>")
		}
	})
}

func (s *scene) nginxOn(r *http.Request) string {
	switch {
	case len(r.TLS.PeerCertificates) == 0:
		return nginxNone
	case r.TLS.PeerCertificates[0].CheckSignatureFrom(s.ca.cert) != nil:
		return nginxRefused
	}
	return ""
}

// Every fault, made on purpose, is named; and nothing else is.
func TestFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		make func(*scene)
		want map[Fault]string
	}{
		"nothing":                {func(*scene) {}, nil},
		"nothing, with TLS 1.2":  {func(s *scene) { s.tls.MaxVersion = tls.VersionTLS12 }, nil},
		"nothing, with HTTP/1.1": {func(s *scene) { s.tls.NextProtos = nil }, nil},
		"nothing, with h2 alone": {func(s *scene) { s.tls.NextProtos = []string{"h2"} }, nil},
		"nothing, as nginx does": {func(s *scene) { nginx(s, s.nginxOn) }, nil},
		"nothing, as nginx does in HTTP/1.1": {func(s *scene) {
			nginx(s, s.nginxOn)
			s.tls.NextProtos = []string{"http/1.1"}
		}, nil},
		"nothing, with an intermediate": {func(s *scene) {
			s.serve(withChain(newCA(s.t, "between", s.ca)))
		}, nil},
		"nothing, and the server speaks something else": {func(s *scene) {
			s.raw = func(conn net.Conn) {
				c := tls.Server(conn, s.tls)
				if c.Handshake() == nil {
					_, _ = io.Copy(io.Discard, c)
				}
			}
			s.tls.NextProtos, s.probe.Timeout = nil, time.Second
		}, nil},
		"nothing, and the server speaks first": {func(s *scene) {
			s.raw = func(conn net.Conn) {
				c := tls.Server(conn, s.tls)
				if _, err := io.WriteString(c, "220 hello\r\n"); err == nil {
					_, _ = io.Copy(io.Discard, c)
				}
			}
			s.tls.NextProtos = nil
		}, nil},
		"nobody listens": {func(s *scene) { s.listen = false },
			map[Fault]string{NotListening: "connection refused: nothing listens on the port"}},
		"plain HTTP": {func(s *scene) { s.plain = true },
			map[Fault]string{PlainHTTP: "the port answers plain HTTP (200 OK)"}},
		"another protocol": {func(s *scene) {
			s.raw = func(conn net.Conn) {
				_, _ = io.WriteString(conn, "SSH-2.0-OpenSSH_9.9\r\n")
				_, _ = io.Copy(io.Discard, conn)
			}
			s.probe.Timeout = time.Second
		}, map[Fault]string{NotTLS: `the port answers the beginning of TLS with something else: "SSH-2"`}},
		"closed at once": {func(s *scene) {
			s.raw = func(conn net.Conn) { _, _ = bufio.NewReader(conn).ReadByte() }
		}, map[Fault]string{NotTLS: "the port closes the connection at the beginning of TLS"}},
		"silence": {func(s *scene) {
			s.raw = func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
			s.probe.Timeout = 300 * time.Millisecond
		}, map[Fault]string{NoAnswer: "the port takes the connection and says nothing"}},
		"no certificate at the server": {func(s *scene) {
			s.tls.Certificates = nil
			s.tls.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, io.EOF }
		}, map[Fault]string{NoHandshake: `the server speaks TLS and refuses the handshake: the server says "internal error"`}},
		"old versions": {func(s *scene) { s.tls.MinVersion = tls.VersionTLS10 },
			map[Fault]string{OldVersions: "TLS 1.0, TLS 1.1, TLS 1.2, TLS 1.3 spoken"}},
		"only old versions": {func(s *scene) { s.tls.MinVersion, s.tls.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 },
			map[Fault]string{NoModern: "only TLS 1.0, TLS 1.1 spoken"}},
		"plain HTTP on the same port": {func(s *scene) { s.raw = s.both },
			map[Fault]string{PlaintextToo: "a request without TLS is answered, too (200 OK)"}},
		"no client certificate demanded": {func(s *scene) { s.tls.ClientAuth = tls.NoClientCert },
			map[Fault]string{NotDemanded: "the server asks for no client certificate"}},
		"client certificates optional": {func(s *scene) { s.tls.ClientAuth = tls.VerifyClientCertIfGiven },
			map[Fault]string{NoneAccepted: "a client without a certificate is let in: HTTP answers 200 OK"}},
		"client certificates not verified": {func(s *scene) { s.tls.ClientAuth = tls.RequireAnyClientCert },
			map[Fault]string{ForeignTaken: "a certificate of a CA that was made up for this check is let in: HTTP answers 200 OK"}},
		"client certificates asked for and forgotten": {func(s *scene) { s.tls.ClientAuth = tls.RequestClientCert },
			map[Fault]string{
				NoneAccepted: "a client without a certificate is let in: HTTP answers 200 OK",
				ForeignTaken: "a certificate of a CA that was made up for this check is let in: HTTP answers 200 OK",
			}},
		"nginx optional_no_ca": {func(s *scene) {
			nginx(s, func(r *http.Request) string {
				if len(r.TLS.PeerCertificates) == 0 {
					return nginxNone
				}
				return ""
			})
		}, map[Fault]string{ForeignTaken: "a certificate of a CA that was made up for this check is let in: HTTP answers 200 OK, server nginx/1.26.3"}},
		"clients of another CA": {func(s *scene) {
			s.tls.ClientCAs = x509.NewCertPool()
			s.tls.ClientCAs.AddCert(newCA(s.t, "another CA", nil).cert)
		}, map[Fault]string{
			OwnRefused:   `a client certificate (issued by ClusterIssuer/internal for the check) is refused: the server says "unknown certificate authority"`,
			OtherCANames: "the server tells clients that it takes certificates of CN=another CA, and not of CN=the CA, which is in the bundle",
		}},
		"nginx with another CA": {func(s *scene) {
			nginx(s, func(r *http.Request) string {
				if len(r.TLS.PeerCertificates) == 0 {
					return nginxNone
				}
				return nginxRefused
			})
		}, map[Fault]string{OwnRefused: "a client certificate (issued by ClusterIssuer/internal for the check) is refused: " +
			`the handshake passes, and HTTP answers 400 Bad Request, server nginx/1.26.3, "The SSL certificate error"`}},
		"the application wants others": {func(s *scene) {
			s.handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
		}, map[Fault]string{OwnDenied: "a client certificate (issued by ClusterIssuer/internal for the check): the handshake passes, and HTTP answers 403 Forbidden"}},
		"no bundle": {func(s *scene) { s.facts.Bundle, s.facts.BundleFault = nil, BundleMissing },
			map[Fault]string{BundleMissing: "ConfigMap mtls-ca-bundle, key ca.crt does not exist, or has no such key"}},
		"an empty bundle": {func(s *scene) { s.facts.Bundle, s.facts.BundleFault = nil, BundleBroken },
			map[Fault]string{BundleBroken: "ConfigMap mtls-ca-bundle, key ca.crt holds no certificate"}},
		"an expired CA": {func(s *scene) {
			ca := newCA(s.t, "old CA", nil, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Hour) })
			s.trust(ca)
			s.serve(ca.leaf())
		}, map[Fault]string{CAExpired: "the CA CN=old CA in ConfigMap mtls-ca-bundle, key ca.crt expired at " + stamp(now.Add(-time.Hour))}},
		"a CA that was replaced": {func(s *scene) { s.serve(newCA(s.t, "the CA", nil).leaf()) },
			map[Fault]string{CAReplaced: "ConfigMap mtls-ca-bundle, key ca.crt has a CA CN=the CA with another key than the one that signed"}},
		"a CA that nobody knows": {func(s *scene) { s.serve(newCA(s.t, "another CA", nil).leaf()) },
			map[Fault]string{UnknownCA: "the certificate was signed by CN=another CA, which is not in ConfigMap mtls-ca-bundle, key ca.crt"}},
		"a chain of another CA": {func(s *scene) {
			other := newCA(s.t, "another CA", nil)
			certificate := other.leaf()
			certificate.Certificate = append(certificate.Certificate, other.cert.Raw)
			s.serve(certificate)
		}, map[Fault]string{UnknownCA: "the chain leads to CN=another CA, which is not in ConfigMap mtls-ca-bundle, key ca.crt"}},
		"self-signed": {func(s *scene) {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			require.NoError(s.t, err)
			self := &authority{t: s.t, key: key, cert: &x509.Certificate{Subject: pkix.Name{CommonName: "me"}}}
			s.serve(self.leafOf(key, func(c *x509.Certificate) { c.Subject.CommonName = "me" }))
		}, map[Fault]string{SelfSigned: "the server shows a certificate that signed itself: CN=me"}},
		"an intermediate that is not sent": {func(s *scene) {
			between := newCA(s.t, "between", s.ca)
			s.serve(between.leaf())
			s.facts.Intermediates = []*x509.Certificate{between.cert}
		}, map[Fault]string{ChainGap: "only the server's certificate is sent, and not the intermediate CN=between, which signed it"}},
		"a chain out of order": {func(s *scene) {
			certificate := withChain(newCA(s.t, "lower", newCA(s.t, "upper", s.ca)))
			upper := certificate.Certificate[1]
			certificate.Certificate = append(certificate.Certificate, upper)
			certificate.Certificate[1] = s.ca.cert.Raw
			s.serve(certificate)
			s.trust(&authority{cert: mustParse(s.t, upper)}, s.ca)
		}, map[Fault]string{ChainOrder: "certificate 2 (CN=the CA) did not sign the one before it, which CN=lower signed"}},
		"no names": {func(s *scene) {
			s.serve(s.ca.leaf(func(c *x509.Certificate) { c.DNSNames, c.Subject.CommonName = nil, service }))
		}, map[Fault]string{NoNames: `the certificate has no DNS name; its common name is "orders.shop.svc.cluster.local"`}},
		"a name is missing": {func(s *scene) {
			s.serve(s.ca.leaf(func(c *x509.Certificate) { c.DNSNames = []string{service} }))
		}, map[Fault]string{MissingNames: "the certificate lacks orders; it has orders.shop.svc.cluster.local"}},
		"a name too many": {func(s *scene) {
			s.serve(s.ca.leaf(func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, "bank") }))
		}, map[Fault]string{OtherNames: "the certificate has bank, which the pod would not get today"}},
		"another certificate by name": {func(s *scene) {
			other := s.ca.leaf(func(c *x509.Certificate) { c.DNSNames = []string{"default"} })
			s.tls.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
				if hello.ServerName != "orders" {
					return nil, nil
				}
				config := s.tls.Clone()
				config.Certificates = []tls.Certificate{other}
				return config, nil
			}
		}, map[Fault]string{OtherByName: "orders gets that of default"}},
		"no SPIFFE ID": {func(s *scene) { s.serve(s.ca.leaf(func(c *x509.Certificate) { c.URIs = nil })) },
			map[Fault]string{NoSPIFFEID: "the certificate has no SPIFFE ID; the pod is " + spiffeID}},
		"another SPIFFE ID": {func(s *scene) {
			other, err := url.Parse("spiffe://cluster.local/ns/shop/sa/default")
			require.NoError(s.t, err)
			s.serve(s.ca.leaf(func(c *x509.Certificate) { c.URIs = []*url.URL{other} }))
		}, map[Fault]string{OtherSPIFFEID: "the certificate says spiffe://cluster.local/ns/shop/sa/default; the pod is " + spiffeID}},
		"no server auth": {func(s *scene) { s.serve(s.ca.leaf(usages(x509.ExtKeyUsageClientAuth))) },
			map[Fault]string{NoServerAuth: "the certificate has no usage server auth"}},
		"no client auth": {func(s *scene) { s.serve(s.ca.leaf(usages(x509.ExtKeyUsageServerAuth))) },
			map[Fault]string{NoClientAuth: "the certificate has no usage client auth, and the pod's role is both"}},
		"no usages": {func(s *scene) { s.serve(s.ca.leaf(usages())) },
			map[Fault]string{NoUsages: "the certificate names neither server auth nor client auth"}},
		"no digital signature": {func(s *scene) {
			s.serve(s.ca.leaf(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }))
		}, map[Fault]string{NoSignature: "the certificate has no usage digital signature"}},
		"a CA's certificate": {func(s *scene) {
			s.serve(s.ca.leaf(func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }))
		}, map[Fault]string{IsCA: "the certificate is that of a CA"}},
		"a weak key": {func(s *scene) { s.serve(s.ca.leafOf(rsaKey(s.t, 1024))) },
			map[Fault]string{WeakKey: "the key is RSA 1024, and 2048 bits are the least"}},
		"another key": {func(s *scene) { s.serve(s.ca.leafOf(rsaKey(s.t, 2048))) },
			map[Fault]string{OtherKey: "the key is RSA 2048, and ECDSA 256 was asked for"}},
		"expired": {func(s *scene) {
			s.serve(s.ca.leaf(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-90*24*time.Hour), now.Add(-72*time.Hour) }))
		}, map[Fault]string{Expired: "expired at " + stamp(now.Add(-72*time.Hour)) + ", 3 days ago"}},
		"expired, and older than its CA": {func(s *scene) {
			young := newCA(s.t, "young CA", nil, func(c *x509.Certificate) { c.NotBefore = now.Add(-time.Hour) })
			s.trust(young, s.ca)
			s.serve(young.leaf(func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = now.Add(-90*24*time.Hour), now.Add(-72*time.Hour)
			}))
		}, map[Fault]string{Expired: "expired at " + stamp(now.Add(-72*time.Hour)) + ", 3 days ago"}},
		"not yet valid": {func(s *scene) {
			s.serve(s.ca.leaf(func(c *x509.Certificate) { c.NotBefore = now.Add(5 * time.Minute) }))
		}, map[Fault]string{NotYetValid: "valid from " + stamp(now.Add(5*time.Minute)) + ", in 5 minutes"}},
		"not renewed": {func(s *scene) {
			s.serve(s.ca.leaf(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-2000*time.Hour), now.Add(160*time.Hour) }))
		}, map[Fault]string{RenewalOverdue: "expires at " + stamp(now.Add(160*time.Hour)) + ", in 6 days, and was to be renewed 720h before"}},
		"not reloaded": {func(s *scene) {
			newer := s.ca.leaf(func(c *x509.Certificate) { c.NotBefore = now.Add(-time.Minute); c.NotAfter = now.Add(2160 * time.Hour) })
			s.facts.Current = issued(newer)
		}, map[Fault]string{Stale: "a certificate of " + stamp(now.Add(-time.Hour)) + " is served, and CertificateRequest a has a newer one of " + stamp(now.Add(-time.Minute))}},
		"files of somebody else": {func(s *scene) {
			s.facts.Current = issued(s.ca.leaf(func(c *x509.Certificate) { c.DNSNames = []string{"orders"} }))
		}, map[Fault]string{OtherFiles: "the certificate that is served (orders, signed by CN=the CA) is none that was issued for the pod; the last is that of CertificateRequest a"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			tc.make(s)
			report := s.judge()
			got := map[Fault]string{}
			for _, f := range report.Findings {
				if f.Fault != "" {
					got[f.Fault] = f.Seen
					assert.NotEmpty(t, f.Why, f.Fault)
					assert.NotEmpty(t, f.Remedy, f.Fault)
				}
			}
			if tc.want == nil {
				tc.want = map[Fault]string{}
			}
			assert.Equal(t, tc.want, got)
			assert.Empty(t, report.NotChecked)
		})
	}
}

func usages(usages ...x509.ExtKeyUsage) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.ExtKeyUsage = usages }
}

func mustParse(t testing.TB, der []byte) *x509.Certificate {
	t.Helper()
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return certificate
}

// withChain returns a leaf of the CA with the CA's certificate below it.
func withChain(ca *authority) tls.Certificate {
	certificate := ca.leaf()
	certificate.Certificate = append(certificate.Certificate, ca.cert.Raw)
	return certificate
}

// trust is what the pod trusts, and the server too.
func (s *scene) trust(cas ...*authority) {
	s.facts.Bundle = nil
	for _, ca := range cas {
		s.facts.Bundle = append(s.facts.Bundle, ca.cert)
		s.tls.ClientCAs.AddCert(ca.cert)
	}
}

// both serves plain HTTP to those who speak it, and TLS to others.
func (s *scene) both(conn net.Conn) {
	reader := bufio.NewReader(conn)
	first, err := reader.Peek(1)
	if err != nil {
		return
	}
	if first[0] == 'G' {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		return
	}
	s.tls.NextProtos = nil
	c := tls.Server(&peeked{Conn: conn, reader: reader}, s.tls)
	if c.Handshake() == nil {
		_, _ = http.ReadRequest(bufio.NewReader(c))
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	}
}

type peeked struct {
	net.Conn

	reader io.Reader
}

func (p *peeked) Read(b []byte) (int, error) { return p.reader.Read(b) }

// postgres answers as PostgreSQL does: it asks for certificates and lets TLS pass without one.
func (s *scene) postgres(wantsCertificate bool) {
	s.tls.ClientAuth, s.probe.StartTLS, s.tls.NextProtos = tls.VerifyClientCertIfGiven, "postgres", nil
	s.raw = func(conn net.Conn) {
		if _, err := io.ReadFull(conn, make([]byte, 8)); err != nil {
			return
		}
		_, _ = io.WriteString(conn, "S")
		c := tls.Server(conn, s.tls)
		if _, err := c.Read(make([]byte, 1000)); err != nil {
			return
		}
		if wantsCertificate && len(c.ConnectionState().PeerCertificates) == 0 {
			_, _ = io.WriteString(c, "E\x00\x00\x00\x43SFATAL\x00C28000\x00Mconnection requires a valid client certificate\x00\x00")
			return
		}
		_, _ = io.WriteString(c, "R\x00\x00\x00\x08\x00\x00\x00\x00")
	}
}

func TestPostgres(t *testing.T) {
	for wants, want := range map[bool]Finding{
		true:  {Check: checkNone, Severity: OK, Seen: `a client without a certificate is refused: PostgreSQL says "connection requires a valid client certificate"`},
		false: {Check: checkNone, Severity: Failure, Fault: NoneAccepted, Seen: "a client without a certificate is let in: PostgreSQL goes on with the login"},
	} {
		s := newScene(t)
		s.postgres(wants)
		report := s.judge()
		assert.Equal(t, !wants, report.Failed(), report.Findings)
		for _, f := range report.Findings {
			if f.Check == want.Check {
				assert.Equal(t, want.Seen, f.Seen)
				assert.Equal(t, want.Fault, f.Fault)
			}
		}
	}
}

// What no server of today can be made to serve.
func TestWeakSignature(t *testing.T) {
	s := newScene(t)
	leaf := *s.ca.leaf().Leaf
	leaf.SignatureAlgorithm = x509.SHA1WithRSA
	report := Judge(s.facts, &probe.Result{First: probe.Attempt{Completed: true, Certificates: []*x509.Certificate{&leaf}}})
	assert.Contains(t, report.Findings, Finding{
		Check: checkKey, Severity: Failure, Fault: WeakSignature, Seen: "the certificate is signed with SHA1-RSA",
		Why: "peers of today refuse such a signature", Remedy: "have the CA sign with SHA-256 or better",
	})
}

// Each fault is in the table once, in the order in which it is declared, and has a test above.
func TestTable(t *testing.T) {
	seen := map[Fault]bool{}
	for _, row := range faults {
		assert.False(t, seen[row.fault], row.fault)
		seen[row.fault] = true
		assert.Contains(t, []Severity{Warning, Failure}, row.severity, row.fault)
	}
	for _, a := range advices {
		for _, fault := range a.faults {
			assert.True(t, seen[fault], fault)
		}
	}
	all := hintsFor(NotDemanded, "")
	require.Len(t, all, 3, "of whatever software it may be")
	assert.Equal(t, all[:1], hintsFor(NotDemanded, Nginx))
}

func TestSoftware(t *testing.T) {
	for name, want := range map[string]Software{
		"registry.example.io/nginx:1.26": Nginx, "openresty/openresty": Nginx, "envoyproxy/envoy:v1.35": Envoy, "app": "",
	} {
		assert.Equal(t, want, SoftwareOf(name), name)
	}
	assert.Equal(t, Go, softwareOf("", &probe.Result{Plain: &probe.Answer{Body: goPlaintext + ".\n"}}))
	assert.Equal(t, Envoy, softwareOf(Nginx, &probe.Result{First: probe.Attempt{Answer: &probe.Answer{Server: "envoy"}}}))
	assert.Equal(t, Nginx, softwareOf(Nginx, &probe.Result{}))
}
