package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// Attempt is one connection with TLS.
type Attempt struct {
	// Version, Cipher and Protocol are what was agreed on; of the last two nothing is known
	// if the handshake did not come to its end.
	Version, Cipher uint16
	Protocol        string
	// Certificates are those that the server showed, in its order.
	Certificates []*x509.Certificate
	// Demanded says that the server asked for a client certificate, CANames of which CAs
	// (DER of their names; empty: any).
	Demanded bool
	CANames  [][]byte
	// Completed says that the handshake came to its end here. With TLS 1.3 the server may
	// still refuse the client then.
	Completed bool
	// Alert is what the server said as it refused, such as "tls: certificate required".
	Alert string
	// Err ended the connection: before its end, or after the handshake without being asked
	// to. Nil: the server kept it open, or answered.
	Err error
	// Answer is what came to an HTTP request; nil if nothing was asked or understood.
	Answer *Answer
	// Unanswered is why a request got no answer from a server that has to give one. What it
	// makes of the client is open then.
	Unanswered error
	// NotTLS is what came in place of TLS.
	NotTLS []byte
}

// SpeaksTLS reports whether the other side has spoken TLS at all.
func (a *Attempt) SpeaksTLS() bool { return len(a.Certificates) > 0 || a.Completed || a.Alert != "" }

// Shown reports whether the server agreed on the version and showed its certificate.
func (a *Attempt) Shown() bool { return len(a.Certificates) > 0 }

// Leaf returns the server's certificate, or nil.
func (a *Attempt) Leaf() *x509.Certificate {
	if len(a.Certificates) == 0 {
		return nil
	}
	return a.Certificates[0]
}

// clientConfig takes whatever the server has: what is wrong with it is for later. certificate
// is the client's, or nil.
func (p *prober) clientConfig(certificate *tls.Certificate) *tls.Config {
	if certificate == nil {
		certificate = &tls.Certificate{}
	}
	return &tls.Config{
		ServerName:         p.serverName(),
		InsecureSkipVerify: true, //nolint:gosec // what is wrong with it is to be told, not to end here
		MinVersion:         tls.VersionTLS10,
		CipherSuites:       allCiphers(),
		NextProtos:         p.protocols(),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return certificate, nil
		},
	}
}

// protocols are offered by ALPN: servers of gRPC insist on h2, PostgreSQL on its own.
func (p *prober) protocols() []string {
	if p.config.StartTLS == startPostgres {
		return []string{"postgresql"}
	}
	return []string{"h2", "http/1.1"}
}

func allCiphers() []uint16 {
	var all []uint16
	for _, list := range [][]*tls.CipherSuite{tls.CipherSuites(), tls.InsecureCipherSuites()} {
		for _, suite := range list {
			all = append(all, suite.ID)
		}
	}
	return all
}

// attempt makes one connection. With ask it waits for the server's verdict, and sends a
// request. The error is one of the way there.
func (p *prober) attempt(ctx context.Context, config *tls.Config, ask bool) (Attempt, error) {
	var a Attempt
	raw, err := p.dial(ctx)
	if err != nil {
		return a, p.reached(ctx, &a, err)
	}
	defer raw.Close()
	if p.config.StartTLS == startPostgres {
		if a.NotTLS, err = startTLSPostgres(raw); err != nil || a.NotTLS != nil {
			a.Err = err
			return a, ctx.Err()
		}
	}
	a.watch(config)
	conn := tls.Client(raw, config)
	began := time.Now()
	if err := conn.HandshakeContext(ctx); err != nil {
		a.fail(err)
		return a, ctx.Err()
	}
	state := conn.ConnectionState()
	a.Completed, a.Version, a.Cipher, a.Protocol = true, state.Version, state.CipherSuite, state.NegotiatedProtocol
	if ask {
		p.verdict(ctx, conn, &a, time.Since(began))
	}
	return a, ctx.Err()
}

// reached takes a connection that was refused for what it is: a result.
func (p *prober) reached(ctx context.Context, a *Attempt, err error) error {
	if IsRefused(err) && ctx.Err() == nil {
		a.Err = err
		return nil
	}
	return err
}

// watch keeps what the server says on the way.
func (a *Attempt) watch(config *tls.Config) {
	// Each connection has a configuration of its own, so none is resumed.
	config.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error { //nolint:gosec // see above
		for _, der := range raw {
			certificate, err := x509.ParseCertificate(der)
			if err != nil {
				return err
			}
			a.Certificates = append(a.Certificates, certificate)
		}
		return nil
	}
	give := config.GetClientCertificate
	config.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		a.Demanded, a.CANames, a.Version = true, info.AcceptableCAs, info.Version
		return give(info)
	}
}

// fail keeps why the connection ended.
func (a *Attempt) fail(err error) {
	a.Err = err
	if record, ok := errors.AsType[tls.RecordHeaderError](err); ok && !a.Shown() {
		a.NotTLS = record.RecordHeader[:]
		return
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		a.Alert = op.Err.Error()
	}
}

// A server has minGrace at least to say that it refuses the client, and patientGrace after a
// request that got no answer.
const (
	minGrace     = 300 * time.Millisecond
	patientGrace = 2 * time.Second
)

// ask connects with the certificate, or with none, and finds out what the server makes of it. A
// request that is not answered may have come before a late refusal and have hidden it, so there
// is a second try that waits longer.
func (p *prober) ask(ctx context.Context, certificate *tls.Certificate) (Attempt, error) {
	a, err := p.attempt(ctx, p.clientConfig(certificate), true)
	if err != nil || a.Unanswered == nil {
		return a, err
	}
	patient := *p
	patient.patient = true
	return patient.attempt(ctx, p.clientConfig(certificate), true)
}

// verdict finds out whether the server keeps the client. With TLS 1.3 the client's side of
// the handshake ends before the server has looked at its certificate, so there is a moment
// to wait, counted in round trips. To send something at once would be wrong: a server that
// closes with a request unread resets the connection, and its alert may be lost.
func (p *prober) verdict(ctx context.Context, conn *tls.Conn, a *Attempt, roundTrip time.Duration) {
	end := time.Now().Add(p.config.Timeout)
	grace := max(minGrace, 2*roundTrip)
	if p.patient {
		grace = max(patientGrace, grace)
	}
	if err := conn.SetReadDeadline(time.Now().Add(grace)); err != nil {
		a.Err = err
		return
	}
	first := make([]byte, 1)
	n, err := conn.Read(first)
	http2 := a.Protocol == "h2"
	switch {
	case err == nil && !http2:
		return // it speaks first, so it has accepted the client
	case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
		a.fail(err)
		return
	}
	if http2 && a.Version < tls.VersionTLS12 {
		return // RFC 9113 forbids it, and servers end it as soon as they notice
	}
	if err := conn.SetDeadline(end); err != nil {
		a.Err = err
		return
	}
	if p.config.StartTLS == startPostgres {
		a.Answer, err = loginPostgres(conn)
	} else {
		a.Answer, err = request(ctx, &readAhead{Conn: conn, ahead: first[:n]}, http2, p.serverName())
	}
	if err != nil {
		a.unanswered(err, p.patient)
	}
}

// unanswered keeps why a request got no answer. A server that speaks another protocol than HTTP
// keeps a client that it has accepted, and waits, answers something else, or ends it for what it
// asked; patient says that it had its time to refuse before.
func (a *Attempt) unanswered(err error, patient bool) {
	op, ok := errors.AsType[*net.OpError](err)
	switch {
	case ok && op.Op == "remote error":
		a.fail(err)
	case containsAny(err.Error(), "malformed HTTP"), a.Protocol == "" && (patient || IsTimeout(err)):
	default:
		a.Unanswered = err
	}
}

// IsRefused reports whether nobody listens on the port.
func IsRefused(err error) bool {
	return err != nil && containsAny(err.Error(), "connection refused", "actively refused")
}

// IsClosed reports whether the other side ended the connection without a word.
func IsClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		err != nil && containsAny(err.Error(), "connection reset", "broken pipe", "forcibly closed")
}

// IsTimeout reports whether nothing came in time.
func IsTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
