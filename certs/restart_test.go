package certs

import (
	"errors"
	"strings"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/intent"
)

// renewal is when the companions of these tests were issued, in seconds since the epoch,
// and renewalHash the hash of that.
const (
	renewal     = 100_000
	renewalHash = "8f80f6b269817348"
)

var restarting = map[string]string{"role": "server", "reload": "restart"}

// old is a pod of the Deployment web, made an hour before the renewal.
func old(name string) *corev1.Pod { return aged(deployed(name, "5d9", restarting), renewal-3600) }

// mounting has the pod mount the Secret, as it is or projected.
func mounting(pod *corev1.Pod, secret string, projected bool) *corev1.Pod {
	source := corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret}}
	if projected {
		ref := corev1.LocalObjectReference{Name: secret}
		source = corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: ref}},
			{Secret: &corev1.SecretProjection{LocalObjectReference: ref}},
		}}}
	}
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "mtls", VolumeSource: source})
	return pod
}

// renewed is a stage in which a new process finds the companion at that revision, a minute
// after it was issued. Restarts are not spread.
func renewed(t *testing.T, revision int, objects ...client.Object) *stage {
	t.Helper()
	s := newStage(t, objects...)
	s.policy(10, 0)
	s.look(t, created)
	s.issue(t, revision, renewal)
	s.again()
	s.clock = time.Unix(renewal+60, 0)
	s.asked()
	return s
}

func (s *stage) policy(limit int, jitter time.Duration) {
	s.defaults = func() *intent.Defaults {
		d := intent.BuiltinDefaults()
		d.Restart = intent.RestartPolicy{MaxConcurrentWorkloads: limit, Jitter: jitter}
		return d
	}
}

// settle looks, and once more when what it saw has stood long enough.
func (s *stage) settle(t *testing.T) {
	t.Helper()
	assert.Equal(t, 3*time.Second, s.look(t, unchanged).RequeueAfter)
	s.clock = s.clock.Add(3 * time.Second)
	s.asked()
}

func (s *stage) restarts(result outcome) float64 {
	return testutil.ToFloat64(s.metrics.restarts.WithLabelValues(string(result)))
}

func TestRestart(t *testing.T) {
	s := renewed(t, 2, old("web-5d9-a"))
	assert.Equal(t, 3*time.Second, s.look(t, unchanged).RequeueAfter, "revision and times are not written at once")
	assert.Equal(t, []string{"get Deployment/web"}, s.asked(), "was it asked for before?")
	s.clock = s.clock.Add(2999 * time.Millisecond)
	assert.Equal(t, time.Millisecond, s.look(t, unchanged).RequeueAfter)
	assert.Empty(t, s.asked())
	assert.Empty(t, s.told())

	s.clock = s.clock.Add(time.Millisecond)
	assert.Zero(t, s.look(t, unchanged))
	assert.Equal(t, []string{"get ReplicaSet/web-5d9", "apply"}, s.asked())
	assert.Equal(t, `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"shop","uid":"uid-of-web"},`+
		`"spec":{"template":{"metadata":{"annotations":{"mtls.example.io/certificate-hash":"`+renewalHash+`"}}}}}`, s.world.applied)
	assert.Equal(t, []string{"Deployment/web uid-of-web Normal Restarted Restart: Restarting the pods for revision 2 of Certificate web-mtls"}, s.told())
	assert.InDelta(t, 1, s.restarts(updated), 0)

	for range 3 {
		assert.Zero(t, s.look(t, unchanged), "once per certificate")
	}
	assert.Len(t, s.slots.held, 1, "the restart is under way")
	s.again()
	s.look(t, unchanged)
	assert.Equal(t, []string{"get Deployment/web"}, s.asked(), "another process finds the annotation")
	assert.Len(t, s.slots.held, 1, "and takes the slot")
	assert.Zero(t, s.look(t, unchanged))
	assert.Empty(t, s.asked())
	assert.Empty(t, s.told())

	require.NoError(t, s.world.Delete(t.Context(), old("web-5d9-a")))
	require.NoError(t, s.world.Create(t.Context(), aged(deployed("web-7f1-a", "7f1", restarting), renewal+70)))
	s.look(t, unchanged)
	assert.Empty(t, s.slots.held, "the rollout has come to its end")

	s.issue(t, 3, renewal+3600)
	s.clock = time.Unix(renewal+3600, 0)
	s.look(t, unchanged)
	s.clock = s.clock.Add(time.Minute)
	s.look(t, unchanged)
	assert.InDelta(t, 2, s.restarts(updated), 0, "the next certificate, the next restart")
	assert.InDelta(t, 0, s.restarts(failed), 0)
}

func TestRestartIsDue(t *testing.T) {
	hash := map[string]string{"role": "server", "reload": "restart", "certificate-hash": renewalHash}
	made := func(second int64) *corev1.Pod { return aged(deployed("web-5d9-a", "5d9", restarting), renewal+second) }
	secret := func(second int64) *corev1.Pod { return mounting(made(second), "web-mtls", false) }
	condition := func(kind cmapi.CertificateConditionType, is cmmeta.ConditionStatus) func(*cmapi.CertificateStatus) {
		return func(status *cmapi.CertificateStatus) {
			status.Conditions = append(status.Conditions, cmapi.CertificateCondition{Type: kind, Status: is, LastTransitionTime: at(renewal + 3600)})
		}
	}
	for name, test := range map[string]struct {
		pod      *corev1.Pod
		revision int
		status   func(*cmapi.CertificateStatus)
		want     bool
	}{
		"made before":                         {made(-1), 2, nil, true},
		"made in the same second":             {made(0), 2, nil, true},
		"made after it":                       {made(1), 2, nil, false},
		"the first, half a window before":     {made(-900), 1, nil, true},
		"the first, less than that before":    {made(-899), 1, nil, false},
		"Secret, made long before":            {secret(-899), 2, nil, true},
		"Secret, made in the lag":             {secret(900), 2, nil, true},
		"Secret, made after the lag":          {secret(901), 2, nil, false},
		"Secret, projected, in the lag":       {mounting(made(60), "web-mtls", true), 2, nil, true},
		"Secret of another name":              {mounting(made(60), "other", false), 2, nil, false},
		"Secret, the first":                   {secret(-899), 1, nil, false},
		"Secret, the first, long before":      {secret(-900), 1, nil, true},
		"Secret, no revision written":         {secret(-899), 0, nil, false},
		"made by the restart itself":          {aged(deployed("web-5d9-a", "5d9", hash), 0), 2, nil, false},
		"reload: none":                        {aged(deployed("web-5d9-a", "5d9", server), 0), 2, nil, false},
		"being issued":                        {made(-3600), 2, condition(cmapi.CertificateConditionIssuing, cmmeta.ConditionTrue), false},
		"not Ready":                           {made(-3600), 2, func(s *cmapi.CertificateStatus) { s.Conditions[0].Status = cmmeta.ConditionFalse }, false},
		"without a condition":                 {made(-3600), 2, func(s *cmapi.CertificateStatus) { s.Conditions = nil }, false},
		"without a beginning":                 {made(-3600), 2, func(s *cmapi.CertificateStatus) { s.NotBefore = nil }, false},
		"issuing ended":                       {made(-3600), 2, condition(cmapi.CertificateConditionIssuing, cmmeta.ConditionFalse), true},
		"the first, a third of the life":      {made(-900), 1, func(s *cmapi.CertificateStatus) { s.RenewalTime = nil }, true},
		"the first, less than that":           {made(-899), 1, func(s *cmapi.CertificateStatus) { s.RenewalTime = nil }, false},
		"without an end, made at that second": {made(0), 1, func(s *cmapi.CertificateStatus) { s.NotAfter = nil }, true},
		"without an end, made after":          {made(1), 1, func(s *cmapi.CertificateStatus) { s.NotAfter = nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := renewed(t, test.revision, test.pod)
			if test.status != nil {
				s.status(t, test.status)
			}
			s.slots.hold(webMTLS.NamespacedName, s.clock)
			s.look(t, unchanged)
			s.clock = s.clock.Add(time.Minute)
			s.look(t, unchanged)
			assert.InDelta(t, map[bool]float64{true: 1}[test.want], s.restarts(updated), 0)
			assert.Len(t, s.slots.held, int(s.restarts(updated)), "a slot that is not needed is given back")
		})
	}
}

// TestRestartWaitsForStatusToSettle: the settle time begins anew with each change of one
// of the two fields.
func TestRestartWaitsForStatusToSettle(t *testing.T) {
	pod := mounting(aged(deployed("web-5d9-a", "5d9", restarting), renewal-60), "web-mtls", false)
	s := renewed(t, 1, pod)
	s.look(t, unchanged)
	s.clock = s.clock.Add(time.Hour)
	s.status(t, func(status *cmapi.CertificateStatus) { status.Revision = new(2) })
	assert.Equal(t, 30*time.Second, s.look(t, unchanged).RequeueAfter, "the revision's own time is still to come")
	s.clock = s.clock.Add(29 * time.Second)
	s.status(t, func(status *cmapi.CertificateStatus) { status.NotBefore = at(renewal + 3600) })
	assert.Equal(t, 3*time.Second, s.look(t, unchanged).RequeueAfter, "here it is")
	assert.Empty(t, s.told()[1:], "Renewed only")
	s.clock = s.clock.Add(3 * time.Second)
	s.look(t, unchanged)
	assert.InDelta(t, 1, s.restarts(updated), 0)
	assert.NotContains(t, s.world.applied, renewalHash, "it is restarted for the later one")
}

func TestRestartsAreSpread(t *testing.T) {
	s := renewed(t, 2, old("web-5d9-a"))
	cert := s.companion(t)
	begin := time.Unix(renewal+1, 0)
	for name, test := range map[string]struct{ jitter, most time.Duration }{
		"over the jitter":                   {4 * time.Minute, 4 * time.Minute},
		"over a quarter of the window":      {time.Hour, 450 * time.Second},
		"not at all, but for the creation":  {0, 0},
		"over a quarter, which is the same": {450 * time.Second, 450 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			all := map[time.Duration]bool{}
			var sum time.Duration
			for i := range 200 {
				key := client.ObjectKey{Namespace: namespace, Name: strings.Repeat("a", i) + "-mtls"}
				after := dueTime(cert, key, test.jitter).Sub(begin)
				assert.GreaterOrEqual(t, after, time.Duration(0))
				assert.LessOrEqual(t, after, test.most)
				assert.Equal(t, after, dueTime(cert, key, test.jitter).Sub(begin), "the same at each look")
				all[after] = true
				sum += after
			}
			if test.most > 0 {
				assert.Greater(t, len(all), 150, "each has its own time")
				assert.InDelta(t, test.most.Seconds()/2, sum.Seconds()/200, test.most.Seconds()/10)
			}
		})
	}
	later := s.companion(t)
	later.Status.NotBefore = at(renewal + 3600)
	assert.NotEqual(t, dueTime(cert, webMTLS.NamespacedName, time.Minute).Add(time.Hour), dueTime(later, webMTLS.NamespacedName, time.Minute),
		"another time at each renewal")

	s.policy(10, time.Hour)
	due := dueTime(cert, webMTLS.NamespacedName, time.Hour)
	s.clock = due.Add(-5 * time.Second)
	assert.Equal(t, 5*time.Second, s.look(t, unchanged).RequeueAfter)
	s.clock = due.Add(-time.Nanosecond)
	assert.Equal(t, time.Nanosecond, s.look(t, unchanged).RequeueAfter)
	assert.Empty(t, s.told())
	s.clock = due
	s.look(t, unchanged)
	assert.Len(t, s.told(), 1)
}

func TestRestartIsTriedAgain(t *testing.T) {
	oops := errors.New("oops")
	refuse := func(kind string) func(client.Object, client.ObjectKey) error {
		return func(obj client.Object, key client.ObjectKey) error {
			if obj.GetObjectKind().GroupVersionKind().Kind+"/"+key.Name == kind {
				return oops
			}
			return nil
		}
	}
	// The newest pod is of the new ReplicaSet, and not outdated.
	newest := func() client.Object { return aged(deployed("web-7f1-a", "7f1", restarting), renewal+1) }
	for name, test := range map[string]struct {
		get   func(client.Object, client.ObjectKey) error
		apply func() error
		want  string
		count float64
	}{
		"apply":                {apply: func() error { return oops }, want: "restart Deployment web: oops", count: 1},
		"outdated pod's owner": {get: refuse("ReplicaSet/web-5d9"), want: "get ReplicaSet web-5d9: oops", count: 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := renewed(t, 2, old("web-5d9-a"), newest())
			s.settle(t)
			s.world.refuseGet, s.world.refuseApply = test.get, test.apply
			s.fails(t, test.want)
			assert.Empty(t, s.slots.held, "others go first")
			assert.InDelta(t, test.count, s.restarts(failed), 0)
			assert.Empty(t, s.told())
			s.world.refuseGet, s.world.refuseApply = nil, nil
			s.look(t, unchanged)
			assert.InDelta(t, 1, s.restarts(updated), 0)
		})
	}
	s := renewed(t, 2, old("web-5d9-a"))
	s.world.refuseGet = refuse("Deployment/web")
	s.fails(t, "get Deployment web: oops")
	s.world.refuseGet = nil
	s.settle(t)
	s.look(t, unchanged)
	assert.InDelta(t, 1, s.restarts(updated), 0)
}
