package certs

// What sets the controller going.

import (
	"context"
	"fmt"
	"maps"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/sets"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"example.io/mtls-injector/intent"
)

// Options configure the controller.
type Options struct {
	// Defaults returns the configuration in force. Required.
	Defaults func() *intent.Defaults
	// Subscribe has its argument called when the configuration has changed. Nil where it
	// never does.
	Subscribe func(func(*intent.Defaults))
	// Registerer gets the metrics; none when nil.
	Registerer prometheus.Registerer
	// Workers is how many companions are looked at at once; 10 when zero, for they wait
	// for the API server most of the time.
	Workers int
}

// SetupWithManager adds the controller to the manager, whose cache should have
// [CacheByObject] and whose scheme must have core/v1 and cert-manager.io/v1. It works on
// the leader only.
func SetupWithManager(mgr manager.Manager, opts Options) error {
	if opts.Workers == 0 {
		opts.Workers = 10
	}
	m, err := newMetrics(opts.Registerer)
	if err != nil {
		return fmt.Errorf("companion metrics: %w", err)
	}
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), &corev1.Pod{}, indexCompanion, indexPod); err != nil {
		return fmt.Errorf("index pods: %w", err)
	}
	r := &reconciler{
		cached: mgr.GetClient(), live: mgr.GetAPIReader(), defaults: opts.Defaults,
		events: mgr.GetEventRecorder(ManagedBy), metrics: m, journal: newJournal(), now: time.Now,
	}
	leftBehind, err := leads(mgr, r, opts.Registerer)
	if err != nil {
		return err
	}
	find := finder{mgr.GetClient()}
	err = ctrl.NewControllerManagedBy(mgr).
		Named("companion").
		WithOptions(controller.Options{MaxConcurrentReconciles: opts.Workers}).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(ofPod), builder.WithPredicates(onUpdate(podChanged))).
		// A companion that was changed or deleted by hand is brought back.
		Watches(&cmapi.Certificate{}, &handler.EnqueueRequestForObject{}, builder.WithPredicates(onUpdate(certificateChanged))).
		Watches(&corev1.Service{}, handler.EnqueueRequestsFromMapFunc(find.ofService), builder.WithPredicates(notAtTheStart(onUpdate(serviceChanged)))).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(find.ofNamespace), builder.WithPredicates(onlyUpdate(namespaceChanged))).
		WatchesRawSource(source.Channel(leftBehind, &handler.EnqueueRequestForObject{})).
		WatchesRawSource(source.Channel(configurationChanges(opts.Subscribe), handler.EnqueueRequestsFromMapFunc(find.all))).
		Complete(r)
	if err != nil {
		return fmt.Errorf("companion controller: %w", err)
	}
	return countsUninjected(mgr, opts)
}

// leads has done what a process does when it begins to lead: it sweeps, and answers for the
// companions' metrics. The channel gives what the sweep finds.
func leads(mgr manager.Manager, r *reconciler, registerer prometheus.Registerer) (<-chan event.GenericEvent, error) {
	companions := newCollector(mgr.GetCache(), r.journal.taken)
	if registerer != nil {
		if err := registerer.Register(companions); err != nil {
			return nil, fmt.Errorf("companion metrics: %w", err)
		}
	}
	leftBehind := make(chan event.GenericEvent)
	return leftBehind, mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		companions.leading.Store(true)
		return r.sweepUntilDone(log.IntoContext(ctx, mgr.GetLogger().WithName("sweep")), leftBehind)
	}))
}

// configurationChanges gives one event for any number of changes not yet seen.
func configurationChanges(subscribe func(func(*intent.Defaults))) <-chan event.GenericEvent {
	changes := make(chan event.GenericEvent, 1)
	if subscribe != nil {
		subscribe(func(*intent.Defaults) {
			select {
			case changes <- event.GenericEvent{Object: &corev1.Namespace{}}:
			default:
			}
		})
	}
	return changes
}

// onUpdate lets updates through that change something; creations and deletions always.
func onUpdate[T client.Object](changed func(before, after T) bool) predicate.Funcs {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(T)
		after, alsoOK := e.ObjectNew.(T)
		return !ok || !alsoOK || changed(before, after)
	}}
}

// notAtTheStart keeps back what is there when the watch begins. Every pod is looked at then
// anyway, and each Service would have all pods of its namespace searched.
func notAtTheStart(funcs predicate.Funcs) predicate.Funcs {
	funcs.CreateFunc = func(e event.CreateEvent) bool { return !e.IsInInitialList }
	return funcs
}

// onlyUpdate lets nothing else through.
func onlyUpdate[T client.Object](changed func(before, after T) bool) predicate.Funcs {
	funcs := onUpdate(changed)
	funcs.CreateFunc = func(event.CreateEvent) bool { return false }
	funcs.DeleteFunc = func(event.DeleteEvent) bool { return false }
	return funcs
}

func certificateChanged(before, after *cmapi.Certificate) bool {
	return before.Generation != after.Generation ||
		!maps.Equal(before.Labels, after.Labels) || !maps.Equal(before.Annotations, after.Annotations) ||
		!equality.Semantic.DeepEqual(before.OwnerReferences, after.OwnerReferences) ||
		!equality.Semantic.DeepEqual(before.Status, after.Status)
}

func serviceChanged(before, after *corev1.Service) bool {
	return !equality.Semantic.DeepEqual(intent.ServiceOf(before), intent.ServiceOf(after))
}

func namespaceChanged(before, after *corev1.Namespace) bool {
	return !maps.Equal(before.Labels, after.Labels) || !maps.Equal(before.Annotations, after.Annotations)
}

// ofPod maps a pod to its workload's companion.
func ofPod(_ context.Context, obj client.Object) []reconcile.Request {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return nil
	}
	return []reconcile.Request{request(pod)}
}

func request(pod *corev1.Pod) reconcile.Request {
	return reconcile.Request{NamespacedName: client.ObjectKey{Namespace: pod.Namespace, Name: companionOf(pod)}}
}

// finder maps what pods depend on to the companions of these pods.
type finder struct {
	pods client.Reader
}

// ofService finds the workloads that take names from a Service: those that it selects,
// and the one that has its name.
func (f finder) ofService(ctx context.Context, obj client.Object) []reconcile.Request {
	object, ok := obj.(*corev1.Service)
	if !ok {
		return nil
	}
	svc := intent.ServiceOf(object)
	return f.find(ctx, object.Namespace, func(pod *corev1.Pod) bool {
		return svc.Selects(pod.Labels) || intent.WorkloadOfPod(pod).Name == svc.Name
	})
}

// ofNamespace finds all workloads of a Namespace.
func (f finder) ofNamespace(ctx context.Context, obj client.Object) []reconcile.Request {
	return f.find(ctx, obj.GetName(), func(*corev1.Pod) bool { return true })
}

// all finds all workloads.
func (f finder) all(ctx context.Context, _ client.Object) []reconcile.Request {
	return f.find(ctx, "", func(*corev1.Pod) bool { return true })
}

// find returns the companions of the matching pods, each once.
func (f finder) find(ctx context.Context, namespace string, match func(*corev1.Pod) bool) []reconcile.Request {
	var pods corev1.PodList
	if err := f.pods.List(ctx, &pods, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "list pods", "namespace", namespace)
		return nil
	}
	found := sets.New[reconcile.Request]()
	for i := range pods.Items {
		if pod := &pods.Items[i]; match(pod) {
			found.Insert(request(pod))
		}
	}
	return found.UnsortedList()
}
