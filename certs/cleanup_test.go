package certs

import (
	"context"
	"errors"
	"slices"
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
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var optedOut = map[string]string{"role": "server", "companion": "false"}

// secretNamed is what cert-manager writes for the companion of that name.
func secretNamed(name string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, UID: "uid-of-secret-of-web",
		Labels:      map[string]string{LabelCertType: CertTypeMTLS, LabelManagedBy: ManagedBy},
		Annotations: map[string]string{cmapi.CertificateNameKey: name},
	}}
}

// withCompanion is a stage on which the companion has been made and issued, and a new
// process begins.
func withCompanion(t *testing.T, request ctrl.Request, objects ...client.Object) *stage {
	t.Helper()
	s := newStage(t, objects...)
	s.request = request
	s.look(t, created)
	s.issue(t, 1, 0)
	s.again()
	s.asked()
	return s
}

// left returns which of Certificate and Secret are left.
func (s *stage) left(t *testing.T) string {
	t.Helper()
	var left []string
	for name, obj := range map[string]client.Object{"Certificate": &cmapi.Certificate{}, "Secret": &corev1.Secret{}} {
		err := s.world.Get(t.Context(), s.request.NamespacedName, obj)
		if require.NoError(t, client.IgnoreNotFound(err)); err == nil {
			left = append(left, name)
		}
	}
	if len(left) == 2 {
		return "Certificate Secret"
	}
	return strings.Join(left, "")
}

func (s *stage) create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, obj := range objects {
		copied, ok := obj.DeepCopyObject().(client.Object)
		require.True(t, ok)
		require.NoError(t, s.world.Create(t.Context(), copied))
	}
}

func (s *stage) delete(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, obj := range objects {
		require.NoError(t, s.world.Delete(t.Context(), obj))
	}
	s.asked()
}

func TestRemove(t *testing.T) {
	s := withCompanion(t, webMTLS, aged(deployed("web-5d9-a", "5d9", server), 1))
	s.create(t, secretNamed("web-mtls"), aged(deployed("web-7f1-a", "7f1", optedOut), 2))
	assert.Equal(t, ctrl.Result{RequeueAfter: 30 * time.Second}, s.look(t, removed), "cert-manager may be in the middle of issuing")
	assert.Equal(t, []string{
		"get ReplicaSet/web-7f1", "get Secret/web-mtls", "list PodList", "delete Certificate/web-mtls", "delete Secret/web-mtls",
	}, s.asked(), "the Certificate first, or cert-manager writes the Secret anew")
	assert.Equal(t, []string{"uid-of-web-mtls Background", "uid-of-secret-of-web Background"}, s.world.deleted)
	assert.Empty(t, s.left(t))
	assert.Empty(t, s.told())
	assert.InDelta(t, 2, testutil.ToFloat64(s.metrics.applies.WithLabelValues("removed")), 0)
	assert.Empty(t, s.journal.entries)

	s.create(t, secretNamed("web-mtls"))
	assert.NotZero(t, s.look(t, removed), "it was")
	assert.Zero(t, s.look(t, notWanted))
	assert.Empty(t, s.left(t))
	assert.Len(t, s.world.deleted, 3)
	assert.Empty(t, s.journal.entries)
}

func TestRemoveWhileTheSecretIsMounted(t *testing.T) {
	terminating := func(pod *corev1.Pod) *corev1.Pod {
		pod.DeletionTimestamp, pod.Finalizers = at(5), []string{"x"}
		return pod
	}
	ended := func(pod *corev1.Pod) *corev1.Pod {
		pod.Status.Phase = corev1.PodSucceeded
		return pod
	}
	mount := func(name string) *corev1.Pod {
		return mounting(aged(deployed(name, "5d9", server), 1), "web-mtls", false)
	}
	elsewhere := mount("web-5d9-b")
	elsewhere.Namespace = "elsewhere"
	uninjected := mount("web-5d9-b")
	uninjected.Labels = nil
	newer := aged(deployed("web-7f1-b", "7f1", optedOut), 2)
	for name, test := range map[string]struct {
		// cached and live are pods that the cache has, and that only the API server has.
		cached, live []client.Object
		want         outcome
	}{
		"nobody mounts it":                {[]client.Object{newer}, nil, removed},
		"a living pod":                    {[]client.Object{newer, mount("web-5d9-b")}, nil, secretInUse},
		"a pod on its way out":            {[]client.Object{newer, terminating(mount("web-5d9-b"))}, nil, secretInUse},
		"projected":                       {[]client.Object{newer, mounting(aged(deployed("web-5d9-b", "5d9", server), 1), "web-mtls", true)}, nil, secretInUse},
		"a pod that has ended":            {[]client.Object{newer, ended(mount("web-5d9-b"))}, nil, removed},
		"another Secret":                  {[]client.Object{newer, mounting(aged(deployed("web-5d9-b", "5d9", server), 1), "other", false)}, nil, removed},
		"another workload's pod":          {[]client.Object{newer, mounting(annotated("alone", server), "web-mtls", false)}, nil, secretInUse},
		"another namespace's pod":         {[]client.Object{newer}, []client.Object{elsewhere}, removed},
		"a pod without us":                {[]client.Object{newer}, []client.Object{uninjected}, removed},
		"a pod not in the cache yet":      {[]client.Object{newer}, []client.Object{mount("web-5d9-b")}, secretInUse},
		"a pod that has come to want it":  {[]client.Object{newer}, []client.Object{aged(deployed("web-5d9-b", "5d9", server), 3)}, secretInUse},
		"one that came and went":          {[]client.Object{newer}, []client.Object{ended(deployed("web-5d9-b", "5d9", server))}, removed},
		"one that wants another's":        {[]client.Object{newer}, []client.Object{annotated("alone", server)}, removed},
		"known, and it does not mount it": {[]client.Object{newer, aged(deployed("web-5d9-b", "5d9", server), 1)}, nil, removed},
	} {
		t.Run(name, func(t *testing.T) {
			first := deployed("web-5d9-first", "5d9", server)
			s := withCompanion(t, webMTLS, append(test.cached[1:], first)...)
			s.create(t, secretNamed("web-mtls"), test.cached[0])
			s.create(t, test.live...)
			s.cached = lateCache{s.world, test.live}
			s.look(t, test.want)
			want := map[outcome]string{removed: "", secretInUse: "Certificate Secret"}[test.want]
			assert.Equal(t, want, s.left(t), "one goes with the other")
			assert.Len(t, s.world.deleted, map[outcome]int{removed: 2}[test.want])
		})
	}
}

// lateCache has not seen these pods yet.
type lateCache struct {
	*world
	unseen []client.Object
}

func (c lateCache) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	err := c.world.List(ctx, list, opts...)
	if pods, ok := list.(*corev1.PodList); ok {
		pods.Items = slices.DeleteFunc(pods.Items, func(pod corev1.Pod) bool {
			return slices.ContainsFunc(c.unseen, func(o client.Object) bool { return o.GetName() == pod.Name })
		})
	}
	return err
}

func TestRemoveTouchesNothingForeign(t *testing.T) {
	newer := aged(deployed("web-7f1-a", "7f1", optedOut), 2)
	t.Run("Secret", func(t *testing.T) {
		for name, change := range map[string]func(*corev1.Secret){
			"without cert-type":      func(s *corev1.Secret) { delete(s.Labels, LabelCertType) },
			"without managed-by":     func(s *corev1.Secret) { delete(s.Labels, LabelManagedBy) },
			"managed by another":     func(s *corev1.Secret) { s.Labels[LabelManagedBy] = "Helm" },
			"without annotation":     func(s *corev1.Secret) { s.Annotations = nil },
			"of another Certificate": func(s *corev1.Secret) { s.Annotations[cmapi.CertificateNameKey] = "other" },
		} {
			t.Run(name, func(t *testing.T) {
				s := withCompanion(t, webMTLS, deployed("web-5d9-a", "5d9", server))
				foreign := secretNamed("web-mtls")
				change(foreign)
				s.create(t, foreign, newer.DeepCopy())
				s.look(t, removed)
				assert.Equal(t, "Secret", s.left(t))
				s.look(t, notWanted)
				assert.Equal(t, "Secret", s.left(t))
			})
		}
	})
	t.Run("Certificate", func(t *testing.T) {
		labels := map[string]string{LabelCertType: CertTypeMTLS, LabelManagedBy: ManagedBy}
		for name, labels := range map[string]map[string]string{"anybody's": nil, "one that is labelled as ours": labels} {
			for when, pods := range map[string][]client.Object{"with pods": {newer}, "without pods": nil} {
				t.Run(name+" "+when, func(t *testing.T) {
					foreign := &cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web-mtls", Labels: labels}}
					s := newStage(t, append([]client.Object{secretNamed("web-mtls"), foreign}, pods...)...)
					assert.Zero(t, s.look(t, map[bool]outcome{true: noPod, false: notWanted}[pods == nil]))
					assert.Equal(t, "Certificate Secret", s.left(t))
					assert.Empty(t, s.world.deleted)
				})
			}
		}
	})
}

// TestRemoveIsNoNamesakesRight: a ReplicaSet that is only named as one of the Deployment's
// has no say about the Deployment's companion.
func TestRemoveIsNoNamesakesRight(t *testing.T) {
	s := withCompanion(t, webMTLS, aged(deployed("web-5d9-a", "5d9", server), 1))
	s.create(t, secretNamed("web-mtls"), object(&appsv1.ReplicaSet{}, "web-ali"), aged(deployed("web-ali-a", "ali", optedOut), 2))
	s.look(t, unchanged)
	assert.Equal(t, "Certificate Secret", s.left(t))
	forged := aged(deployed("web-7f1-x", "7f1", optedOut), 3)
	forged.OwnerReferences[0].UID = "forged"
	s.create(t, forged)
	s.look(t, unchanged)
	assert.Equal(t, "Certificate Secret", s.left(t))
}

func TestRemoveReportsErrors(t *testing.T) {
	oops := errors.New("oops")
	refuse := func(kind string) func(client.Object) error {
		return func(obj client.Object) error {
			if obj.GetObjectKind().GroupVersionKind().Kind == kind {
				return oops
			}
			return nil
		}
	}
	for name, test := range map[string]struct {
		get    func(client.Object, client.ObjectKey) error
		delete func(client.Object) error
		want   string
		left   string
	}{
		"Secret": {get: func(obj client.Object, _ client.ObjectKey) error { return refuse("Secret")(obj) },
			want: "get metadata of Secret shop/web-mtls: oops", left: "Certificate Secret"},
		"delete Certificate": {delete: func(obj client.Object) error {
			if _, ok := obj.(*cmapi.Certificate); ok {
				return oops
			}
			return nil
		}, want: "delete *v1.Certificate shop/web-mtls: oops", left: "Certificate Secret"},
		"delete Secret": {delete: refuse("Secret"), want: "delete *v1.PartialObjectMetadata shop/web-mtls: oops", left: "Secret"},
		"delete another": {delete: func(client.Object) error {
			return apierrors.NewConflict(cmapi.Resource("certificates"), "web-mtls", oops)
		},
			want: `delete *v1.Certificate shop/web-mtls: Operation cannot be fulfilled on certificates.cert-manager.io "web-mtls": oops`, left: "Certificate Secret"},
	} {
		t.Run(name, func(t *testing.T) {
			s := withCompanion(t, webMTLS, deployed("web-5d9-a", "5d9", server))
			s.create(t, secretNamed("web-mtls"), aged(deployed("web-7f1-a", "7f1", optedOut), 2))
			s.world.refuseGet, s.world.refuseDelete = test.get, test.delete
			s.fails(t, test.want)
			s.world.refuseGet, s.world.refuseDelete = nil, nil
			assert.Equal(t, test.left, s.left(t))
			s.look(t, removed)
			assert.Empty(t, s.left(t))
		})
	}
}
