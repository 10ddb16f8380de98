package certs

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/intent"
)

// ofWeb is an Event on the Deployment web.
func ofWeb(text string) []string { return []string{"Deployment/web uid-of-web " + text} }

func TestTellsOfIssuances(t *testing.T) {
	s := newStage(t, aged(deployed("web-5d9-a", "5d9", server), 20), aged(deployed("web-5d9-b", "5d9", server), 10))
	s.look(t, created)
	s.clock = time.Unix(13, 0)
	s.issue(t, 1, 12)
	s.status(t, func(status *cmapi.CertificateStatus) {
		status.Conditions = append(status.Conditions, cmapi.CertificateCondition{Type: cmapi.CertificateConditionIssuing, Status: cmmeta.ConditionTrue, LastTransitionTime: at(12)})
	})
	s.look(t, unchanged)
	assert.Empty(t, s.told(), "not yet")
	s.issue(t, 1, 12)
	s.clock = time.Unix(17, 0)
	s.look(t, unchanged)
	assert.Equal(t, ofWeb("Normal Issued Issue: Certificate web-mtls was issued by ClusterIssuer/mtls-ca"), s.told())
	require.NoError(t, testutil.GatherAndCompare(s.registry, strings.NewReader(`
# HELP mtls_injector_companion_ready_seconds Time from a workload's first pod to its companion Certificate being Ready.
# TYPE mtls_injector_companion_ready_seconds histogram
mtls_injector_companion_ready_seconds_bucket{le="0.5"} 0
mtls_injector_companion_ready_seconds_bucket{le="1"} 0
mtls_injector_companion_ready_seconds_bucket{le="2"} 0
mtls_injector_companion_ready_seconds_bucket{le="5"} 0
mtls_injector_companion_ready_seconds_bucket{le="10"} 1
mtls_injector_companion_ready_seconds_bucket{le="30"} 1
mtls_injector_companion_ready_seconds_bucket{le="60"} 1
mtls_injector_companion_ready_seconds_bucket{le="300"} 1
mtls_injector_companion_ready_seconds_bucket{le="+Inf"} 1
mtls_injector_companion_ready_seconds_sum 7
mtls_injector_companion_ready_seconds_count 1
`), "mtls_injector_companion_ready_seconds"), "since the first pod, which is 7 seconds old")

	s.look(t, unchanged)
	assert.Empty(t, s.told(), "told once")
	s.issue(t, 2, 100)
	s.look(t, unchanged)
	assert.Equal(t, ofWeb("Normal Renewed Issue: Certificate web-mtls was renewed by ClusterIssuer/mtls-ca: revision 2"), s.told())
	s.look(t, unchanged)
	assert.Empty(t, s.told(), "told once")
	assert.InDelta(t, 1, testutil.ToFloat64(s.metrics.renewals), 0)

	s.again()
	s.look(t, unchanged)
	assert.Empty(t, s.told(), "at its first look a process cannot tell whether that is news")
	s.issue(t, 3, 200)
	s.look(t, unchanged)
	assert.Len(t, s.told(), 1)
	assert.InDelta(t, 2, testutil.ToFloat64(s.metrics.renewals), 0)
}

func TestTellsOfAnIssuanceThatItDidNotAskFor(t *testing.T) {
	s := newStage(t, deployed("web-5d9-a", "5d9", server))
	s.look(t, created)
	s.again()
	s.look(t, unchanged)
	s.issue(t, 1, 12)
	s.look(t, unchanged)
	assert.Len(t, s.told(), 1, "another process made it, this one saw it Ready")
	families, err := s.registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() == "mtls_injector_companion_ready_seconds" {
			assert.Zero(t, family.GetMetric()[0].GetHistogram().GetSampleCount(), "since when its pods wait, it does not know")
		}
	}
}

func TestNameTakenBySecret(t *testing.T) {
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web-mtls"}}
	s := newStage(t, deployed("web-5d9-a", "5d9", server), foreign)
	want := ofWeb("Warning NameTaken CreateCompanion: Secret web-mtls was not made by mtls-injector for this workload and is left as it is: there is no companion Certificate")
	assert.Equal(t, ctrl.Result{RequeueAfter: 5 * time.Minute}, s.look(t, nameTaken))
	assert.Equal(t, want, s.told())
	assert.Equal(t, 1, s.journal.taken())
	s.look(t, nameTaken)
	assert.Empty(t, s.told(), "told once")
	assert.Zero(t, s.world.applies)

	s.delete(t, foreign)
	foreign.ResourceVersion = ""
	s.look(t, created)
	assert.Zero(t, s.journal.taken())

	// Of a companion that is there, the Secret is cert-manager's business.
	s.create(t, foreign)
	s.issue(t, 1, 0)
	s.look(t, unchanged)
	ours := newStage(t, deployed("web-5d9-a", "5d9", server), secretNamed("web-mtls"))
	ours.look(t, created)
	assert.Empty(t, ours.told(), "what an earlier companion left is no stranger's")
}

func TestNameTakenIsForgotten(t *testing.T) {
	certificate := &cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web-mtls"}}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web-mtls"}}
	for name, taker := range map[string]client.Object{"Certificate": certificate, "Secret": secret} {
		for how, test := range map[string]struct {
			change func(t *testing.T, s *stage)
			want   outcome
		}{
			"workload gone": {func(t *testing.T, s *stage) { t.Helper(); s.delete(t, deployed("web-5d9-a", "5d9", server)) }, noPod},
			"opted out": {func(t *testing.T, s *stage) {
				t.Helper()
				s.create(t, aged(deployed("web-7f1-a", "7f1", optedOut), 5))
			}, notWanted},
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				foreign, ok := taker.DeepCopyObject().(client.Object)
				require.True(t, ok)
				s := newStage(t, deployed("web-5d9-a", "5d9", server), foreign)
				s.look(t, nameTaken)
				require.Equal(t, 1, s.journal.taken())
				test.change(t, s)
				s.look(t, test.want)
				assert.Zero(t, s.journal.taken(), "nobody misses it any more")
			})
		}
	}
}

// withCSI gives the pod a certificate of its own with these names.
func withCSI(pod *corev1.Pod, names ...string) *corev1.Pod {
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "csi", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{
		Driver: intent.CSIDriver, VolumeAttributes: map[string]string{csiDNSNames: strings.Join(names, ",")},
	}}})
	return pod
}

var webNames = []string{"web", "web.shop", "web.shop.svc", "web.shop.svc.cluster.local"}

func serviceNamed(name string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "web"}},
	}
}

func TestIdentityStale(t *testing.T) {
	s := newStage(t,
		withCSI(aged(deployed("web-5d9-a", "5d9", server), 1), webNames...),
		withCSI(aged(deployed("web-5d9-b", "5d9", server), 2), append([]string{"api", "api.shop"}, webNames...)...),
		withCSI(aged(deployed("web-5d9-c", "5d9", server), 3), append([]string{"api ", " api.shop", "api.shop.svc", "api.shop.svc.cluster.local"}, webNames...)...),
		aged(deployed("web-5d9-d", "5d9", server), 4),
	)
	s.look(t, created)
	s.issue(t, 1, 0)
	s.again()
	s.look(t, unchanged)
	assert.Empty(t, s.told())

	s.create(t, serviceNamed("api"))
	s.look(t, updated)
	s.look(t, unchanged)
	assert.Equal(t, []string{
		"Deployment/web uid-of-web [Pod/web-5d9-b uid-of-web-5d9-b] Warning IdentityStale Resolve: The certificates of 2 of 4 pods lack names that their Services give them now, pod web-5d9-b for one: api.shop.svc, api.shop.svc.cluster.local; restart them",
		"Pod/web-5d9-b uid-of-web-5d9-b Warning IdentityStale Resolve: The pod's certificate lacks names that its Services give it now: api.shop.svc, api.shop.svc.cluster.local",
		"Pod/web-5d9-a uid-of-web-5d9-a Warning IdentityStale Resolve: The pod's certificate lacks names that its Services give it now: api, api.shop, api.shop.svc and 1 more",
	}, s.told())
	s.look(t, unchanged)
	assert.Empty(t, s.told(), "told once")

	s.delete(t, deployed("web-5d9-b", "5d9", server))
	s.look(t, unchanged)
	assert.Len(t, s.told(), 2, "another set of pods")
	s.delete(t, serviceNamed("api"))
	s.look(t, updated)
	s.look(t, unchanged)
	assert.Empty(t, s.told())
	s.create(t, serviceNamed("api"))
	s.look(t, updated)
	s.look(t, unchanged)
	assert.Len(t, s.told(), 2, "the same again, after it was well in between")
}

func TestIdentityStaleRestarts(t *testing.T) {
	fresh := withCSI(aged(deployed("web-5d9-a", "5d9", restarting), renewal+30), webNames...)
	s := renewed(t, 1, fresh)
	s.look(t, unchanged)
	s.create(t, serviceNamed("api"))
	s.look(t, updated)
	s.clock = s.clock.Add(time.Hour)
	s.look(t, unchanged)
	told := s.told()
	require.Len(t, told, 3)
	assert.Contains(t, told[0], "; they are restarted")
	assert.Contains(t, told[2], " Restarted ")
	assert.InDelta(t, 1, s.restarts(updated), 0)
}

func TestIdentityStaleOfABarePod(t *testing.T) {
	s := newBareStage(t, withCSI(annotated("alone", restarting), "alone"))
	s.request = requestOf("alone-mtls-pod")
	s.look(t, created)
	s.issue(t, 1, 0)
	s.again()
	s.look(t, unchanged)
	assert.Equal(t, []string{"Pod/alone uid-of-alone [Pod/alone uid-of-alone] Warning IdentityStale Resolve: " +
		"The certificates of 1 of 1 pods lack names that their Services give them now, pod alone for one: web, web.shop, web.shop.svc and 1 more; restart them"},
		s.told()[:1], "a pod that is its own workload is told of once")
}

// TestNotesFitIntoEvents: the API server refuses longer ones (events.k8s.io/v1).
func TestNotesFitIntoEvents(t *testing.T) {
	long := strings.Repeat("a23456789.", 24) + "abcdefgh"
	s := newStage(t)
	pods := []*corev1.Pod{annotated(long, nil), annotated(long[1:]+"b", nil)}
	names := []string{long + "1", long + "2", long + "3", long + "4"}
	l := &look{key: webMTLS.NamespacedName, entry: &entry{}, alive: pods, in: &intent.Intent{CompanionName: long},
		owner: controlledBy("apps/v1", "Deployment", "web"), cert: &cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{Name: long}}}
	l.stale = map[types.UID][]string{pods[0].UID: names, pods[1].UID: names}
	s.announceStale(l)
	l.cert.Status.LastFailureTime = at(0)
	l.cert.Status.Conditions = []cmapi.CertificateCondition{{
		Type: cmapi.CertificateConditionIssuing, Status: cmmeta.ConditionFalse, Reason: "Failed", Message: strings.Repeat("wörd ", 500),
	}}
	_, err := s.checkIssuer(t.Context(), l)
	require.NoError(t, err)
	told := s.told()
	require.Len(t, told, 4)
	for _, text := range told {
		_, note, _ := strings.Cut(text, ": ")
		assert.LessOrEqual(t, len(note), 1024)
		assert.True(t, utf8.ValidString(note))
		assert.NotEmpty(t, note)
	}
}
