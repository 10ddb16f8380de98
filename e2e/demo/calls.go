package demo

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"example.io/mtls-injector/e2e/demo/authority"
	"example.io/mtls-injector/e2e/demo/peer"
)

const (
	ordersURL = "https://orders.shop.svc.cluster.local:8443/"
	cartURL   = "https://cart.shop.svc.cluster.local:8443/"
)

// goodCall is a call that must succeed.
type goodCall struct {
	// hops are the workloads: who calls, whom it calls, and whom that one calls in turn.
	hops []string
	// url is empty where the container's own arguments have it.
	url string
	say string
}

func goodCalls() []goodCall {
	return []goodCall{
		{hops: []string{"smoke-test", "orders"}, say: "the Job, with its own curl arguments"},
		{hops: []string{"reports", "orders"}, url: ordersURL, say: "a Deployment, with the injected variables"},
		{hops: []string{"reports", "cart", "orders"}, url: cartURL, say: "cart is called, and calls"},
		{hops: []string{"reports", "edge"}, url: "https://shop.example.com/", say: "by the name that the configuration grants"},
		{hops: []string{"reports", "db"}, url: "https://db-1.db.shop.svc.cluster.local:5432/", say: "one pod of the StatefulSet, by its own name"},
		{hops: []string{"reports", "ledger"}, url: "https://ledger.payments.svc.cluster.local:8443/", say: "another namespace, signed by another CA of the bundle"},
	}
}

// goodCalls makes the calls that must succeed.
func (d *Demo) goodCalls(ctx context.Context) error {
	for _, g := range goodCalls() {
		outcome, err := d.request(ctx, &d.find(g.hops[0]).program, g.url)
		if err == nil {
			err = d.verify(&outcome, g.hops)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", strings.Join(g.hops, " calls "), err)
		}
		d.out.line("  OK       " + strings.Join(g.hops, " → ") + ": " + g.say)
		d.printHops(&outcome)
	}
	d.out.line("")
	return nil
}

// find returns the first pod of the workload.
func (d *Demo) find(workload string) *pod {
	for _, p := range d.pods {
		if p.promise.name == workload {
			return p
		}
	}
	return &pod{}
}

// request lets a program call a URL, or what its own arguments say.
func (d *Demo) request(ctx context.Context, p *program, target string, connect ...string) (peer.Outcome, error) {
	flags, err := d.connectTo(ctx)
	if err != nil {
		return peer.Outcome{}, err
	}
	d.calls++
	args := p.args
	if target != "" {
		args = []string{target}
	}
	return d.call(ctx, p, append(append(flags, connect...), args...))
}

// verify checks that each hop saw who the other is.
func (d *Demo) verify(outcome *peer.Outcome, hops []string) error {
	for i := 1; i < len(hops); i++ {
		client, server := d.find(hops[i-1]).status, d.find(hops[i]).status
		switch {
		case outcome == nil || outcome.Reply == nil && outcome.Error == "":
			return fmt.Errorf("%s did not call %s", hops[i-1], hops[i])
		case outcome.Error != "":
			return fmt.Errorf("%s: %s", outcome.URL, outcome.Error)
		case outcome.Server.SPIFFEID != server.SPIFFE:
			return fmt.Errorf("%s met %s, not %s", hops[i-1], outcome.Server.SPIFFEID, server.SPIFFE)
		case outcome.Reply.Caller.SPIFFEID != client.SPIFFE:
			return fmt.Errorf("%s met %s, not %s", hops[i], outcome.Reply.Caller.SPIFFEID, client.SPIFFE)
		}
		outcome = outcome.Reply.Upstream
	}
	return nil
}

// printHops shows whom each side of each hop saw, and who signed where that differs.
func (d *Demo) printHops(outcome *peer.Outcome) {
	for outcome != nil {
		server, client := outcome.Server, outcome.Reply.Caller
		d.out.answer("url", outcome.URL)
		d.out.answer("client saw", describePeer(&server, server.Issuer != client.Issuer))
		d.out.answer("server saw", describePeer(&client, server.Issuer != client.Issuer))
		outcome = outcome.Reply.Upstream
	}
}

func describePeer(id *peer.Identity, issuer bool) string {
	text := id.SPIFFEID
	if len(id.DNSNames) > 0 {
		text += ", " + shortNames(id.DNSNames)
	}
	if issuer {
		text += ", signed by " + id.Issuer
	}
	return text
}

// badCall is a call that must be refused.
type badCall struct {
	say     string
	client  program
	url     string
	connect []string
	want    string // part of what the client is told
}

// badCalls makes the calls that must be refused.
func (d *Demo) badCalls(ctx context.Context) error {
	stranger, err := d.stranger()
	if err != nil {
		return err
	}
	reports, edge, worker, orders := d.find("reports").program, d.find("edge").program, d.find("worker").program, d.servers[0].address
	nobody := reports.with("MTLS_CLIENT_CERT", "")
	asClient := edge.with("MTLS_CLIENT_CERT", edge.variable("MTLS_SERVER_CERT"))
	asClient = asClient.with("MTLS_CLIENT_KEY", edge.variable("MTLS_SERVER_KEY"))
	for _, b := range []badCall{
		{say: "reports → orders without its certificate", client: nobody, url: ordersURL, want: "remote error: tls: certificate required"},
		{say: "a stranger → orders, with the SPIFFE ID of reports but another CA", client: stranger, url: ordersURL, want: "remote error: tls: unknown certificate authority"},
		{say: "edge → orders, with the certificate that it has for serving only", client: asClient, url: ordersURL, want: "remote error: tls: bad certificate"},
		{say: "worker → orders, whose /certs/ca.crt is not the bundle, as the warning says", client: worker, url: ordersURL, want: "remote error: tls: unknown certificate authority"},
		{
			say: "reports → cart, but it is orders that answers", client: reports, url: cartURL,
			connect: []string{"--connect-to=cart.shop.svc.cluster.local:8443:" + orders},
			want:    "x509: certificate is valid for orders, orders.shop, orders.shop.svc, orders.shop.svc.cluster.local, not cart.shop.svc.cluster.local",
		},
	} {
		outcome, err := d.request(ctx, &b.client, b.url, b.connect...)
		if err == nil && !strings.Contains(outcome.Error, b.want) {
			err = fmt.Errorf("it should fail with %q, but came to %+v", b.want, outcome)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", b.say, err)
		}
		d.out.line("  REFUSED  " + b.say)
		d.out.answer("told", outcome.Error)
	}
	return nil
}

// stranger is a client like reports, with its SPIFFE ID even, but of a CA that nobody
// here knows.
func (d *Demo) stranger() (program, error) {
	reports := d.find("reports")
	id, err := url.Parse(reports.status.SPIFFE)
	if err != nil {
		return program{}, fmt.Errorf("reading the SPIFFE ID of reports: %w", err)
	}
	ca, err := authority.New("Stranger's CA")
	if err != nil {
		return program{}, err
	}
	pair, err := ca.Issue(&x509.Certificate{URIs: []*url.URL{id}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return program{}, err
	}
	bundle, err := os.ReadFile(filepath.Join(reports.program.root, reports.program.variable("MTLS_CA_CERT")))
	if err != nil {
		return program{}, fmt.Errorf("reading the bundle of reports: %w", err)
	}
	p := program{root: filepath.Join(d.dir, "stranger"), env: reports.program.env}
	var errs []error
	for variable, data := range map[string][]byte{"MTLS_CLIENT_CERT": pair.Cert, "MTLS_CLIENT_KEY": pair.Key, "MTLS_CA_CERT": bundle} {
		path := filepath.Join(p.root, p.variable(variable))
		errs = append(errs, os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, data, 0o600))
	}
	if err := errors.Join(errs...); err != nil {
		return program{}, fmt.Errorf("making the stranger's files: %w", err)
	}
	return p, nil
}
