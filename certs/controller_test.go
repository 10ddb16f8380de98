package certs

import (
	"net/http"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"example.io/mtls-injector/intent"
)

func names(requests []reconcile.Request) []string {
	out := make([]string, len(requests))
	for i, r := range requests {
		out[i] = r.String()
	}
	return out
}

func TestFinder(t *testing.T) {
	elsewhere := annotated("other", nil)
	elsewhere.Namespace = "elsewhere"
	unselected := annotated("batch-x", nil, controlledBy("batch/v1", "Job", "batch"))
	unselected.Labels = map[string]string{"app": "batch"}
	f := finder{newWorld(t,
		deployed("web-5d9-a", "5d9", nil), deployed("web-5d9-b", "5d9", nil), deployed("web-7f1-a", "7f1", nil),
		annotated("db-0", nil, controlledBy("apps/v1", "StatefulSet", "db")), unselected, elsewhere,
	)}
	service := func(name, app string) *corev1.Service {
		return &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": app}},
		}
	}
	for name, test := range map[string]struct{ got, want []string }{
		"a pod's":                          {names(ofPod(t.Context(), deployed("web-5d9-a", "5d9", nil))), []string{"shop/web-mtls"}},
		"not a pod":                        {names(ofPod(t.Context(), &corev1.Service{})), []string{}},
		"selected by a Service":            {names(f.ofService(t.Context(), service("any", "web"))), []string{"shop/web-mtls", "shop/db-mtls-statefulset"}},
		"named as a Service":               {names(f.ofService(t.Context(), service("batch", "none"))), []string{"shop/batch-mtls-job"}},
		"neither":                          {names(f.ofService(t.Context(), service("any", "none"))), []string{}},
		"not a Service":                    {names(f.ofService(t.Context(), &corev1.Pod{})), []string{}},
		"of a Namespace":                   {names(f.ofNamespace(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "elsewhere"}})), []string{"elsewhere/other-mtls-pod"}},
		"all":                              {names(f.all(t.Context(), nil)), []string{"shop/web-mtls", "shop/db-mtls-statefulset", "shop/batch-mtls-job", "elsewhere/other-mtls-pod"}},
		"of a Namespace without such pods": {names(f.ofNamespace(t.Context(), &corev1.Namespace{})), []string{"shop/web-mtls", "shop/db-mtls-statefulset", "shop/batch-mtls-job", "elsewhere/other-mtls-pod"}},
	} {
		t.Run(name, func(t *testing.T) { assert.ElementsMatch(t, test.want, test.got) })
	}
}

func TestPredicates(t *testing.T) {
	service := func(change func(*corev1.Service)) *corev1.Service {
		svc := &corev1.Service{Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, ClusterIP: "10.0.0.1"}}
		change(svc)
		return svc
	}
	same := service(func(*corev1.Service) {})
	for name, test := range map[string]struct {
		after *corev1.Service
		want  bool
	}{
		"nothing":  {same, false},
		"labels":   {service(func(s *corev1.Service) { s.Labels = map[string]string{"a": "b"} }), false},
		"selector": {service(func(s *corev1.Service) { s.Spec.Selector["app"] = "db" }), true},
		"headless": {service(func(s *corev1.Service) { s.Spec.ClusterIP = "None" }), true},
		"external": {service(func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeExternalName }), true},
	} {
		t.Run("service/"+name, func(t *testing.T) {
			assert.Equal(t, test.want, onUpdate(serviceChanged).Update(event.UpdateEvent{ObjectOld: same, ObjectNew: test.after}))
		})
	}
	assert.True(t, onUpdate(serviceChanged).Create(event.CreateEvent{Object: same}))
	assert.True(t, onUpdate(serviceChanged).Delete(event.DeleteEvent{Object: same}))
	assert.True(t, onUpdate(serviceChanged).Update(event.UpdateEvent{ObjectOld: &corev1.Pod{}, ObjectNew: same}), "better once too often")

	ns := func(key, value string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{key: value}}}
	}
	only := onlyUpdate(namespaceChanged)
	assert.False(t, only.Create(event.CreateEvent{Object: ns("a", "b")}), "its pods are seen by themselves")
	assert.False(t, only.Delete(event.DeleteEvent{Object: ns("a", "b")}))
	assert.False(t, only.Update(event.UpdateEvent{ObjectOld: ns("a", "b"), ObjectNew: ns("a", "b")}))
	assert.True(t, only.Update(event.UpdateEvent{ObjectOld: ns("a", "b"), ObjectNew: ns("a", "c")}))
}

func TestCertificateChanged(t *testing.T) {
	for name, test := range map[string]struct {
		change func(c *cmapi.Certificate)
		want   bool
	}{
		"nothing":    {func(*cmapi.Certificate) {}, false},
		"status":     {func(c *cmapi.Certificate) { c.Status.Revision = new(1) }, true},
		"version":    {func(c *cmapi.Certificate) { c.ResourceVersion = "2" }, false},
		"spec":       {func(c *cmapi.Certificate) { c.Generation++ }, true},
		"label":      {func(c *cmapi.Certificate) { c.Labels = map[string]string{"a": "b"} }, true},
		"annotation": {func(c *cmapi.Certificate) { c.Annotations = map[string]string{"a": "b"} }, true},
		"owner":      {func(c *cmapi.Certificate) { c.OwnerReferences = []metav1.OwnerReference{{UID: "x"}} }, true},
	} {
		t.Run(name, func(t *testing.T) {
			after := &cmapi.Certificate{}
			test.change(after)
			assert.Equal(t, test.want, certificateChanged(&cmapi.Certificate{}, after))
		})
	}
}

func TestConfigurationChangesCoalesce(t *testing.T) {
	var tell func(*intent.Defaults)
	changes := configurationChanges(func(f func(*intent.Defaults)) { tell = f })
	for range 5 {
		tell(intent.BuiltinDefaults()) // blocks nobody
	}
	assert.NotNil(t, (<-changes).Object)
	assert.Empty(t, changes)
	tell(intent.BuiltinDefaults())
	assert.Len(t, changes, 1)
	assert.Empty(t, configurationChanges(nil))
}

// offlineManager has no API server: enough to set up, not to start.
func offlineManager(t *testing.T) manager.Manager {
	t.Helper()
	scheme := newScheme(t)
	mgr, err := ctrl.NewManager(&rest.Config{Host: "127.0.0.1:1"}, ctrl.Options{
		Scheme:  scheme,
		Metrics: metricsserver.Options{BindAddress: "0"},
		Cache:   cache.Options{ByObject: CacheByObject()},
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) {
			mapper := meta.NewDefaultRESTMapper(nil)
			for gvk := range scheme.AllKnownTypes() {
				scope := meta.RESTScopeNamespace
				if gvk.Kind == "Namespace" {
					scope = meta.RESTScopeRoot
				}
				mapper.Add(gvk, scope)
			}
			return mapper, nil
		},
	})
	require.NoError(t, err)
	return mgr
}

func TestSetupWithManager(t *testing.T) {
	registry, subscribed := prometheus.NewRegistry(), 0
	opts := Options{
		Defaults:   intent.BuiltinDefaults,
		Subscribe:  func(func(*intent.Defaults)) { subscribed++ },
		Registerer: registry,
	}
	mgr := offlineManager(t)
	require.NoError(t, SetupWithManager(mgr, opts))
	assert.Equal(t, 2, subscribed, "for the companions, and to count pods")
	families, err := registry.Gather()
	require.NoError(t, err)
	assert.Len(t, families, 5)

	require.EqualError(t, SetupWithManager(mgr, opts), "companion metrics: duplicate metrics collector registration attempted")
	opts.Registerer = nil
	require.ErrorContains(t, SetupWithManager(mgr, opts), "index pods: ")
	require.ErrorContains(t, SetupWithManager(offlineManager(t), opts), "companion controller: controller with name companion already exists")
}

func TestNotAtTheStart(t *testing.T) {
	funcs := notAtTheStart(onUpdate(serviceChanged))
	svc := &corev1.Service{}
	assert.False(t, funcs.Create(event.CreateEvent{Object: svc, IsInInitialList: true}))
	assert.True(t, funcs.Create(event.CreateEvent{Object: svc}))
	assert.True(t, funcs.Delete(event.DeleteEvent{Object: svc}))
	assert.False(t, funcs.Update(event.UpdateEvent{ObjectOld: svc, ObjectNew: svc}))
}
