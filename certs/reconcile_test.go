package certs

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/intent"
)

func TestReconcileCreatesOnce(t *testing.T) {
	s := newStage(t, deployed("web-5d9-a", "5d9", server))
	s.look(t, created)
	got := s.companion(t)
	assert.Equal(t, []metav1.OwnerReference{{
		APIVersion: "apps/v1", Kind: "Deployment", Name: "web", UID: "uid-of-web", Controller: new(true), BlockOwnerDeletion: new(false),
	}}, got.OwnerReferences)
	assert.Equal(t, []string{"web", "web.shop", "web.shop.svc", "web.shop.svc.cluster.local"}, got.Spec.DNSNames)
	require.Len(t, got.ManagedFields, 1)
	assert.Equal(t, metav1.ManagedFieldsOperationApply, got.ManagedFields[0].Operation)
	assert.Equal(t, FieldManager, got.ManagedFields[0].Manager)

	for range 3 {
		s.look(t, unchanged)
	}
	assert.Equal(t, 1, s.world.applies, "a workload at rest is not written")
	assert.Equal(t, got.ResourceVersion, s.companion(t).ResourceVersion)
	assert.Empty(t, s.told())
	require.NoError(t, testutil.GatherAndCompare(s.registry, strings.NewReader(`
# HELP mtls_injector_companion_applies_total Writes of companion Certificates, and deletions of them and of their Secrets, by result: created, updated, removed, failed. A workload at rest causes none.
# TYPE mtls_injector_companion_applies_total counter
mtls_injector_companion_applies_total{result="created"} 1
mtls_injector_companion_applies_total{result="failed"} 0
mtls_injector_companion_applies_total{result="removed"} 0
mtls_injector_companion_applies_total{result="updated"} 0
`), "mtls_injector_companion_applies_total"))
}

func TestReconcileLetsTheNewestPodDecide(t *testing.T) {
	s := newStage(t,
		aged(deployed("web-5d9-z", "5d9", map[string]string{"role": "client"}), 1),
		aged(deployed("web-7f1-a", "7f1", map[string]string{"role": "both", "duration": "48h"}), 2),
		aged(deployed("web-5d9-y", "5d9", map[string]string{"role": "client"}), 1),
	)
	s.look(t, created)
	assert.Equal(t, "both", s.companion(t).Labels[LabelRole])
	s.look(t, unchanged)

	// Rolled back: the newer pod goes, and the older template decides again.
	require.NoError(t, s.world.Delete(t.Context(), deployed("web-7f1-a", "7f1", nil)))
	s.look(t, updated)
	got := s.companion(t)
	assert.Equal(t, "client", got.Labels[LabelRole])
	assert.Equal(t, 720*time.Hour, got.Spec.Duration.Duration)
	assert.Empty(t, got.Spec.DNSNames, "what is no longer wanted is gone")
	s.look(t, unchanged)
}

func TestReconcileGivesInventedOwnersNoSay(t *testing.T) {
	forged := aged(deployed("web-5d9-evil", "5d9", map[string]string{"role": "client"}), 9)
	forged.OwnerReferences[0].UID = "forged"
	s := newStage(t, aged(deployed("web-5d9-a", "5d9", server), 1), forged)
	s.look(t, created)
	assert.Equal(t, "server", s.companion(t).Labels[LabelRole])

	alone := newStage(t, forged)
	alone.look(t, ownerUnverified)
	assert.Zero(t, alone.world.applies)
}

func TestReconcileBringsBackWhatWasChanged(t *testing.T) {
	s := newStage(t, deployed("web-5d9-a", "5d9", server))
	s.look(t, created)
	cert := s.companion(t)
	cert.Spec.DNSNames = []string{"evil.example.com"}
	cert.OwnerReferences = nil
	require.NoError(t, s.world.Update(t.Context(), cert, client.FieldOwner("kubectl-edit")))
	s.look(t, updated)
	assert.Equal(t, "web", s.companion(t).Spec.DNSNames[0])
	assert.Len(t, s.companion(t).OwnerReferences, 1)

	require.NoError(t, s.world.Delete(t.Context(), s.companion(t)))
	s.look(t, created)
	assert.Equal(t, "web", s.companion(t).Spec.DNSNames[0])
}

func TestReconcileFollowsServicesAndConfiguration(t *testing.T) {
	s := newStage(t, deployed("web-5d9-a", "5d9", server))
	s.look(t, created)
	extra := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "api"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "web"}},
	}
	require.NoError(t, s.world.Create(t.Context(), extra))
	s.look(t, updated)
	assert.Equal(t, "api", s.companion(t).Spec.DNSNames[0])

	s.defaults = func() *intent.Defaults {
		d := intent.BuiltinDefaults()
		d.Issuer.Name = "other"
		return d
	}
	s.look(t, updated)
	assert.Equal(t, "other", s.companion(t).Spec.IssuerRef.Name)
}

func TestReconcileTouchesNothingForeign(t *testing.T) {
	foreign := &cmapi.Certificate{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web-mtls", Labels: map[string]string{"mine": "x"}},
		Spec:       cmapi.CertificateSpec{SecretName: "web-mtls", DNSNames: []string{"mine"}},
	}
	s := newStage(t, deployed("web-5d9-a", "5d9", server), foreign)
	before := s.companion(t)
	result := s.look(t, nameTaken)
	assert.Equal(t, ctrl.Result{RequeueAfter: nameTakenRetry}, result)
	assert.Equal(t, []string{"Deployment/web uid-of-web Warning NameTaken CreateCompanion: Certificate web-mtls was not made by mtls-injector for this workload and is left as it is: there is no companion Certificate"}, s.told())
	assert.Equal(t, before, s.companion(t))
	assert.Zero(t, s.world.applies)

	require.NoError(t, s.world.Delete(t.Context(), before))
	s.look(t, created)
}

// TestReconcileLooksBeyondTheCache, which has only what carries our label, and may not
// have seen a new Namespace yet.
func TestReconcileLooksBeyondTheCache(t *testing.T) {
	foreign := &cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web-mtls"}}
	pod := deployed("web-5d9-a", "5d9", server)
	full := newStage(t, pod, foreign)
	full.cached = newWorld(t, pod) // neither Certificate nor Namespace
	full.look(t, nameTaken)

	gone := newStage(t, pod)
	gone.cached = newWorld(t, pod)
	require.NoError(t, gone.world.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}))
	gone.look(t, terminating)
}

func TestReconcileDoesNothing(t *testing.T) {
	ended := deployed("web-5d9-a", "5d9", server)
	ended.Status.Phase = corev1.PodFailed
	for name, test := range map[string]struct {
		objects []client.Object
		want    outcome
	}{
		"without pods":                 {nil, noPod},
		"for pods that have ended":     {[]client.Object{ended}, noPod},
		"where no companion is wanted": {[]client.Object{deployed("web-5d9-a", "5d9", map[string]string{"role": "server", "companion": "false"})}, notWanted},
		"without a role":               {[]client.Object{deployed("web-5d9-a", "5d9", nil)}, notWanted},
		"for what is refused by now":   {[]client.Object{deployed("web-5d9-a", "5d9", map[string]string{"role": "server", "dns-names": "www.example.com"})}, refused},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, test.objects...)
			result := s.look(t, test.want)
			assert.Zero(t, result)
			assert.Zero(t, s.world.applies)
			assert.Empty(t, s.told())
		})
	}
}

func TestReconcileLeavesWhatIsAboutToGo(t *testing.T) {
	s := newStage(t, deployed("web-5d9-a", "5d9", server))
	gone := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web"}}
	require.NoError(t, s.world.Delete(t.Context(), gone))
	s.look(t, ownerUnverified)
	assert.Zero(t, s.world.applies, "the garbage collector would take it away at once")
}

func TestReconcileAfterTheNamespaceIsGone(t *testing.T) {
	s := newStage(t, deployed("web-5d9-a", "5d9", server))
	require.NoError(t, s.world.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}))
	s.look(t, terminating)
}

func TestReconcileWhileTheNamespaceGoes(t *testing.T) {
	s := newStage(t, deployed("web-5d9-a", "5d9", server))
	s.world.refuseApply = func() error {
		err := apierrors.NewForbidden(cmapi.Resource("certificates"), "web-mtls", errors.New("being terminated"))
		err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
		return err
	}
	assert.Zero(t, s.look(t, terminating), "no loop")
}

func TestReconcileReportsErrors(t *testing.T) {
	oops := errors.New("oops")
	failGet := func(kind client.Object) func(client.Object, client.ObjectKey) error {
		return func(obj client.Object, _ client.ObjectKey) error {
			if reflect.TypeOf(obj) == reflect.TypeOf(kind) {
				return oops
			}
			return nil
		}
	}
	for name, test := range map[string]struct {
		get   func(client.Object, client.ObjectKey) error
		apply func() error
		want  string
	}{
		"owner":       {get: failGet(&unstructured.Unstructured{}), want: "get ReplicaSet web-5d9: oops"},
		"namespace":   {get: failGet(&corev1.Namespace{}), want: "get *v1.Namespace /shop: oops"},
		"certificate": {get: failGet(&cmapi.Certificate{}), want: "get *v1.Certificate shop/web-mtls: oops"},
		"apply":       {apply: func() error { return oops }, want: "apply Certificate web-mtls: oops"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, deployed("web-5d9-a", "5d9", server))
			s.world.refuseGet, s.world.refuseApply = test.get, test.apply
			_, err := s.Reconcile(t.Context(), webMTLS)
			require.EqualError(t, err, test.want)
			assert.InDelta(t, 1, testutil.ToFloat64(s.metrics.reconciles.WithLabelValues(string(failed))), 0)
			assert.Empty(t, s.told())
		})
	}
}

// TestWriteLosesARace: a Certificate that somebody made since the look stays as it is.
func TestWriteLosesARace(t *testing.T) {
	s := newStage(t, deployed("web-5d9-a", "5d9", server))
	desired, err := applyConfiguration(Desired(resolved(t, deployed("web-5d9-a", "5d9", server))))
	require.NoError(t, err)
	foreign := &cmapi.Certificate{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web-mtls"},
		Spec:       cmapi.CertificateSpec{SecretName: "mine", DNSNames: []string{"mine"}},
	}
	require.NoError(t, s.world.Create(t.Context(), foreign, client.FieldOwner("somebody")))
	err = s.write(t.Context(), nil, desired)
	assert.True(t, apierrors.IsConflict(err), "%v", err)
	assert.Equal(t, "mine", s.companion(t).Spec.SecretName)
	assert.Empty(t, s.companion(t).Labels)
}
