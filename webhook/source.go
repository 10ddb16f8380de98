package webhook

// Where the handler looks up what surrounds a pod: its Namespace and Services.

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	// Created says of each of the Services when it was made. It may be shorter: what is not
	// known is long ago.
	Created []time.Time
}

// Source is where the handler looks up a pod's surroundings.
type Source interface {
	// Cached answers from memory. It reports false when it cannot: the namespace is not
	// known (yet), or the cache has not been filled.
	Cached(namespace string) (Surroundings, bool)
	// Live asks the API server.
	Live(ctx context.Context, namespace string) (Surroundings, error)
	// SecretTaken asks the API server whether there is a Secret of that name that is no
	// companion Certificate's. It reads the Secret's metadata, never what is in it.
	SecretTaken(ctx context.Context, namespace, name string) (bool, error)
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
	byName map[string]datedService
	list   *serviceList
}

type datedService struct {
	intent.Service
	created time.Time
}

// serviceList holds Services, by name, as [Surroundings] does.
type serviceList struct {
	services []intent.Service
	created  []time.Time
}

// listOf sorts the Services.
func listOf(services []datedService) *serviceList {
	slices.SortFunc(services, func(a, b datedService) int { return strings.Compare(a.Name, b.Name) })
	list := &serviceList{make([]intent.Service, len(services)), make([]time.Time, len(services))}
	for i := range services {
		list.services[i], list.created[i] = services[i].Service, services[i].created
	}
	return list
}

func datedServiceOf(svc *corev1.Service) datedService {
	return datedService{intent.ServiceOf(svc), svc.CreationTimestamp.Time}
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
	var list *serviceList
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
	if list == nil {
		return Surroundings{Namespace: ns}, true
	}
	return Surroundings{Namespace: ns, Services: list.services, Created: list.created}, true
}

func (c *Cluster) makeList(namespace string) *serviceList {
	c.mu.Lock()
	defer c.mu.Unlock()
	set := c.services[namespace]
	if set == nil {
		return nil
	}
	if set.list == nil {
		set.list = listOf(slices.Collect(maps.Values(set.byName)))
	}
	return set.list
}

// Live implements [Source].
func (c *Cluster) Live(ctx context.Context, namespace string) (Surroundings, error) {
	var ns corev1.Namespace
	if err := c.live.Get(ctx, client.ObjectKey{Name: namespace}, &ns); err != nil {
		return Surroundings{}, fmt.Errorf("reading Namespace %q: %w", namespace, err)
	}
	var found corev1.ServiceList
	if err := c.live.List(ctx, &found, client.InNamespace(namespace)); err != nil {
		return Surroundings{}, fmt.Errorf("listing the Services of namespace %q: %w", namespace, err)
	}
	services := make([]datedService, len(found.Items))
	for i := range found.Items {
		services[i] = datedServiceOf(&found.Items[i])
	}
	list := listOf(services)
	slim := intent.NamespaceOf(&ns)
	return Surroundings{Namespace: &slim, Services: list.services, Created: list.created}, nil
}

// SecretTaken implements [Source].
func (c *Cluster) SecretTaken(ctx context.Context, namespace, name string) (bool, error) {
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	err := c.live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, secret)
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("reading the metadata of Secret %q: %w", name, err)
	}
	return !intent.IsCompanionSecret(secret), nil
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
		set = &serviceSet{byName: map[string]datedService{}}
		c.services[object.Namespace] = set
	}
	set.byName[object.Name] = datedServiceOf(object)
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
	slim.CreationTimestamp = svc.CreationTimestamp
	slim.Spec = corev1.ServiceSpec{Selector: svc.Spec.Selector, ClusterIP: svc.Spec.ClusterIP, Type: svc.Spec.Type}
	return slim, nil
}

// slimMeta keeps what names an object and tells its versions apart.
func slimMeta(m *metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: m.Name, Namespace: m.Namespace, UID: m.UID, ResourceVersion: m.ResourceVersion,
	}
}
