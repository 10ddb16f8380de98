package certs

// What a pod would get today: the decision that admission made, made again.

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"example.io/mtls-injector/intent"
)

// surroundings are what a decision needs besides the pod.
type surroundings struct {
	namespace *intent.Namespace
	services  []intent.Service
}

// resolveFor decides anew what admission decided, and keeps the surroundings in which it did.
// Without an intent, the outcome says why.
func (r *reconciler) resolveFor(ctx context.Context, l *look, pod *corev1.Pod) (*intent.Intent, outcome, error) {
	if err := r.learn(ctx, l, pod.Namespace); err != nil || l.namespace == nil {
		return nil, terminating, err
	}
	decided, result := r.decide(ctx, &l.surroundings, pod)
	l.namedByWorkload = decided.NamedByWorkload
	return decided.Intent, result, nil
}

// learn reads the surroundings once a look; namespace stays nil when it is gone.
func (r *reconciler) learn(ctx context.Context, l *look, namespace string) (err error) {
	if l.namespace == nil {
		l.surroundings, err = r.around(ctx, namespace)
	}
	return err
}

// around reads a pod's surroundings; namespace is nil when it is gone.
func (r *reconciler) around(ctx context.Context, namespace string) (surroundings, error) {
	var ns corev1.Namespace
	if found, err := r.find(ctx, client.ObjectKey{Name: namespace}, &ns); err != nil || !found {
		return surroundings{}, err
	}
	var list corev1.ServiceList
	if err := r.cached.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return surroundings{}, fmt.Errorf("list Services: %w", err)
	}
	around := surroundings{services: make([]intent.Service, len(list.Items))}
	for i := range list.Items {
		around.services[i] = intent.ServiceOf(&list.Items[i])
	}
	of := intent.NamespaceOf(&ns)
	around.namespace = &of
	return around, nil
}

// decide does so within these surroundings. A namespace that is not opted in gets no
// companion: admission never saw its pods, so their label is their own word.
func (r *reconciler) decide(ctx context.Context, around *surroundings, pod *corev1.Pod) (intent.Result, outcome) {
	if !r.defaults().Namespaces.Matches(labels.Set(around.namespace.Labels)) {
		return intent.Result{}, notWanted
	}
	decided := intent.Resolve(r.defaults(), around.namespace, intent.PodOf(pod), around.services)
	switch {
	case len(decided.Errors) > 0:
		// What was admitted is refused today: configuration or Services have changed.
		// The companion stays as it is, for the pods still run with what they got.
		log.FromContext(ctx).Info("companion left as it is", "pod", pod.Name, "reason", decided.Errors.ToAggregate().Error())
		return intent.Result{}, refused
	case decided.Intent == nil || !decided.Intent.Companion:
		return intent.Result{}, notWanted
	}
	return decided, ""
}
