package verify

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
	"example.io/mtls-injector/intent"
)

const purposePod = "which pod to connect to, and what it is"

// kindOfCluster knows kinds, resources and short names, as kubectl does: deploy,
// deployments.apps, StatefulSet.
func (o *Options) kindOfCluster(name string) (schema.GroupVersionKind, error) {
	mapper, err := o.ToRESTMapper()
	if err != nil {
		return schema.GroupVersionKind{}, err
	}
	resource := schema.ParseGroupResource(strings.ToLower(name)).WithVersion("")
	kind, err := mapper.KindFor(resource)
	if err != nil {
		return kind, fmt.Errorf("kind %q: %w", name, err)
	}
	return kind, nil
}

// findPod returns the pod that is meant.
func (o *Options) findPod(ctx context.Context) (*corev1.Pod, error) {
	kindName, name, isTyped := strings.Cut(o.target, "/")
	if !isTyped {
		return o.pod(ctx, o.target)
	}
	kind, err := o.kindOf(kindName)
	if err != nil {
		return nil, err
	}
	if kind.GroupKind() == (schema.GroupKind{Kind: "Pod"}) {
		return o.pod(ctx, name)
	}
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(kind)
	answer, err := o.cluster.Read(ctx, client.ObjectKey{Namespace: o.cluster.Namespace, Name: name}, object, purposePod)
	switch {
	case err != nil:
		return nil, err
	case answer == kube.Absent:
		return nil, fmt.Errorf("there is no %s %q in namespace %q", kind.Kind, name, o.cluster.Namespace)
	case answer == kube.Hidden:
		return nil, fmt.Errorf("you may not see %s %q: name one of its pods", kind.Kind, name)
	}
	selector, err := selectorOf(object)
	if err != nil {
		return nil, err
	}
	return o.newestOf(ctx, kind.Kind+" "+name, selector)
}

func (o *Options) pod(ctx context.Context, name string) (*corev1.Pod, error) {
	pod := &corev1.Pod{}
	answer, err := o.cluster.Read(ctx, client.ObjectKey{Namespace: o.cluster.Namespace, Name: name}, pod, purposePod)
	switch {
	case err != nil:
		return nil, err
	case answer == kube.Absent:
		return nil, fmt.Errorf("there is no pod %q in namespace %q", name, o.cluster.Namespace)
	case answer == kube.Hidden:
		return nil, fmt.Errorf("you may not see the pod %q", name)
	case pod.Status.Phase != corev1.PodRunning:
		return nil, fmt.Errorf("the pod %q is %s, not Running: `kubectl describe pod %s` says why", name, phase(pod), name)
	}
	return pod, nil
}

func phase(pod *corev1.Pod) string {
	return cmp.Or(string(pod.Status.Phase), string(corev1.PodUnknown))
}

// selectorOf returns the selector of a workload or of a Service.
func selectorOf(object *unstructured.Unstructured) (labels.Selector, error) {
	what := object.GetKind() + " " + object.GetName()
	if object.GroupVersionKind().GroupKind() == (schema.GroupKind{Kind: "Service"}) {
		set, _, err := unstructured.NestedStringMap(object.Object, "spec", "selector")
		if err != nil || len(set) == 0 {
			return nil, fmt.Errorf("%s selects no pods", what)
		}
		return labels.SelectorFromSet(set), nil
	}
	raw, found, err := unstructured.NestedMap(object.Object, "spec", "selector")
	if err != nil || !found {
		return nil, fmt.Errorf("%s has no selector: name one of its pods", what)
	}
	var selector metav1.LabelSelector
	if err := fromUnstructured(raw, &selector); err != nil {
		return nil, fmt.Errorf("selector of %s: %w", what, err)
	}
	return metav1.LabelSelectorAsSelector(&selector)
}

// newestOf returns the newest ready pod, or the newest that runs.
func (o *Options) newestOf(ctx context.Context, whose string, selector labels.Selector) (*corev1.Pod, error) {
	var list corev1.PodList
	answer, err := o.cluster.ReadAll(ctx, &list, o.cluster.Namespace, purposePod, client.MatchingLabelsSelector{Selector: selector})
	switch {
	case err != nil:
		return nil, err
	case answer != kube.Found:
		return nil, fmt.Errorf("you may not list the pods of %s: name one of them", whose)
	}
	running := slices.DeleteFunc(list.Items, func(pod corev1.Pod) bool {
		return pod.Status.Phase != corev1.PodRunning || pod.DeletionTimestamp != nil
	})
	if len(running) == 0 {
		return nil, fmt.Errorf("%s has no pod that runs", whose)
	}
	slices.SortFunc(running, func(a, b corev1.Pod) int {
		if ready := compareBool(isReady(&b), isReady(&a)); ready != 0 {
			return ready
		}
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	return &running[0], nil
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func isReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// complete completes pods, kinds and, after them, ports.
func (o *Options) complete(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	const files = cobra.ShellCompDirectiveNoFileComp
	if len(args) > 1 {
		return nil, files
	}
	namespace, _, err := o.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, files
	}
	if len(args) == 1 {
		return o.completePorts(cmd.Context(), args[0], prefix), files
	}
	kindName, begun, isTyped := strings.Cut(prefix, "/")
	if isTyped {
		kind, err := o.kindOf(kindName)
		if err != nil {
			return nil, files
		}
		names := o.Names(cmd.Context(), kind, namespace, begun)
		for i := range names {
			names[i] = kindName + "/" + names[i]
		}
		return names, files
	}
	names := o.Names(cmd.Context(), corev1.SchemeGroupVersion.WithKind("Pod"), namespace, prefix)
	directive := files
	for _, kind := range [...]string{"daemonset/", "deployment/", "service/", "statefulset/"} {
		if strings.HasPrefix(kind, prefix) {
			names = append(names, kind)
			directive |= cobra.ShellCompDirectiveNoSpace
		}
	}
	return names, directive
}

// completePorts offers the ports that could be meant, with what is known of them.
func (o *Options) completePorts(ctx context.Context, target, prefix string) []string {
	var err error
	if o.cluster, err = o.Connect(); err != nil {
		return nil
	}
	o.target = target
	pod, err := o.findPod(ctx)
	if err != nil {
		return nil
	}
	around, err := o.cluster.Around(ctx, pod.Namespace)
	if err != nil {
		around = kube.Unknown(pod.Namespace)
	}
	services, err := o.servicesOf(ctx, pod, around)
	if err != nil {
		return nil
	}
	var ports []string
	for _, port := range candidates(pod, services) {
		if text := fmt.Sprint(port.Number); strings.HasPrefix(text, prefix) {
			ports = append(ports, text+"\t"+port.Source)
		}
	}
	return ports
}

// serviceSelects reports whether the Service selects the pod.
func serviceSelects(svc *corev1.Service, pod *corev1.Pod) bool {
	selector := intent.ServiceOf(svc).Selector
	return len(selector) > 0 && labels.SelectorFromSet(selector).Matches(labels.Set(pod.Labels))
}
