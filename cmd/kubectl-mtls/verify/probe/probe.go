// Package probe speaks to a port as its peers would, and as they should not be able to, and
// reports what happened. It judges nothing: the package diagnose does.
//
// probe.go has the order of things; handshake.go one TLS connection; request.go what is asked
// over it; forward.go the way to a port of a pod; foreign.go a certificate that nobody should
// believe.
package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"time"
)

// Dialer opens connections to the port that is looked at.
type Dialer interface {
	Dial(ctx context.Context) (net.Conn, error)
}

// Config says what to try.
type Config struct {
	// Names are the DNS names of the server. The first is sent as server name (SNI)
	// everywhere; what is served for each of the others is looked at, too.
	Names []string
	// Own is a client certificate that the server is to accept; nil: not tried.
	Own *tls.Certificate
	// Foreign is one that it is to refuse.
	Foreign *tls.Certificate
	// Timeout is that of each connection.
	Timeout time.Duration
	// StartTLS is the protocol in which TLS begins after a question: postgres, or empty.
	StartTLS string
}

// Result is what happened.
type Result struct {
	// First is a connection without a client certificate that takes any version of TLS.
	// If it says that no TLS is spoken, nothing but Plain follows.
	First Attempt
	// Versions has a connection for each version of TLS, oldest first.
	Versions []Attempt
	// Own and Foreign are connections with those certificates; nil where not tried.
	Own, Foreign *Attempt
	// ByName are the leaf certificates that are served by name, for each name but the first.
	ByName map[string]*x509.Certificate
	// Plain is the answer to a request without TLS; nil if there was none.
	Plain *Answer
}

// maxNames is how many names are tried: a pod of many Services is served in good time.
const maxNames = 16

// Run tries it all, one connection after the other. The error is one of the way to the port,
// such as missing rights, or the context's.
func Run(ctx context.Context, dialer Dialer, config Config) (*Result, error) {
	p := &prober{dialer: dialer, config: config}
	r := &Result{ByName: map[string]*x509.Certificate{}}
	var err error
	if r.First, err = p.ask(ctx, nil); err != nil {
		return nil, err
	}
	if config.StartTLS == "" {
		if r.Plain, err = p.plain(ctx); err != nil {
			return nil, err
		}
	}
	if !r.First.SpeaksTLS() {
		return r, nil
	}
	if r.Versions, err = p.versions(ctx); err != nil {
		return nil, err
	}
	for _, with := range []struct {
		certificate *tls.Certificate
		to          **Attempt
	}{{config.Own, &r.Own}, {config.Foreign, &r.Foreign}} {
		if with.certificate == nil {
			continue
		}
		a, err := p.ask(ctx, with.certificate)
		if err != nil {
			return nil, err
		}
		*with.to = &a
	}
	return r, p.byName(ctx, r)
}

// prober is the state of one Run.
type prober struct {
	dialer Dialer
	config Config
	// patient has attempts wait longer for a refusal.
	patient bool
}

func (p *prober) serverName() string {
	if len(p.config.Names) == 0 {
		return ""
	}
	return p.config.Names[0]
}

// dial opens a connection that ends with the timeout.
func (p *prober) dial(ctx context.Context) (net.Conn, error) {
	conn, err := p.dialer.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(p.config.Timeout))
}

// versions tries each version alone.
func (p *prober) versions(ctx context.Context) ([]Attempt, error) {
	var all []Attempt
	for version := uint16(tls.VersionTLS10); version <= tls.VersionTLS13; version++ {
		config := p.clientConfig(nil)
		config.MinVersion, config.MaxVersion = version, version
		a, err := p.attempt(ctx, config, false)
		if err != nil {
			return nil, err
		}
		a.Version = version
		all = append(all, a)
	}
	return all, nil
}

// byName looks which certificate is served for the other names.
func (p *prober) byName(ctx context.Context, r *Result) error {
	for i, name := range p.config.Names {
		if i == 0 || i >= maxNames {
			continue
		}
		config := p.clientConfig(nil)
		config.ServerName = name
		a, err := p.attempt(ctx, config, false)
		if err != nil {
			return err
		}
		if leaf := a.Leaf(); leaf != nil {
			r.ByName[name] = leaf
		}
	}
	return nil
}
