package diagnose

import (
	"strings"

	"example.io/mtls-injector/cmd/kubectl-mtls/verify/probe"
)

// Software is a kind of server.
type Software string

// The software that there are hints for.
const (
	Nginx Software = "nginx"
	Go    Software = "Go"
	Envoy Software = "Envoy"
)

// Hint is advice for one kind of server.
type Hint struct {
	Software Software `json:"software"`
	Text     string   `json:"text"`
}

// SoftwareOf tells the software by the name of an image or a program; empty: not known.
func SoftwareOf(name string) Software {
	name = strings.ToLower(name)
	switch {
	case strings.Contains(name, "nginx"), strings.Contains(name, "openresty"):
		return Nginx
	case strings.Contains(name, "envoy"):
		return Envoy
	}
	return ""
}

// softwareOf believes what the port says of itself, and then what the pod's images say.
func softwareOf(byPod Software, seen *probe.Result) Software {
	for _, answer := range []*probe.Answer{seen.First.Answer, seen.Plain} {
		if answer == nil {
			continue
		}
		if by := SoftwareOf(answer.Server); by != "" {
			return by
		}
		if strings.Contains(answer.Body, goPlaintext) {
			return Go
		}
	}
	return byPod
}

// What servers answer to a plain HTTP request on a port with TLS.
const (
	goPlaintext    = "Client sent an HTTP request to an HTTPS server"
	nginxPlaintext = "plain HTTP request was sent to HTTPS port"
)

// What nginx answers after a handshake that it does not like: it ends none itself.
const (
	nginxNone    = "No required SSL certificate was sent"
	nginxRefused = "The SSL certificate error"
)

// advice is what to look at where a fault shows.
type advice struct {
	faults []Fault
	hint   Hint
}

var advices = [...]advice{
	{[]Fault{PlainHTTP, PlaintextToo}, Hint{Nginx, "`listen 8443 ssl;`: without the word ssl it is plain HTTP"}},
	{[]Fault{PlainHTTP, PlaintextToo}, Hint{Go, "ListenAndServeTLS in place of ListenAndServe, or tls.NewListener around the listener"}},
	{[]Fault{PlainHTTP, PlaintextToo}, Hint{Envoy, "the filter chain needs a transport_socket with a DownstreamTlsContext, and no other chain may match without it"}},
	{[]Fault{NoHandshake}, Hint{Nginx, "\"no \\\"ssl_certificate\\\" is defined\" in its log: the server block that answers for this name has none"}},
	{[]Fault{NoHandshake}, Hint{Go, "http.Server logs \"TLS handshake error\" with the reason; GetCertificate may have returned an error"}},
	{[]Fault{NoHandshake}, Hint{Envoy, "a secret of SDS that never came leaves the listener without a certificate: see /config_dump and ssl.* in /stats"}},
	{[]Fault{OldVersions, NoModern}, Hint{Nginx, "ssl_protocols TLSv1.2 TLSv1.3;"}},
	{[]Fault{OldVersions, NoModern}, Hint{Go, "tls.Config{MinVersion: tls.VersionTLS12}, and no MaxVersion"}},
	{[]Fault{OldVersions, NoModern}, Hint{Envoy, "common_tls_context.tls_params: {tls_minimum_protocol_version: TLSv1_2}"}},
	{[]Fault{NotDemanded, NoneAccepted}, Hint{Nginx, "ssl_verify_client on; with ssl_client_certificate /etc/tls/ca/ca.crt; (optional lets everybody in)"}},
	{[]Fault{NotDemanded, NoneAccepted}, Hint{Go, "tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}; ClientCAs alone demands nothing"}},
	{[]Fault{NotDemanded, NoneAccepted}, Hint{Envoy, "require_client_certificate: true in the DownstreamTlsContext; a validation_context alone demands nothing"}},
	{[]Fault{ForeignTaken}, Hint{Nginx, "ssl_verify_client on; in place of optional_no_ca, which leaves verifying to the application"}},
	{[]Fault{ForeignTaken}, Hint{Go, "tls.RequireAndVerifyClientCert in place of RequireAnyClientCert, which verifies nothing"}},
	{[]Fault{ForeignTaken}, Hint{Envoy, "validation_context with trusted_ca, and no trust_chain_verification: ACCEPT_UNTRUSTED"}},
	{[]Fault{OwnRefused, OtherCANames}, Hint{Nginx, "ssl_client_certificate /etc/tls/ca/ca.crt; is read at start and at `nginx -s reload`; ssl_verify_depth 1 is too little for intermediates"}},
	{[]Fault{OwnRefused, OtherCANames}, Hint{Go, "ClientCAs must hold the bundle (x509.NewCertPool is empty, and reads nothing again); GetConfigForClient can give a fresh pool"}},
	{[]Fault{OwnRefused, OtherCANames}, Hint{Envoy, "trusted_ca: {filename: /etc/tls/ca/ca.crt} with watched_directory, or it is read once; match_typed_subject_alt_names may shut it out"}},
	{[]Fault{ChainGap, ChainOrder}, Hint{Nginx, "ssl_certificate wants tls.crt as it is; ssl_trusted_certificate is never sent"}},
	{[]Fault{ChainGap, ChainOrder}, Hint{Go, "tls.LoadX509KeyPair takes the whole file; a tls.Certificate made by hand needs every certificate in Certificate"}},
	{[]Fault{ChainGap, ChainOrder}, Hint{Envoy, "certificate_chain: {filename: /etc/tls/server/tls.crt}, the whole file"}},
	{[]Fault{OtherByName}, Hint{Nginx, "another server block has that server_name, or is the default_server"}},
	{[]Fault{OtherByName}, Hint{Go, "GetCertificate or GetConfigForClient chooses by ServerName"}},
	{[]Fault{OtherByName}, Hint{Envoy, "another filter_chain_match has that name in server_names"}},
	{[]Fault{Stale, Expired, RenewalOverdue}, Hint{Nginx, "it reads its files at start and at `nginx -s reload` only: reload: signal sends it SIGHUP; never mount the files by subPath, which never changes"}},
	{[]Fault{Stale, Expired, RenewalOverdue}, Hint{Go, "ListenAndServeTLS and LoadX509KeyPair read once: use tls.Config.GetCertificate with a watcher, or reload: restart"}},
	{[]Fault{Stale, Expired, RenewalOverdue}, Hint{Envoy, "files named in the static configuration are read once: give them by SDS (path_config_source) with watched_directory"}},
	{[]Fault{UnknownCA, SelfSigned, MissingNames, NoNames, OtherSPIFFEID, OtherFiles}, Hint{Nginx, "see ssl_certificate in `nginx -T`: a certificate that the image brought along may be served"}},
	{[]Fault{NotListening}, Hint{Nginx, "it does not start if a certificate cannot be loaded: `kubectl logs` says \"cannot load certificate\" or \"Permission denied\""}},
}

// hintsFor returns the hints for a fault: those of the software, or all if that is not known.
func hintsFor(fault Fault, software Software) []Hint {
	var hints []Hint
	for i := range advices {
		a := &advices[i]
		if software != "" && a.hint.Software != software {
			continue
		}
		for _, f := range a.faults {
			if f == fault {
				hints = append(hints, a.hint)
			}
		}
	}
	return hints
}
