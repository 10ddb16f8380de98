package certs

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmapply "github.com/cert-manager/cert-manager/pkg/client/applyconfigurations"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/managedfields"
	clientgoapply "k8s.io/client-go/applyconfigurations"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

func everything() labels.Selector { return labels.Everything() }

func newScheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	require.NoError(t, clientgoscheme.AddToScheme(scheme))
	require.NoError(t, cmapi.AddToScheme(scheme))
	return scheme
}

// world is a stand-in for the API server, which counts and can refuse.
type world struct {
	client.WithWatch

	mu      sync.Mutex
	applies int
	// log has the writes, and what is read through apiServer, as "verb Kind/name".
	log []string
	// applied is the last applied object; deleted says what was deleted, with preconditions.
	applied string
	deleted []string
	// refuseGet and its like return the error to answer with, or nil.
	refuseGet    func(obj client.Object, key client.ObjectKey) error
	refuseList   func(list client.ObjectList) error
	refuseApply  func() error
	refuseDelete func(obj client.Object) error
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	w := &world{}
	scheme := newScheme(t)
	w.WithWatch = fake.NewClientBuilder().WithScheme(scheme).
		WithTypeConverters(cmapply.NewTypeConverter(scheme), clientgoapply.NewTypeConverter(scheme), managedfields.NewDeducedTypeConverter()).
		WithReturnManagedFields().
		WithIndex(&corev1.Pod{}, indexCompanion, indexPod).
		WithObjects(objects...).
		WithInterceptorFuncs(interceptor.Funcs{Get: w.get, List: w.list, Apply: w.apply, Delete: w.delete}).
		Build()
	return w
}

func (w *world) note(verb string, obj runtime.Object, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	kind := obj.GetObjectKind().GroupVersionKind().Kind
	if gvk, err := apiutil.GVKForObject(obj, w.Scheme()); err == nil {
		kind = gvk.Kind
	}
	w.log = append(w.log, strings.TrimSuffix(verb+" "+kind+"/"+name, "/"))
}

func (w *world) get(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if w.refuseGet != nil {
		if err := w.refuseGet(obj, key); err != nil {
			return err
		}
	}
	err := c.Get(ctx, key, obj, opts...)
	// The stand-in notes an empty status as applied, because the typed object has one. A
	// real API server never does: the status is a subresource.
	for _, entry := range obj.GetManagedFields() {
		entry.FieldsV1.SetRawString(strings.Replace(entry.FieldsV1.GetRawString(), `,"f:status":{}`, "", 1))
	}
	return err
}

func (w *world) list(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
	if w.refuseList != nil {
		if err := w.refuseList(list); err != nil {
			return err
		}
	}
	return c.List(ctx, list, opts...)
}

func (w *world) apply(ctx context.Context, c client.WithWatch, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
	raw, err := json.Marshal(obj)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.applies++
	w.applied = string(raw)
	w.log = append(w.log, "apply")
	w.mu.Unlock()
	if w.refuseApply != nil {
		if err := w.refuseApply(); err != nil {
			return err
		}
	}
	return c.Apply(ctx, obj, opts...)
}

func (w *world) delete(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.DeleteOption) error {
	w.note("delete", obj, obj.GetName())
	options := (&client.DeleteOptions{}).ApplyOptions(opts)
	if options.Preconditions != nil && options.Preconditions.UID != nil && options.PropagationPolicy != nil {
		w.deleted = append(w.deleted, string(*options.Preconditions.UID)+" "+string(*options.PropagationPolicy))
	}
	if w.refuseDelete != nil {
		if err := w.refuseDelete(obj); err != nil {
			return err
		}
	}
	return c.Delete(ctx, obj, opts...)
}

// apiServer reads from the world and notes it, as opposed to the cache.
type apiServer struct{ *world }

func (s apiServer) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	s.note("get", obj, key.Name)
	return s.world.Get(ctx, key, obj, opts...)
}

func (s apiServer) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	s.note("list", list, "")
	return s.world.List(ctx, list, opts...)
}

// object returns an owner with UID "uid-of-<name>", controlled by the given ones. It
// selects the pods of [annotated].
func object(obj client.Object, name string, owners ...metav1.OwnerReference) client.Object {
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
	switch o := obj.(type) {
	case *appsv1.ReplicaSet:
		o.Spec.Selector = selector
	case *appsv1.StatefulSet:
		o.Spec.Selector = selector
	case *appsv1.DaemonSet:
		o.Spec.Selector = selector
	case *batchv1.Job:
		o.Spec.Selector = selector
	case *corev1.ReplicationController:
		o.Spec.Selector = selector.MatchLabels
	}
	obj.SetNamespace(namespace)
	obj.SetName(name)
	obj.SetUID(types.UID("uid-of-" + name))
	obj.SetOwnerReferences(owners)
	return obj
}

func noMetrics(t *testing.T) *metrics {
	t.Helper()
	m, err := newMetrics(nil)
	require.NoError(t, err)
	return m
}
