package certs

// Pods that should be injected and are not: they are older than the webhook, than their
// namespace's opting in or than the role that it got since; or they were let through by
// `failurePolicy: Ignore` while the webhook could not be reached.

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"example.io/mtls-injector/intent"
)

const (
	// countEvery is how old a namespace's count becomes when nothing about the namespace or
	// the configuration changes.
	countEvery = 5 * time.Minute
	// countRetry is when a count that failed is tried again at first; then ever later, up to
	// countEvery.
	countRetry = time.Second
	// countPage is how many pods are in memory at a time.
	countPage = 500
)

// counter counts the pods of one opted-in namespace that are not injected. It is a controller
// of Namespaces rather than of pods: those that it counts are in no cache, so they cost memory
// only while they are counted. One namespace after the other is counted, page by page.
type counter struct {
	// cached has the Namespaces; pods are read from live.
	cached, live client.Reader
	defaults     func() *intent.Defaults
	figures      *figures
	now          func() time.Time
	notInjected  labels.Selector
}

func newCounter(cached, live client.Reader, defaults func() *intent.Defaults) (*counter, error) {
	other, err := labels.NewRequirement(intent.LabelInjected, selection.NotEquals, []string{"true"})
	if err != nil {
		return nil, fmt.Errorf("selector of pods: %w", err)
	}
	return &counter{
		cached: cached, live: live, defaults: defaults, figures: newFigures(), now: time.Now,
		notInjected: labels.NewSelector().Add(*other),
	}, nil
}

// countsUninjected adds the counting to the manager: on the leader, when a Namespace or the
// configuration changes, and from time to time.
func countsUninjected(mgr manager.Manager, opts Options) error {
	c, err := newCounter(mgr.GetClient(), mgr.GetAPIReader(), opts.Defaults)
	if err != nil {
		return err
	}
	if opts.Registerer != nil {
		if err := opts.Registerer.Register(c.figures); err != nil {
			return fmt.Errorf("metrics of pods not injected: %w", err)
		}
	}
	if err := mgr.Add(manager.RunnableFunc(c.figures.lead)); err != nil {
		return fmt.Errorf("metrics of pods not injected: %w", err)
	}
	err = ctrl.NewControllerManagedBy(mgr).
		Named("pods-not-injected").
		WithOptions(controller.Options{
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](countRetry, countEvery),
		}).
		For(&corev1.Namespace{}, builder.WithPredicates(onUpdate(namespaceChanged))).
		WatchesRawSource(source.Channel(configurationChanges(opts.Subscribe), handler.EnqueueRequestsFromMapFunc(c.all))).
		Complete(c)
	if err != nil {
		return fmt.Errorf("controller of pods not injected: %w", err)
	}
	return nil
}

// all finds all Namespaces, also those that a new configuration no longer opts in.
func (c *counter) all(ctx context.Context, _ client.Object) []reconcile.Request {
	var list corev1.NamespaceList
	if err := c.cached.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "list Namespaces")
		return nil
	}
	requests := make([]reconcile.Request, len(list.Items))
	for i := range list.Items {
		requests[i].Name = list.Items[i].Name
	}
	return requests
}

// Reconcile counts the pods of one Namespace anew. When it fails the old figure stays.
func (c *counter) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	ns, err := c.optedIn(ctx, request.NamespacedName)
	if err != nil {
		return reconcile.Result{}, err
	}
	if ns == nil {
		c.figures.forget(request.Name)
		return reconcile.Result{}, nil
	}
	n, err := c.count(ctx, ns)
	if err != nil {
		return reconcile.Result{}, err
	}
	c.figures.put(request.Name, figure{pods: n, at: c.now()})
	return reconcile.Result{RequeueAfter: countEvery}, nil
}

// optedIn returns the Namespace, or nil when it is gone or not opted in: the API server sends
// the webhook no pod of another.
func (c *counter) optedIn(ctx context.Context, key client.ObjectKey) (*intent.Namespace, error) {
	var object corev1.Namespace
	switch err := c.cached.Get(ctx, key, &object); {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read the Namespace: %w", err)
	case !c.defaults().Namespaces.Matches(labels.Set(object.Labels)):
		return nil, nil
	}
	ns := intent.NamespaceOf(&object)
	return &ns, nil
}

func (c *counter) count(ctx context.Context, ns *intent.Namespace) (n int, err error) {
	options := []client.ListOption{
		client.InNamespace(ns.Name), client.MatchingLabelsSelector{Selector: c.notInjected}, client.Limit(countPage),
	}
	for next := ""; ; {
		var page corev1.PodList
		if err := c.live.List(ctx, &page, append(options, client.Continue(next))...); err != nil {
			return 0, fmt.Errorf("list pods that are not injected: %w", err)
		}
		for i := range page.Items {
			if pod := &page.Items[i]; isAlive(pod) && isWanted(c.defaults(), ns, pod) {
				n++
			}
		}
		if next = page.Continue; next == "" {
			return n, nil
		}
	}
}

// isWanted reports whether admission would not leave the pod as it is today. One that would
// be refused counts, too, for it runs all the same. Whether a pod is skipped does not depend
// on Services, so none are read.
func isWanted(defaults *intent.Defaults, ns *intent.Namespace, pod *corev1.Pod) bool {
	if !intent.Concerns(pod.Annotations) && !intent.Concerns(ns.Annotations) {
		return false // before the pod is converted: most are such
	}
	return intent.Resolve(defaults, ns, intent.PodOf(pod), nil).Skip == ""
}
