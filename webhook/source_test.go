package webhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache/informertest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllertest"

	"example.io/mtls-injector/intent"
)

// following is a Cluster with the informers that it follows in the test's hands.
type following struct {
	*Cluster
	namespaces, services *controllertest.FakeInformer
}

func newFollowing(t *testing.T, live ...client.Object) *following {
	t.Helper()
	informers := &informertest.FakeInformers{}
	cluster, err := NewCluster(t.Context(), informers, fake.NewClientBuilder().WithObjects(live...).Build())
	require.NoError(t, err)
	f := &following{Cluster: cluster}
	f.namespaces, err = informers.FakeInformerFor(t.Context(), &corev1.Namespace{})
	require.NoError(t, err)
	f.services, err = informers.FakeInformerFor(t.Context(), &corev1.Service{})
	require.NoError(t, err)
	return f
}

func namespace(name string, annotations map[string]string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations}}
}

func service(namespace, name string, selector map[string]string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       corev1.ServiceSpec{Selector: selector, ClusterIP: "10.0.0.1"},
	}
}

func names(services []intent.Service) []string {
	all := []string{}
	for _, s := range services {
		all = append(all, s.Name)
	}
	return all
}

func TestClusterFollows(t *testing.T) {
	f := newFollowing(t)
	cached := func(namespace string) (*intent.Namespace, []string) {
		found, ok := f.Cached(namespace)
		assert.Equal(t, ok, found.Namespace != nil)
		return found.Namespace, names(found.Services)
	}
	ns, services := cached("shop")
	assert.Nil(t, ns)
	assert.Empty(t, services)

	f.services.Add(service("shop", "b", map[string]string{"app": "b"}))
	ns, services = cached("shop")
	assert.Nil(t, ns, "Services may be known before their namespace, which is not enough")
	assert.Empty(t, services)

	f.namespaces.Add(namespace("shop", map[string]string{"x": "1"}))
	f.namespaces.Add(namespace("bank", nil))
	f.services.Add(service("shop", "a", nil))
	f.services.Add(service("bank", "c", nil))
	ns, services = cached("shop")
	assert.Equal(t, &intent.Namespace{Name: "shop", Annotations: map[string]string{"x": "1"}}, ns)
	assert.Equal(t, []string{"a", "b"}, services)

	f.namespaces.Update(ns1(), namespace("shop", map[string]string{"x": "2"}))
	f.services.Update(service("shop", "a", nil), service("shop", "a", map[string]string{"app": "a"}))
	found, ok := f.Cached("shop")
	require.True(t, ok)
	assert.Equal(t, "2", found.Namespace.Annotations["x"])
	assert.Equal(t, []intent.Service{
		{Name: "a", Selector: map[string]string{"app": "a"}},
		{Name: "b", Selector: map[string]string{"app": "b"}},
	}, found.Services)

	f.services.Delete(service("shop", "a", nil))
	_, services = cached("shop")
	assert.Equal(t, []string{"b"}, services)
	assert.Equal(t, []string{"a", "b"}, names(found.Services), "what a request holds does not change under it")

	f.services.Delete(service("shop", "b", nil))
	f.services.Delete(service("shop", "never known", nil))
	f.services.Delete(service("nowhere", "never known", nil))
	_, services = cached("shop")
	assert.Empty(t, services)

	f.namespaces.Delete(namespace("shop", nil))
	ns, _ = cached("shop")
	assert.Nil(t, ns)
	_, services = cached("bank")
	assert.Equal(t, []string{"c"}, services)
}

func ns1() *corev1.Namespace { return namespace("shop", map[string]string{"x": "1"}) }

// TestClusterMissedDeletion: when a watch was broken, a deletion comes as a tombstone.
func TestClusterMissedDeletion(t *testing.T) {
	f := newFollowing(t)
	f.namespaces.Add(namespace("shop", nil))
	f.putService(service("shop", "a", nil))
	var handlers toolscache.ResourceEventHandlerFuncs
	informers := &recordingInformer{FakeInformer: controllertest.NewFakeInformer(controllertest.Synced), handlers: &handlers}
	require.NoError(t, f.follow(t.Context(), informersOf{informers}, &corev1.Service{}, f.putService, f.dropService))
	handlers.OnDelete(toolscache.DeletedFinalStateUnknown{Key: "shop/a"})
	handlers.OnDelete("no object at all")
	handlers.OnAdd("no object at all", false)
	found, ok := f.Cached("shop")
	require.True(t, ok)
	assert.Empty(t, found.Services)
	f.putNamespace("no object at all")
}

type recordingInformer struct {
	*controllertest.FakeInformer
	handlers *toolscache.ResourceEventHandlerFuncs
}

func (r *recordingInformer) AddEventHandler(h toolscache.ResourceEventHandler) (toolscache.ResourceEventHandlerRegistration, error) {
	if funcs, ok := h.(toolscache.ResourceEventHandlerFuncs); ok {
		*r.handlers = funcs
	}
	return r.FakeInformer.AddEventHandler(h)
}

func TestClusterNotSynced(t *testing.T) {
	f := newFollowing(t)
	f.namespaces.Add(namespace("shop", nil))
	for name, tt := range map[string]struct {
		synced []bool
		want   bool
	}{
		"both":    {[]bool{true, true}, true},
		"one":     {[]bool{true, false}, false},
		"neither": {[]bool{false, false}, false},
	} {
		t.Run(name, func(t *testing.T) {
			f.synced = nil
			for _, synced := range tt.synced {
				f.synced = append(f.synced, func() bool { return synced })
			}
			_, ok := f.Cached("shop")
			assert.Equal(t, tt.want, ok)
			assert.Equal(t, tt.want, f.Synced())
		})
	}
}

func TestClusterLive(t *testing.T) {
	headless := service("shop", "a", map[string]string{"app": "a"})
	headless.Spec.ClusterIP = corev1.ClusterIPNone
	made := time.Date(2026, 3, 2, 1, 2, 3, 0, time.UTC)
	headless.CreationTimestamp = metav1.NewTime(made)
	f := newFollowing(t, namespace("shop", map[string]string{"x": "1"}), service("shop", "b", nil), headless, service("bank", "c", nil))
	found, err := f.Live(t.Context(), "shop")
	require.NoError(t, err)
	assert.Equal(t, Surroundings{
		Namespace: &intent.Namespace{Name: "shop", Annotations: map[string]string{"x": "1"}},
		Services:  []intent.Service{{Name: "a", Selector: map[string]string{"app": "a"}, Headless: true}, {Name: "b"}},
		Created:   []time.Time{made, {}},
	}, inUTC(found))

	_, err = f.Live(t.Context(), "nowhere")
	assert.EqualError(t, err, `reading Namespace "nowhere": namespaces "nowhere" not found`)

	f.live = interceptor.NewClient(fake.NewClientBuilder().WithObjects(namespace("shop", nil)).Build(), interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			return errors.New("too busy")
		},
	})
	_, err = f.Live(t.Context(), "shop")
	assert.EqualError(t, err, `listing the Services of namespace "shop": too busy`)
}

// inUTC undoes the local time zone, which decoding gives to times.
func inUTC(s Surroundings) Surroundings {
	for i, created := range s.Created {
		s.Created[i] = created.UTC()
	}
	return s
}

// TestClusterKnowsWhenServicesWereMade: each Service's time stays with it in the sorted list.
func TestClusterKnowsWhenServicesWereMade(t *testing.T) {
	f := newFollowing(t)
	f.namespaces.Add(namespace("shop", nil))
	made := map[string]time.Time{}
	for i, name := range []string{"c", "a", "d", "b"} {
		made[name] = time.Date(2026, 3, 2, 1, 2, i, 0, time.UTC)
		svc := service("shop", name, nil)
		svc.CreationTimestamp = metav1.NewTime(made[name])
		f.services.Add(svc)
	}
	found, ok := f.Cached("shop")
	require.True(t, ok)
	assert.Equal(t, []string{"a", "b", "c", "d"}, names(found.Services))
	assert.Equal(t, []time.Time{made["a"], made["b"], made["c"], made["d"]}, found.Created)
}

func TestNewClusterFails(t *testing.T) {
	_, err := NewCluster(t.Context(), &informertest.FakeInformers{Error: errors.New("no such kind")}, nil)
	assert.EqualError(t, err, "informer for *v1.Namespace: no such kind")
	_, err = NewCluster(t.Context(), informersOf{refusing{controllertest.NewFakeInformer(controllertest.Synced)}}, nil)
	assert.EqualError(t, err, "handler for *v1.Namespace: it has stopped")
}

// TestClusterConcurrently is for the race detector, and that nothing gets lost.
func TestClusterConcurrently(t *testing.T) {
	f := newFollowing(t)
	f.putNamespace(namespace("shop", nil))
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := range 100 {
				f.putService(service("shop", fmt.Sprintf("s-%d-%d", worker, i), nil))
				found, ok := f.Cached("shop")
				assert.True(t, ok)
				assert.True(t, slices.IsSortedFunc(found.Services, func(a, b intent.Service) int {
					if a.Name < b.Name {
						return -1
					}
					return 1
				}))
			}
		})
	}
	group.Wait()
	found, _ := f.Cached("shop")
	assert.Len(t, found.Services, 400)
}

// TestCacheByObject: what the cache keeps leads to the same decisions as the whole.
func TestCacheByObject(t *testing.T) {
	meta := metav1.ObjectMeta{
		Name: "n", Namespace: "shop", UID: "u", ResourceVersion: "7", CreationTimestamp: metav1.Unix(1_770_000_000, 0),
		Labels:        map[string]string{"a": "b"},
		Annotations:   map[string]string{"mtls.example.io/role": "client", "kubectl.kubernetes.io/last-applied-configuration": "long"},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
	}
	transforms := map[string]toolscache.TransformFunc{}
	for obj, by := range CacheByObject() {
		gvks, _, err := scheme.Scheme.ObjectKinds(obj)
		require.NoError(t, err)
		transforms[gvks[0].Kind] = by.Transform
	}

	ns := &corev1.Namespace{ObjectMeta: meta, Status: corev1.NamespaceStatus{Phase: corev1.NamespaceActive}}
	got, err := transforms["Namespace"](ns)
	require.NoError(t, err)
	assert.Equal(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: "n", Namespace: "shop", UID: "u", ResourceVersion: "7",
		Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"mtls.example.io/role": "client"},
	}}, got)

	svc := &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": "a"}, ClusterIP: "None", Type: corev1.ServiceTypeExternalName, ExternalName: "example.com",
		Ports: []corev1.ServicePort{{Port: 1}},
	}}
	got, err = transforms["Service"](svc)
	require.NoError(t, err)
	assert.Equal(t, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Name: "n", Namespace: "shop", UID: "u", ResourceVersion: "7", CreationTimestamp: metav1.Unix(1_770_000_000, 0),
		},
		Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "a"}, ClusterIP: "None", Type: corev1.ServiceTypeExternalName},
	}, got)
	slim, ok := got.(*corev1.Service)
	require.True(t, ok)
	assert.Equal(t, intent.ServiceOf(svc), intent.ServiceOf(slim))

	for _, transform := range transforms {
		tombstone := toolscache.DeletedFinalStateUnknown{Key: "shop/n"}
		got, err := transform(tombstone)
		require.NoError(t, err)
		assert.Equal(t, tombstone, got)
	}
}
