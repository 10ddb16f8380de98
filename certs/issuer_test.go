package certs

import (
	"errors"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func issuing(is cmmeta.ConditionStatus, reason, message string) cmapi.CertificateCondition {
	return cmapi.CertificateCondition{
		Type: cmapi.CertificateConditionIssuing, Status: is, Reason: reason, Message: message, LastTransitionTime: at(100),
	}
}

func requestWith(conditions ...cmapi.CertificateRequestCondition) *cmapi.CertificateRequest {
	return &cmapi.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web-mtls-3"},
		Status:     cmapi.CertificateRequestStatus{Conditions: conditions},
	}
}

func notReady(message string) cmapi.CertificateCondition {
	return cmapi.CertificateCondition{Type: cmapi.CertificateConditionReady, Status: cmmeta.ConditionFalse, Reason: "DoesNotExist", Message: message}
}

// TestIssuerNotReady: what is told is cert-manager's own reason, wherever that stands.
func TestIssuerNotReady(t *testing.T) {
	approved := cmapi.CertificateRequestCondition{Type: cmapi.CertificateRequestConditionApproved, Status: cmmeta.ConditionTrue, Reason: "cert-manager.io", Message: "approved"}
	unapproved := approved
	unapproved.Status = cmmeta.ConditionFalse
	ready := func(reason, message string) cmapi.CertificateRequestCondition {
		return cmapi.CertificateRequestCondition{Type: cmapi.CertificateRequestConditionReady, Status: cmmeta.ConditionFalse, Reason: reason, Message: message}
	}
	for name, test := range map[string]struct {
		conditions []cmapi.CertificateCondition
		failed     *metav1.Time
		request    client.Object
		want       string
	}{
		"failed": {[]cmapi.CertificateCondition{issuing(cmmeta.ConditionFalse, "Failed", "the CA said no")}, at(105), requestWith(ready("Pending", "x")),
			"Failed: the CA said no"},
		"request without an issuer": {[]cmapi.CertificateCondition{issuing(cmmeta.ConditionTrue, "", "")}, nil,
			requestWith(approved, ready("Pending", `Referenced "ClusterIssuer" not found`)), `Pending: Referenced "ClusterIssuer" not found`},
		"request denied": {[]cmapi.CertificateCondition{issuing(cmmeta.ConditionTrue, "", "")}, nil,
			requestWith(cmapi.CertificateRequestCondition{Type: cmapi.CertificateRequestConditionDenied, Status: cmmeta.ConditionTrue, Reason: "policy", Message: "no policy"}), "policy: no policy"},
		"request without approval": {[]cmapi.CertificateCondition{issuing(cmmeta.ConditionTrue, "", "")}, nil, requestWith(),
			"CertificateRequest web-mtls-3 waits for approval"},
		"approval not given": {[]cmapi.CertificateCondition{issuing(cmmeta.ConditionTrue, "", "")}, nil, requestWith(unapproved),
			"CertificateRequest web-mtls-3 waits for approval"},
		"request unanswered": {[]cmapi.CertificateCondition{issuing(cmmeta.ConditionTrue, "", "")}, nil, requestWith(approved),
			"no issuer has answered CertificateRequest web-mtls-3"},
		"no request": {[]cmapi.CertificateCondition{issuing(cmmeta.ConditionTrue, "", ""), notReady("Issuing certificate")}, nil, nil,
			"DoesNotExist: Issuing certificate"},
		"no request, no condition": {nil, nil, nil, "cert-manager has not looked at it"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, deployed("web-5d9-a", "5d9", server))
			s.look(t, created)
			s.again()
			if test.request != nil {
				s.create(t, test.request)
			}
			s.status(t, func(status *cmapi.CertificateStatus) {
				status.Revision, status.Conditions, status.LastFailureTime = new(2), test.conditions, test.failed
			})
			s.clock = time.Unix(130, 0)
			s.asked()
			assert.Equal(t, issuerPatience, s.look(t, unchanged).RequeueAfter)
			assert.Equal(t, ofWeb("Warning IssuerNotReady Issue: Certificate web-mtls is not signed by ClusterIssuer/mtls-ca: "+test.want), s.told())
			for _, asked := range s.asked() {
				assert.Equal(t, "get CertificateRequest/web-mtls-3", asked)
			}
			s.look(t, unchanged)
			assert.Empty(t, s.told(), "told once")
		})
	}
}

func TestIssuerIsGivenTime(t *testing.T) {
	s := newStage(t, deployed("web-5d9-a", "5d9", server))
	s.look(t, created)
	s.again()
	set := func(conditions ...cmapi.CertificateCondition) {
		s.status(t, func(status *cmapi.CertificateStatus) { status.Conditions = conditions })
	}
	set(issuing(cmmeta.ConditionTrue, "", ""), notReady("a"))
	s.clock = time.Unix(103, 0)
	s.asked()
	assert.Equal(t, 27*time.Second, s.look(t, unchanged).RequeueAfter)
	assert.Empty(t, s.asked())
	assert.Empty(t, s.told())

	s.clock = time.Unix(130, 0)
	for _, want := range []time.Duration{30, 60, 120, 240, 300, 300} {
		assert.Equal(t, want*time.Second, s.look(t, unchanged).RequeueAfter)
	}
	assert.Len(t, s.told(), 1)
	set(issuing(cmmeta.ConditionTrue, "", ""), notReady("b"))
	s.look(t, unchanged)
	assert.Len(t, s.told(), 1, "another reason")

	s.issue(t, 1, 120)
	assert.Zero(t, s.look(t, unchanged), "nothing to wait for")
	assert.Len(t, s.told(), 1, "Issued")
	set(issuing(cmmeta.ConditionTrue, "", ""), notReady("b"))
	s.asked()
	assert.Equal(t, issuerPatience, s.look(t, unchanged).RequeueAfter, "patience begins anew")
	assert.Len(t, s.told(), 1, "the same reason, another time")
	assert.Equal(t, []string{"get CertificateRequest/web-mtls-2"}, s.asked())
}

func TestIssuerReportsErrors(t *testing.T) {
	s := newStage(t, deployed("web-5d9-a", "5d9", server))
	s.look(t, created)
	s.clock = time.Unix(110, 0)
	s.world.refuseGet = func(obj client.Object, _ client.ObjectKey) error {
		if _, ok := obj.(*cmapi.CertificateRequest); ok {
			return errors.New("oops")
		}
		return nil
	}
	s.fails(t, "get CertificateRequest shop/web-mtls-1: oops")
	assert.Empty(t, s.told())
}

func TestStatus(t *testing.T) {
	ready := cmapi.CertificateCondition{Type: cmapi.CertificateConditionReady, Status: cmmeta.ConditionTrue}
	for name, test := range map[string]struct {
		status  cmapi.CertificateStatus
		state   State
		pending bool
		since   *metav1.Time
	}{
		"new":           {cmapi.CertificateStatus{}, StatePending, true, at(7)},
		"not Ready":     {cmapi.CertificateStatus{Conditions: []cmapi.CertificateCondition{notReady("x")}}, StatePending, true, at(7)},
		"Ready":         {cmapi.CertificateStatus{Conditions: []cmapi.CertificateCondition{ready}}, StateReady, false, at(7)},
		"being renewed": {cmapi.CertificateStatus{Conditions: []cmapi.CertificateCondition{ready, issuing(cmmeta.ConditionTrue, "", "")}}, StateReady, true, at(100)},
		"not to be renewed": {cmapi.CertificateStatus{
			LastFailureTime: at(1), Conditions: []cmapi.CertificateCondition{ready, issuing(cmmeta.ConditionFalse, "", "")},
		}, StateFailed, true, at(100)},
		"failed before":  {cmapi.CertificateStatus{LastFailureTime: at(1), Conditions: []cmapi.CertificateCondition{issuing(cmmeta.ConditionTrue, "", "")}}, StatePending, true, at(100)},
		"issued at last": {cmapi.CertificateStatus{Conditions: []cmapi.CertificateCondition{ready, issuing(cmmeta.ConditionFalse, "", "")}}, StateReady, false, at(100)},
		"without a time": {cmapi.CertificateStatus{Conditions: []cmapi.CertificateCondition{{Type: cmapi.CertificateConditionIssuing, Status: cmmeta.ConditionTrue}}}, StatePending, true, at(7)},
	} {
		t.Run(name, func(t *testing.T) {
			cert := &cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: *at(7)}, Status: test.status}
			assert.Equal(t, test.state, StateOf(cert))
			assert.Equal(t, test.pending, isPending(cert))
			assert.Equal(t, test.since.Time, pendingSince(cert))
		})
	}
}

func TestCertificateHashAndWindow(t *testing.T) {
	cert := func(change func(*cmapi.Certificate)) *cmapi.Certificate {
		c := &cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{UID: "u"}, Status: cmapi.CertificateStatus{
			Revision: new(2), NotBefore: at(1000), NotAfter: at(10_000), RenewalTime: at(8000),
		}}
		change(c)
		return c
	}
	same := cert(func(*cmapi.Certificate) {})
	assert.Regexp(t, "^[0-9a-f]{16}$", certificateHash(same))
	for name, test := range map[string]struct {
		change func(*cmapi.Certificate)
		same   bool
		window time.Duration
	}{
		"nothing":      {func(*cmapi.Certificate) {}, true, 2000 * time.Second},
		"revision":     {func(c *cmapi.Certificate) { c.Status.Revision = new(3) }, true, 2000 * time.Second},
		"another zone": {func(c *cmapi.Certificate) { c.Status.NotBefore.Time = c.Status.NotBefore.In(time.FixedZone("x", 3600)) }, true, 2000 * time.Second},
		"begins later": {func(c *cmapi.Certificate) { c.Status.NotBefore = at(1001) }, false, 2000 * time.Second},
		"made anew":    {func(c *cmapi.Certificate) { c.UID = "v" }, false, 2000 * time.Second},
		"no beginning": {func(c *cmapi.Certificate) { c.Status.NotBefore = nil }, false, 0},
		"no end":       {func(c *cmapi.Certificate) { c.Status.NotAfter = nil }, true, 0},
		"no renewal":   {func(c *cmapi.Certificate) { c.Status.RenewalTime = nil }, true, 3000 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			got := cert(test.change)
			assert.Equal(t, test.same, certificateHash(same) == certificateHash(got))
			assert.Equal(t, test.window, window(got))
		})
	}
	assert.Zero(t, revision(&cmapi.Certificate{}))
	require.Equal(t, 2, revision(same))
	for _, test := range []struct{ a, b, want time.Duration }{{0, 0, 0}, {0, 5, 5}, {5, 0, 5}, {5, 3, 3}, {3, 5, 3}} {
		assert.Equal(t, test.want, soonest(test.a, test.b))
	}
}
