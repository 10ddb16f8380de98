package diagnose

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"net/http"
	"strings"

	"example.io/mtls-injector/cmd/kubectl-mtls/verify/probe"
)

// verdict is what the server made of a client.
type verdict int

const (
	accepted verdict = iota
	// refused: by TLS, or by an answer that says so.
	refused
	// denied: the handshake went through, and the application answered that it may not.
	denied
	// unclear: the connection did not come as far.
	unclear
)

// verdictOn says what the server made of the client, and how that showed.
func verdictOn(a *probe.Attempt) (verdict, string) {
	switch {
	case a.Alert != "":
		return refused, trouble(a)
	case a.Err != nil && probe.IsTimeout(a.Err), a.Err != nil && !a.Completed && !probe.IsClosed(a.Err):
		return unclear, trouble(a)
	case a.Err != nil:
		return refused, trouble(a)
	case a.Unanswered != nil:
		return unclear, "a request was not answered: " + a.Unanswered.Error()
	case a.Answer == nil:
		return accepted, "the connection stays open"
	}
	return verdictOf(a.Answer)
}

// verdictOf says what an answer makes of a client.
func verdictOf(answer *probe.Answer) (verdict, string) {
	switch {
	case answer.Status == 0 && answer.Body == "":
		return accepted, answer.Server + " goes on with the login"
	case answer.Status == 0 && strings.Contains(answer.Body, "certificate"):
		return refused, fmt.Sprintf("%s says %q", answer.Server, answer.Body)
	case answer.Status == 0:
		return denied, fmt.Sprintf("the handshake passes, and %s says %q", answer.Server, answer.Body)
	case strings.Contains(answer.Body, nginxNone), strings.Contains(answer.Body, nginxRefused):
		// nginx lets the handshake pass and answers that, whatever is asked for.
		return refused, fmt.Sprintf("the handshake passes, and HTTP answers %s, %q", status(answer), firstKnown(answer.Body, nginxNone, nginxRefused))
	case answer.Status == http.StatusUnauthorized, answer.Status == http.StatusForbidden,
		answer.Status == 495, answer.Status == 496: // nginx's own, where error_page keeps them
		return denied, "the handshake passes, and HTTP answers " + status(answer)
	default:
		return accepted, "HTTP answers " + status(answer)
	}
}

func firstKnown(body string, texts ...string) string {
	for _, text := range texts {
		if strings.Contains(body, text) {
			return text
		}
	}
	return ""
}

func (j *judge) demanded() {
	if j.seen.First.Demanded {
		j.ok(checkDemanded, "a client certificate is asked for")
		return
	}
	j.fault(NotDemanded, "the server asks for no client certificate")
}

func (j *judge) none() {
	if !j.seen.First.Demanded {
		return // said already
	}
	switch v, how := verdictOn(&j.seen.First); v {
	case refused:
		j.ok(checkNone, "a client without a certificate is refused: "+how)
	case denied:
		j.ok(checkNone, "a client without a certificate is refused by the application: "+how)
	case accepted:
		j.fault(NoneAccepted, "a client without a certificate is let in: "+how)
	case unclear:
		j.notChecked(checkNone, how)
	}
}

func (j *judge) foreign() {
	if !j.seen.First.Demanded {
		return
	}
	if j.seen.Foreign == nil {
		j.notChecked(checkForeign, "no foreign certificate was shown")
		return
	}
	switch v, how := verdictOn(j.seen.Foreign); v {
	case refused:
		j.ok(checkForeign, "a certificate of a foreign CA is refused: "+how)
	case denied:
		j.ok(checkForeign, "a certificate of a foreign CA is refused by the application: "+how)
	case accepted:
		j.fault(ForeignTaken, "a certificate of a CA that was made up for this check is let in: "+how)
	case unclear:
		j.notChecked(checkForeign, how)
	}
}

func (j *judge) own() {
	switch {
	case j.seen.Own == nil && j.NoOwn != "":
		j.notChecked(checkOwn, j.NoOwn)
		return
	case j.seen.Own == nil, !j.seen.First.Demanded:
		return
	}
	switch v, how := verdictOn(j.seen.Own); v {
	case accepted:
		j.ok(checkOwn, "a client certificate ("+j.OwnSource+") is let in: "+how)
	case refused:
		j.fault(OwnRefused, "a client certificate ("+j.OwnSource+") is refused: "+how)
	case denied:
		j.fault(OwnDenied, "a client certificate ("+j.OwnSource+"): "+how)
	case unclear:
		j.notChecked(checkOwn, how)
	}
}

// caNames compares the CAs that the server names with the pod's bundle.
func (j *judge) caNames() {
	named := j.seen.First.CANames
	if len(named) == 0 || len(j.Bundle) == 0 {
		return
	}
	var missing []string
	for _, ca := range j.Bundle {
		if !containsName(named, ca.RawSubject) {
			missing = append(missing, ca.Subject.String())
		}
	}
	if len(missing) == 0 {
		j.ok(checkCANames, "the server names every CA of the bundle to clients")
		return
	}
	j.fault(OtherCANames, fmt.Sprintf("the server tells clients that it takes certificates of %s, and not of %s, which is in the bundle",
		namesOf(named), strings.Join(missing, " and ")))
}

func containsName(names [][]byte, name []byte) bool {
	for _, n := range names {
		if bytes.Equal(n, name) {
			return true
		}
	}
	return false
}

// namesOf writes DER names for people.
func namesOf(names [][]byte) string {
	texts := make([]string, 0, len(names))
	for _, der := range names {
		var sequence pkix.RDNSequence
		if _, err := asn1.Unmarshal(der, &sequence); err != nil {
			continue
		}
		var name pkix.Name
		name.FillFromRDNSequence(&sequence)
		texts = append(texts, name.String())
	}
	return strings.Join(texts, " and ")
}
