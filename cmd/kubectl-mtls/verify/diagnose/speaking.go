package diagnose

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"

	"example.io/mtls-injector/cmd/kubectl-mtls/verify/probe"
)

// speaks judges whether TLS is spoken, and returns whether there is more to see.
func (j *judge) speaks() bool {
	first := &j.seen.First
	switch {
	case first.SpeaksTLS() && !first.Shown():
		j.fault(NoHandshake, "the server speaks TLS and refuses the handshake: "+trouble(first))
		return false
	case first.SpeaksTLS():
		if !first.Demanded && !first.Completed {
			j.fault(NoHandshake, "the handshake failed: "+trouble(first))
			return true
		}
		j.ok(checkTLS, j.spoken())
		return true
	case probe.IsRefused(first.Err):
		j.fault(NotListening, "connection refused: nothing listens on the port")
	case j.seen.Plain != nil:
		j.fault(PlainHTTP, fmt.Sprintf("the port answers plain HTTP (%s)", status(j.seen.Plain)))
	case len(first.NotTLS) > 0:
		j.fault(NotTLS, fmt.Sprintf("the port answers the beginning of TLS with something else: %q", first.NotTLS))
	case probe.IsTimeout(first.Err):
		j.fault(NoAnswer, "the port takes the connection and says nothing")
	case probe.IsClosed(first.Err):
		j.fault(NotTLS, "the port closes the connection at the beginning of TLS")
	default:
		j.fault(NoHandshake, "the handshake failed: "+trouble(first))
	}
	return false
}

func (j *judge) spoken() string {
	text := []string{"TLS is spoken"}
	if first := &j.seen.First; first.Completed {
		text = append(text, tls.VersionName(first.Version), tls.CipherSuiteName(first.Cipher))
		if first.Protocol != "" {
			text = append(text, first.Protocol)
		}
	}
	return strings.Join(text, ", ")
}

// trouble says why a connection ended.
func trouble(a *probe.Attempt) string {
	switch {
	case a.Alert != "":
		return fmt.Sprintf("the server says %q", strings.TrimPrefix(a.Alert, "tls: "))
	case probe.IsClosed(a.Err):
		return "the server closed the connection without a word"
	case probe.IsTimeout(a.Err):
		return "the server said nothing more"
	case a.Err != nil:
		return a.Err.Error()
	}
	return "no reason was given"
}

func status(answer *probe.Answer) string {
	text := fmt.Sprintf("%d %s", answer.Status, http.StatusText(answer.Status))
	if answer.Server != "" {
		text += ", server " + answer.Server
	}
	return text
}

func (j *judge) versions() {
	var spoken, old []string
	modern := false
	for i := range j.seen.Versions {
		a := &j.seen.Versions[i]
		if !a.Shown() {
			continue
		}
		name := tls.VersionName(a.Version)
		spoken = append(spoken, name)
		if a.Version < tls.VersionTLS12 {
			old = append(old, name)
		} else {
			modern = true
		}
	}
	if len(spoken) == 0 {
		return
	}
	seen := strings.Join(spoken, ", ") + " spoken"
	switch {
	case !modern:
		j.fault(NoModern, "only "+seen)
	case len(old) > 0:
		j.fault(OldVersions, seen)
	default:
		j.ok(checkVersions, seen)
	}
}

// plaintext judges what a request without TLS got on the same port.
func (j *judge) plaintext() {
	answer := j.seen.Plain
	switch {
	case answer == nil:
		j.ok(checkPlaintext, "a request without TLS is not answered")
	case answer.Status == http.StatusBadRequest:
		j.ok(checkPlaintext, "a request without TLS is refused ("+status(answer)+")")
	case answer.Status >= 300 && answer.Status < 400:
		j.ok(checkPlaintext, "a request without TLS is sent elsewhere ("+status(answer)+")")
	default:
		j.fault(PlaintextToo, "a request without TLS is answered, too ("+status(answer)+")")
	}
}
