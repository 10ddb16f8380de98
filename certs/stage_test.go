package certs

import (
	"fmt"
	"strings"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/intent"
)

var (
	server  = map[string]string{"role": "server"}
	webMTLS = ctrl.Request{NamespacedName: client.ObjectKey{Namespace: namespace, Name: "web-mtls"}}
)

// stage is a reconciler in a world.
type stage struct {
	*reconciler
	world    *world
	registry *prometheus.Registry
	// request is the companion that is looked at: web-mtls unless a test says otherwise.
	request ctrl.Request
	// clock is the present time. It begins at the zero time, at which the stand-in for the
	// API server makes all objects.
	clock time.Time
	notes *recorder
}

// newStage has the Deployment web, its ReplicaSets web-5d9 and web-7f1, a Service that
// selects its pods, and the given objects.
func newStage(t *testing.T, objects ...client.Object) *stage {
	t.Helper()
	deployment := controlledBy("apps/v1", "Deployment", "web")
	return newBareStage(t, append(objects,
		object(&appsv1.Deployment{}, "web"),
		object(&appsv1.ReplicaSet{}, "web-5d9", deployment),
		object(&appsv1.ReplicaSet{}, "web-7f1", deployment),
	)...)
}

// newBareStage has the Namespace, the Service and the given objects.
func newBareStage(t *testing.T, objects ...client.Object) *stage {
	t.Helper()
	w := newWorld(t, append(objects,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{intent.LabelEnabled: "true"}}},
		&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web"},
			Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "web"}},
		},
	)...)
	registry := prometheus.NewRegistry()
	m, err := newMetrics(registry)
	require.NoError(t, err)
	notes := &recorder{}
	s := &stage{
		reconciler: &reconciler{
			cached: w, live: apiServer{w}, defaults: intent.BuiltinDefaults, events: notes, metrics: m, journal: newJournal(),
		},
		world: w, registry: registry, request: webMTLS, notes: notes,
	}
	s.now = func() time.Time { return s.clock }
	return s
}

// look reconciles once, asserts the outcome and returns what to do next.
func (s *stage) look(t *testing.T, want outcome) ctrl.Result {
	t.Helper()
	before := testutil.ToFloat64(s.metrics.reconciles.WithLabelValues(string(want)))
	result, err := s.Reconcile(t.Context(), s.request)
	require.NoError(t, err)
	assert.InDelta(t, before+1, testutil.ToFloat64(s.metrics.reconciles.WithLabelValues(string(want))), 0, "outcome %s", want)
	return result
}

// fails reconciles once, and asserts the error.
func (s *stage) fails(t *testing.T, want string) {
	t.Helper()
	_, err := s.Reconcile(t.Context(), s.request)
	require.EqualError(t, err, want)
}

// again stands for a new process, which remembers nothing.
func (s *stage) again() {
	s.journal, s.slots = newJournal(), slots{}
}

func (s *stage) companion(t *testing.T) *cmapi.Certificate {
	t.Helper()
	cert := &cmapi.Certificate{}
	require.NoError(t, s.world.Get(t.Context(), s.request.NamespacedName, cert))
	return cert
}

// told returns the Events since the last call.
func (s *stage) told() []string {
	told := s.notes.notes
	s.notes.notes = nil
	return told
}

// asked returns the requests to the API server since the last call.
func (s *stage) asked() []string {
	asked := s.world.log
	s.world.log = nil
	return asked
}

// status changes the companion's status, and gives the companion a UID.
func (s *stage) status(t *testing.T, change func(*cmapi.CertificateStatus)) {
	t.Helper()
	cert := s.companion(t)
	cert.UID = types.UID("uid-of-" + cert.Name)
	change(&cert.Status)
	require.NoError(t, s.world.Update(t.Context(), cert, client.FieldOwner("cert-manager")))
}

// issue has the companion issued at that second after the epoch: for 90 minutes, to be
// renewed after 60. So the window is 30 minutes, half of it 15, a quarter 7.5.
func (s *stage) issue(t *testing.T, revision int, second int64) {
	t.Helper()
	s.status(t, func(status *cmapi.CertificateStatus) {
		status.Revision = &revision
		status.NotBefore, status.RenewalTime, status.NotAfter = at(second), at(second+3600), at(second+5400)
		status.LastFailureTime = nil
		status.Conditions = []cmapi.CertificateCondition{{Type: cmapi.CertificateConditionReady, Status: cmmeta.ConditionTrue}}
	})
}

// at is so many seconds after the epoch.
func at(second int64) *metav1.Time { return new(metav1.Unix(second, 0)) }

// aged makes the pod so many seconds old after the epoch.
func aged(pod *corev1.Pod, second int64) *corev1.Pod {
	pod.CreationTimestamp = *at(second)
	return pod
}

// recorder keeps Events as texts: regarding, [related,] type, reason, action and note.
type recorder struct{ notes []string }

// Eventf implements events.EventRecorder.
func (r *recorder) Eventf(regarding, related runtime.Object, kind, reason, action, note string, args ...any) {
	about := text(regarding)
	if related != nil {
		about += " [" + text(related) + "]"
	}
	r.notes = append(r.notes, fmt.Sprintf("%s %s %s %s: %s", about, kind, reason, action, fmt.Sprintf(note, args...)))
}

func text(obj runtime.Object) string {
	m, err := meta.Accessor(obj)
	if err != nil {
		return err.Error()
	}
	kind := obj.GetObjectKind().GroupVersionKind().Kind
	if kind == "" {
		kind = strings.TrimPrefix(fmt.Sprintf("%T", obj), "*v1.")
	}
	return kind + "/" + m.GetName() + " " + string(m.GetUID())
}
