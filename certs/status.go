package certs

// What a companion's status says (https://cert-manager.io/docs/reference/api-docs/).

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
)

// State is how far a companion is: a label of the metrics, and what people are told.
type State string

// StateTaken: there is none, for somebody else's Certificate or Secret has its name.
const (
	StateReady   State = "ready"
	StatePending State = "pending"
	StateFailed  State = "failed"
	StateTaken   State = "name-taken"
)

// condition returns the condition of that type, or nil. (cert-manager's own function for
// that comes with its logging and its flags.)
func condition(cert *cmapi.Certificate, kind cmapi.CertificateConditionType) *cmapi.CertificateCondition {
	for i := range cert.Status.Conditions {
		if cert.Status.Conditions[i].Type == kind {
			return &cert.Status.Conditions[i]
		}
	}
	return nil
}

func isReady(cert *cmapi.Certificate) bool {
	c := condition(cert, cmapi.CertificateConditionReady)
	return c != nil && c.Status == cmmeta.ConditionTrue
}

func isIssuing(cert *cmapi.Certificate) bool {
	c := condition(cert, cmapi.CertificateConditionIssuing)
	return c != nil && c.Status == cmmeta.ConditionTrue
}

// failure returns the condition that says why the last attempt at issuing failed, or nil.
func failure(cert *cmapi.Certificate) *cmapi.CertificateCondition {
	c := condition(cert, cmapi.CertificateConditionIssuing)
	if c == nil || c.Status != cmmeta.ConditionFalse || cert.Status.LastFailureTime == nil {
		return nil
	}
	return c
}

// StateOf returns the state of a companion.
func StateOf(cert *cmapi.Certificate) State {
	switch {
	case failure(cert) != nil:
		return StateFailed
	case isReady(cert):
		return StateReady
	default:
		return StatePending
	}
}

// pendingSince is when the present attempt at issuing began.
func pendingSince(cert *cmapi.Certificate) time.Time {
	c := condition(cert, cmapi.CertificateConditionIssuing)
	if c != nil && c.LastTransitionTime != nil {
		return c.LastTransitionTime.Time
	}
	return cert.CreationTimestamp.Time
}

// revision counts issuances; 0 before the first.
func revision(cert *cmapi.Certificate) int {
	if cert.Status.Revision == nil {
		return 0
	}
	return *cert.Status.Revision
}

// certificateHash stands for the certificate that the companion has now: it differs after
// every issuance, and when the companion is made anew. The revision is not in it, for
// cert-manager writes that and the times one after the other.
func certificateHash(cert *cmapi.Certificate) string {
	const digits = 16
	text := string(cert.UID)
	if cert.Status.NotBefore != nil {
		text += "/" + cert.Status.NotBefore.UTC().Format(time.RFC3339)
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])[:digits]
}

// window is the time between a renewal and the end of the certificate that it replaces:
// all of the workload's pods have to be restarted within it. Of a lifetime without a
// renewal time it is the third that cert-manager takes by default.
func window(cert *cmapi.Certificate) time.Duration {
	s := &cert.Status
	switch {
	case s.NotAfter == nil || s.NotBefore == nil:
		return 0
	case s.RenewalTime == nil:
		return s.NotAfter.Sub(s.NotBefore.Time) / 3
	default:
		return s.NotAfter.Sub(s.RenewalTime.Time)
	}
}
