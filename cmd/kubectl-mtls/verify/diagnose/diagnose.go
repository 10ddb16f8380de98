// Package diagnose judges what the package probe saw of a port: against who the pod is, what
// it trusts and what it was last given. It is pure, so every fault has a test.
//
// diagnose.go has facts, findings and the order of the checks; speaking.go judges how it
// speaks, clients.go whom it lets in, chain.go and certificate.go what it shows; faults.go is
// the table of all faults, with why each matters and what to do; software.go knows the ways of
// nginx, Go and Envoy.
package diagnose

import (
	"crypto/x509"
	"time"

	"example.io/mtls-injector/cmd/kubectl-mtls/verify/probe"
	"example.io/mtls-injector/intent"
)

// Severity of a finding.
type Severity string

// A Failure keeps peers from talking, or lets in who should not be; a Warning will, or is
// against what was asked for.
const (
	OK      Severity = "ok"
	Warning Severity = "warning"
	Failure Severity = "failure"
)

// Finding is what one check found.
type Finding struct {
	// Check is its name, such as "client-none"; a check may find several things.
	Check    string   `json:"check"`
	Severity Severity `json:"severity"`
	// Fault names what is wrong, such as "none-accepted". Empty: nothing.
	Fault Fault `json:"fault,omitempty"`
	// Seen is what was seen, Why why that matters, and Remedy what to do.
	Seen   string `json:"seen"`
	Why    string `json:"why,omitempty"`
	Remedy string `json:"remedy,omitempty"`
	// Hints are for the software that serves, or may.
	Hints []Hint `json:"hints,omitempty"`
}

// Unchecked is a check that could not be made.
type Unchecked struct {
	Check string `json:"check"`
	// Reason says what is missing for it.
	Reason string `json:"reason"`
}

// Facts are what is known besides what the port does. Where something is not known, the
// reason stands beside it.
type Facts struct {
	Now time.Time
	// Intent is what the pod is; nil where it is not one of ours.
	Intent *intent.Intent
	// NoIntent says why there is none.
	NoIntent string
	// Names are the DNS names that its certificate should have, and SPIFFEID the URI.
	Names    []string
	SPIFFEID string
	// NamesUnknown says why the names are not known.
	NamesUnknown string

	// Bundle is what the pod trusts, BundleName where that stands.
	Bundle     []*x509.Certificate
	BundleName string
	// BundleFault says that it is missing or broken; NoBundle why it is not known.
	BundleFault Fault
	NoBundle    string

	// Current are the certificates that were last issued for the pod, one for each of its
	// volumes.
	Current   []Issued
	NoCurrent string
	// Intermediates are certificates of CAs that came with what was issued for the pod.
	Intermediates []*x509.Certificate

	// OwnSource says where the client certificate of its own CA comes from; NoOwn why there is
	// none.
	OwnSource string
	NoOwn     string

	// Software is what serves, as far as the pod tells: the images of its containers.
	Software Software
}

// Issued is a certificate that was issued for the pod.
type Issued struct {
	*x509.Certificate

	// Source says where it stands, such as "CertificateRequest a".
	Source string
}

// Report is everything that was found.
type Report struct {
	Findings   []Finding   `json:"findings"`
	NotChecked []Unchecked `json:"notChecked,omitempty"`
	// Software is what serves, by what the pod and the port tell; empty: not known.
	Software Software `json:"software,omitempty"`
}

// Failed reports whether anything is a failure.
func (r *Report) Failed() bool {
	for i := range r.Findings {
		if r.Findings[i].Severity == Failure {
			return true
		}
	}
	return false
}

// Judge makes the report.
func Judge(facts *Facts, seen *probe.Result) *Report {
	j := &judge{Facts: facts, seen: seen, report: &Report{Findings: []Finding{}, Software: softwareOf(facts.Software, seen)}}
	if j.speaks() {
		for _, check := range [...]func(){
			j.versions, j.plaintext,
			j.demanded, j.none, j.foreign, j.own, j.caNames,
			j.trust, j.chain, j.names, j.byName, j.spiffeID, j.usages, j.key, j.expiry, j.current,
		} {
			check()
		}
	}
	return j.report
}

// judge is the state of one Judge.
type judge struct {
	*Facts

	seen   *probe.Result
	report *Report
}

func (j *judge) ok(check, seen string) {
	j.report.Findings = append(j.report.Findings, Finding{Check: check, Severity: OK, Seen: seen})
}

// fault adds a finding that the table explains.
func (j *judge) fault(fault Fault, seen string) {
	row := fault.row()
	j.report.Findings = append(j.report.Findings, Finding{
		Check: row.check, Severity: row.severity, Fault: fault, Seen: seen,
		Why: row.why, Remedy: row.remedy, Hints: hintsFor(fault, j.report.Software),
	})
}

func (j *judge) notChecked(check, reason string) {
	j.report.NotChecked = append(j.report.NotChecked, Unchecked{check, reason})
}

// leaf is the certificate that is served; nil where the handshake failed before.
func (j *judge) leaf() *x509.Certificate { return j.seen.First.Leaf() }
