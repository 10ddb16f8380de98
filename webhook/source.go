package webhook

// Where the handler looks up what surrounds a pod: its Namespace and Services.

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/intent"
)

// Surroundings is what a decision needs to know besides the pod: its namespace and all
// Services in it, by name. They are shared between requests and must not be changed.
type Surroundings struct {
	Namespace *intent.Namespace
	Services  []intent.Service
}

// Source is where the handler looks up a pod's surroundings.
type Source interface {
	// Cached answers from memory. It reports false when it cannot: the namespace is not
	// known (yet), or the cache has not been filled.
	Cached(namespace string) (Surroundings, bool)
	// Live asks the API server.
	Live(ctx context.Context, namespace string) (Surroundings, error)
}

// Cluster is the Source of a running webhook. It follows the informers of Namespaces and
// Services and keeps of them just what a decision needs, in the form in which it is
// needed, so that a request neither copies objects nor converts them.
type Cluster struct {
	live   client.Reader
	synced []func() bool

	mu         sync.RWMutex
	namespaces map[string]*intent.Namespace
	services   map[string]*serviceSet
}

// serviceSet holds the Services of one namespace. list is made from byName when it is
// first asked for after a change, so that filling the cache stays linear.
type serviceSet struct {
	byName map[string]intent.Service
	list   []intent.Service
}

// NewCluster returns a Cluster that follows the informers and reads live with the reader,
// which must not be backed by a cache. Informers are started by whoever owns them.
func NewCluster(ctx context.Context, informers cache.Informers, live client.Reader) (*Cluster, error) {
	c := &Cluster{live: live, namespaces: map[string]*intent.Namespace{}, services: map[string]*serviceSet{}}
	if err := c.follow(ctx, informers, &corev1.Namespace{}, c.putNamespace, c.dropNamespace); err != nil {
		return nil, err
	}
	if err := c.follow(ctx, informers, &corev1.Service{}, c.putService, c.dropService); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Cluster) follow(ctx context.Context, informers cache.Informers, obj client.Object, put func(any), drop func(toolscache.ObjectName)) error {
	informer, err := informers.GetInformer(ctx, obj)
	if err != nil {
		return fmt.Errorf("informer for %T: %w", obj, err)
	}
	registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    put,
		UpdateFunc: func(_, now any) { put(now) },
		DeleteFunc: func(gone any) {
			if name, err := toolscache.DeletionHandlingObjectToName(gone); err == nil {
				drop(name)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("handler for %T: %w", obj, err)
	}
	c.synced = append(c.synced, registration.HasSynced)
	return nil
}

// Synced reports whether everything that was in the cluster at the start is known.
func (c *Cluster) Synced() bool {
	return !slices.ContainsFunc(c.synced, func(synced func() bool) bool { return !synced() })
}

// Cached implements [Source].
func (c *Cluster) Cached(namespace string) (Surroundings, bool) {
	if !c.Synced() {
		return Surroundings{}, false
	}
	c.mu.RLock()
	ns := c.namespaces[namespace]
	set := c.services[namespace]
	var list []intent.Service
	if set != nil {
		list = set.list
	}
	c.mu.RUnlock()
	if ns == nil {
		return Surroundings{}, false
	}
	if set != nil && list == nil {
		list = c.makeList(namespace)
	}
	return Surroundings{Namespace: ns, Services: list}, true
}

func (c *Cluster) makeList(namespace string) []intent.Service {
	c.mu.Lock()
	defer c.mu.Unlock()
	set := c.services[namespace]
	if set == nil {
		return nil
	}
	if set.list == nil {
		set.list = slices.Collect(maps.Values(set.byName))
		sortByName(set.list)
	}
	return set.list
}

func sortByName(services []intent.Service) {
	slices.SortFunc(services, func(a, b intent.Service) int { return strings.Compare(a.Name, b.Name) })
}

// Live implements [Source].
func (c *Cluster) Live(ctx context.Context, namespace string) (Surroundings, error) {
	var ns corev1.Namespace
	if err := c.live.Get(ctx, client.ObjectKey{Name: namespace}, &ns); err != nil {
		return Surroundings{}, fmt.Errorf("reading Namespace %q: %w", namespace, err)
	}
	var list corev1.ServiceList
	if err := c.live.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return Surroundings{}, fmt.Errorf("listing the Services of namespace %q: %w", namespace, err)
	}
	found := intent.NamespaceOf(&ns)
	services := make([]intent.Service, len(list.Items))
	for i := range list.Items {
		services[i] = intent.ServiceOf(&list.Items[i])
	}
	sortByName(services)
	return Surroundings{Namespace: &found, Services: services}, nil
}

func (c *Cluster) putNamespace(obj any) {
	object, ok := obj.(*corev1.Namespace)
	if !ok {
		return
	}
	ns := intent.NamespaceOf(object)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.namespaces[ns.Name] = &ns
}

func (c *Cluster) dropNamespace(name toolscache.ObjectName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.namespaces, name.Name)
}

func (c *Cluster) putService(obj any) {
	object, ok := obj.(*corev1.Service)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	set := c.services[object.Namespace]
	if set == nil {
		set = &serviceSet{byName: map[string]intent.Service{}}
		c.services[object.Namespace] = set
	}
	set.byName[object.Name] = intent.ServiceOf(object)
	set.list = nil
}

func (c *Cluster) dropService(name toolscache.ObjectName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	set := c.services[name.Namespace]
	if set == nil {
		return
	}
	delete(set.byName, name.Name)
	set.list = nil
	if len(set.byName) == 0 {
		delete(c.services, name.Namespace)
	}
}

// CacheByObject says what the manager's cache keeps of Namespaces and Services: the
// parts that intent reads. In a large cluster that is a small part of them.
func CacheByObject() map[client.Object]cache.ByObject {
	return map[client.Object]cache.ByObject{
		&corev1.Namespace{}: {Transform: slimNamespace},
		&corev1.Service{}:   {Transform: slimService},
	}
}

func slimNamespace(obj any) (any, error) {
	ns, ok := obj.(*corev1.Namespace)
	if !ok {
		return obj, nil
	}
	slim := &corev1.Namespace{ObjectMeta: slimMeta(&ns.ObjectMeta)}
	slim.Labels = ns.Labels
	for key, value := range ns.Annotations {
		if strings.HasPrefix(key, intent.Prefix) {
			metav1.SetMetaDataAnnotation(&slim.ObjectMeta, key, value)
		}
	}
	return slim, nil
}

func slimService(obj any) (any, error) {
	svc, ok := obj.(*corev1.Service)
	if !ok {
		return obj, nil
	}
	slim := &corev1.Service{ObjectMeta: slimMeta(&svc.ObjectMeta)}
	slim.Spec = corev1.ServiceSpec{Selector: svc.Spec.Selector, ClusterIP: svc.Spec.ClusterIP, Type: svc.Spec.Type}
	return slim, nil
}

// slimMeta keeps what names an object and tells its versions apart.
func slimMeta(m *metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: m.Name, Namespace: m.Namespace, UID: m.UID, ResourceVersion: m.ResourceVersion,
	}
}
