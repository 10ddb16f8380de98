package explain

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/cli-runtime/pkg/resource"
	"sigs.k8s.io/yaml"

	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
	"example.io/mtls-injector/cmd/kubectl-mtls/manifest"
	"example.io/mtls-injector/cmd/kubectl-mtls/offline"
	"example.io/mtls-injector/intent"
)

// online explains objects of the cluster.
func (o *Options) online(ctx context.Context) (*Report, []error) {
	cluster, err := o.Connect()
	if err != nil {
		return nil, []error{err}
	}
	docs, errs := o.fetch(cluster)
	if len(docs) == 0 {
		return nil, append(errs, gapsAsErrors(cluster.Gaps)...)
	}
	around, err := cluster.Around(ctx, cluster.Namespace)
	if err != nil {
		return nil, append(errs, err)
	}
	configuration, err := cluster.Configuration(ctx)
	if err != nil {
		return nil, append(errs, err)
	}
	configuration.Defaults.Version = o.version
	e := explainer{
		options: offline.Options{
			Defaults:   configuration.Defaults,
			Namespace:  cluster.Namespace,
			Namespaces: map[string]*intent.Namespace{cluster.Namespace: &around.Namespace},
			Services:   map[string][]intent.Service{cluster.Namespace: around.Services},
		},
		remedies: remedies(),
		notAsked: func(ns *intent.Namespace) string {
			return notOptedIn(configuration.Defaults, ns, around.NamespaceKnown)
		},
		live: true,
	}
	report := &Report{Configuration: configuration.Source}
	var more []error
	report.Pods, more = e.explain(docs)
	report.Unknown = cluster.Gaps.List()
	return report, append(errs, more...)
}

// notOptedIn tells why the webhook is not asked about a namespace's pods. known says that its
// labels are those of the cluster; in a manifest a Namespace counts that has labels at all.
func notOptedIn(defaults *intent.Defaults, ns *intent.Namespace, known bool) string {
	hasLabels := len(ns.Labels) > 1 // every one has that of its name
	if defaults.Namespaces == nil || !known && !hasLabels || defaults.Namespaces.Matches(labels.Set(ns.Labels)) {
		return ""
	}
	return fmt.Sprintf("namespace %q is not opted in, so the webhook is not asked: it has not the labels %s", ns.Name, defaults.Namespaces)
}

// fetch reads the objects that are named. What the user may not read becomes a gap.
func (o *Options) fetch(cluster *kube.Cluster) ([]*manifest.Document, []error) {
	var docs []*manifest.Document
	var errs []error
	for _, name := range o.names {
		if !strings.Contains(name, "/") {
			name = "pods/" + name
		}
		infos, err := resource.NewBuilder(o.Flags).Unstructured().NamespaceParam(cluster.Namespace).DefaultNamespace().
			ResourceTypeOrNameArgs(false, name).ContinueOnError().Flatten().Do().Infos()
		if err != nil {
			errs = append(errs, o.whyNot(cluster, name, err)...)
			continue
		}
		for _, info := range infos {
			doc, err := documentOf(info.Object.(*unstructured.Unstructured)) //nolint:errcheck,forcetypeassert // the builder was told so
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
				continue
			}
			docs = append(docs, doc...)
		}
	}
	return docs, errs
}

// whyNot turns the rights that lack into a gap.
func (o *Options) whyNot(cluster *kube.Cluster, name string, err error) []error {
	status := apierrors.APIStatus(nil)
	if !apierrors.IsForbidden(err) || !asStatus(err, &status) {
		return []error{err}
	}
	details := status.Status().Details
	cluster.Gaps.Add(kube.Gap{
		Verb: "get", Group: details.Group, Resource: details.Kind, Name: details.Name, Namespace: cluster.Namespace,
		For: "what " + name + " gets",
	})
	return nil
}

func gapsAsErrors(gaps *kube.Gaps) []error {
	var errs []error
	for _, gap := range gaps.List() {
		errs = append(errs, fmt.Errorf("not known: %s (you may not %s)", gap.For, gap.Rule()))
	}
	return errs
}

// documentOf makes a manifest of an object, without what only the cluster writes.
func documentOf(object *unstructured.Unstructured) ([]*manifest.Document, error) {
	object.SetManagedFields(nil)
	delete(object.Object, "status")
	text, err := yaml.Marshal(object.Object)
	if err != nil {
		return nil, err
	}
	place := fmt.Sprintf("%s/%s", object.GetKind(), object.GetName())
	docs, errs := manifest.Read(place, text)
	if len(errs) > 0 {
		return nil, errs[0]
	}
	found := offline.Find(docs)
	if len(found) == 0 {
		return nil, fmt.Errorf("%s has neither a pod nor a pod template", place)
	}
	return docs, nil
}

// completeNames completes pods, and workloads as KIND/NAME.
func (o *Options) completeNames(_ *cobra.Command, given []string, begun string) ([]string, cobra.ShellCompDirective) {
	kinds := []string{"deployment", "statefulset", "daemonset", "job", "cronjob"}
	kind, _, isTyped := strings.Cut(begun, "/")
	if !isTyped {
		kind = "pod"
	}
	infos, err := resource.NewBuilder(o.Flags).Unstructured().NamespaceParam(o.completedNamespace()).DefaultNamespace().
		ResourceTypeOrNameArgs(true, kind).Flatten().Do().Infos()
	var names []string
	for _, info := range infos {
		name := info.Name
		if isTyped {
			name = kind + "/" + name
		}
		if strings.HasPrefix(name, begun) && !slices.Contains(given, name) {
			names = append(names, name)
		}
	}
	directive := cobra.ShellCompDirectiveNoFileComp
	if isTyped || err != nil {
		return names, directive
	}
	for _, kind := range kinds {
		if strings.HasPrefix(kind, begun) {
			names = append(names, kind+"/")
			directive |= cobra.ShellCompDirectiveNoSpace
		}
	}
	return names, directive
}

func (o *Options) completedNamespace() string {
	namespace, _, err := o.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return corev1.NamespaceDefault
	}
	return namespace
}
