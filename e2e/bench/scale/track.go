package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/certs"
	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/intent"
)

// tracker knows which pods and companions there are, and since when.
type tracker struct {
	now func() time.Time

	mu         sync.Mutex
	pods       map[types.UID]bool
	companions map[types.UID]bool // by whether it is Ready
	seen       milestones
}

// milestones are how many there are, and when the last of them came.
type milestones struct {
	pods, companions, ready                     int
	podsSince, companionsSince, companionsReady time.Time
}

func newTracker() *tracker {
	return &tracker{now: time.Now, pods: map[types.UID]bool{}, companions: map[types.UID]bool{}}
}

// follow tells the tracker of the cluster's injected pods and companions, until the returned
// function is called: the API server does not stop as long as it is watched.
func (t *tracker) follow(ctx context.Context, c *cluster.Cluster) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	follower, err := t.newFollower(ctx, c)
	if err != nil {
		cancel()
		return nil, err
	}
	var running sync.WaitGroup
	running.Go(func() { _ = follower.Start(ctx) }) // fails only when it is started twice
	stop = func() {
		cancel()
		running.Wait()
	}
	if !follower.WaitForCacheSync(ctx) {
		stop()
		return nil, fmt.Errorf("watching: %w", context.Cause(ctx))
	}
	return stop, nil
}

func (t *tracker) newFollower(ctx context.Context, c *cluster.Cluster) (cache.Cache, error) {
	pod := &metav1.PartialObjectMetadata{}
	pod.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Pod"))
	follower, err := cache.New(c.Config, cache.Options{
		Scheme:           c.Scheme,
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			pod:                  {Label: labels.SelectorFromSet(labels.Set{intent.LabelInjected: "true"})},
			&cmapi.Certificate{}: {Label: labels.SelectorFromSet(labels.Set{certs.LabelManagedBy: certs.ManagedBy})},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("making the watch: %w", err)
	}
	for obj, put := range map[client.Object]func(any){pod: t.putPod, &cmapi.Certificate{}: t.putCompanion} {
		informer, err := follower.GetInformer(ctx, obj, cache.BlockUntilSynced(false))
		if err != nil {
			return nil, fmt.Errorf("watching %T: %w", obj, err)
		}
		_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc: put, UpdateFunc: func(_, now any) { put(now) }, DeleteFunc: t.drop,
		})
		if err != nil {
			return nil, fmt.Errorf("watching %T: %w", obj, err)
		}
	}
	return follower, nil
}

func (t *tracker) putPod(obj any) {
	pod, ok := obj.(metav1.Object)
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.pods[pod.GetUID()] {
		t.pods[pod.GetUID()] = true
		t.seen.podsSince = t.now()
	}
}

func (t *tracker) putCompanion(obj any) {
	cert, ok := obj.(*cmapi.Certificate)
	if !ok {
		return
	}
	ready := isReady(cert)
	t.mu.Lock()
	defer t.mu.Unlock()
	was, known := t.companions[cert.UID]
	if !known {
		t.seen.companionsSince = t.now()
	}
	if ready && !was {
		t.seen.companionsReady = t.now()
	}
	t.companions[cert.UID] = ready
}

func (t *tracker) drop(obj any) {
	if gone, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
		obj = gone.Obj
	}
	object, ok := obj.(metav1.Object)
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.pods, object.GetUID())
	delete(t.companions, object.GetUID())
}

func (t *tracker) milestones() milestones {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen.pods, t.seen.companions, t.seen.ready = len(t.pods), len(t.companions), 0
	for _, ready := range t.companions {
		if ready {
			t.seen.ready++
		}
	}
	return t.seen
}

// isReady reports whether cert-manager has issued the Certificate as it is now.
func isReady(cert *cmapi.Certificate) bool {
	for _, condition := range cert.Status.Conditions {
		if condition.Type == cmapi.CertificateConditionReady {
			return condition.Status == cmmeta.ConditionTrue && condition.ObservedGeneration == cert.Generation
		}
	}
	return false
}
