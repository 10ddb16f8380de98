package check

// The injector itself: its program, rights and version.

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
	"example.io/mtls-injector/intent"
)

const whatInjector = "the injector's Deployment"

// deployment finds that of the injector: beside its configuration, or anywhere.
func (s *site) deployment(ctx context.Context) (*appsv1.Deployment, []Outcome) {
	namespace, selector := "", byName(kube.Product)
	if s.config != nil && s.config.Object != nil {
		namespace = s.config.Object.Namespace
		selector = labels.Set{}
		for _, key := range []string{"app.kubernetes.io/name", "app.kubernetes.io/instance"} {
			if value := s.config.Object.Labels[key]; value != "" {
				selector[key] = value
			}
		}
	}
	var list appsv1.DeploymentList
	answer, err := s.ReadAll(ctx, &list, namespace, whatInjector, client.MatchingLabels(selector))
	if hidden := s.known(answer, err, whatInjector); hidden != nil {
		return nil, hidden
	}
	if len(list.Items) == 0 {
		return nil, failure("there is no Deployment of the injector", "helm install mtls-injector charts/mtls-injector --namespace mtls-injector --create-namespace --wait")
	}
	return &list.Items[0], nil
}

func (s *site) injector(ctx context.Context) []Outcome {
	if s.configErr != nil {
		return failure("its configuration: "+s.configErr.Error(), "correct it; a plugin of another version may not know all of it: kubectl mtls version")
	}
	d, missing := s.deployment(ctx)
	if missing != nil {
		return missing
	}
	logs := fmt.Sprintf("kubectl -n %s describe deployment %s\nkubectl -n %[1]s logs deployment/%[2]s --all-pods", d.Namespace, d.Name)
	switch wanted := d.Spec.Replicas; {
	case d.Status.AvailableReplicas == 0:
		return failure(fmt.Sprintf("none of its pods is available (Deployment %s/%s)", d.Namespace, d.Name), logs)
	case wanted != nil && d.Status.AvailableReplicas < *wanted:
		return warning(fmt.Sprintf("%d of %d pods are available", d.Status.AvailableReplicas, *wanted), logs)
	case d.Status.AvailableReplicas == 1:
		return warning("it has one pod: nobody answers while it is restarted", "helm upgrade … --set replicaCount=2")
	}
	return ok(fmt.Sprintf("Deployment %s/%s: %s; configuration: %s", d.Namespace, d.Name, versionOf(d), s.config.Source))
}

func (s *site) optedInNamespaces(context.Context) []Outcome {
	if missing := s.notConfigured(); missing != nil {
		return missing
	}
	selector := s.config.Defaults.Namespaces.String()
	var names []string
	for i := range s.namespaces {
		names = append(names, s.namespaces[i].Name)
	}
	switch {
	case len(names) > 0:
		return ok(fmt.Sprintf("%d (%s): %s", len(names), selector, some(names)))
	case !s.namespacesKnown:
		return notKnown("you may not list namespaces; " + s.Namespace + " is not one")
	default:
		return warning("no namespace is opted in", "kubectl label namespace NAME "+strings.ReplaceAll(selector, ",", " "))
	}
}

// right is a rule that the injector needs, as in the package certs.
type right struct {
	group     string
	resources []string
	verbs     []string
	// own says that it is needed in the injector's namespace only.
	own bool
}

var rights = [...]right{
	{"", []string{"pods", "namespaces"}, []string{"get", "list", "watch"}, false},
	{"", []string{"services"}, []string{"list", "watch"}, false},
	{"apps", []string{"deployments", "statefulsets", "daemonsets"}, []string{"get", "patch"}, false},
	{"apps", []string{"replicasets"}, []string{"get"}, false},
	{"batch", []string{"jobs", "cronjobs"}, []string{"get"}, false},
	{"", []string{"replicationcontrollers"}, []string{"get"}, false},
	{"cert-manager.io", []string{"certificates"}, []string{"get", "list", "watch", "create", "patch", "delete"}, false},
	{"cert-manager.io", []string{"certificaterequests"}, []string{"get"}, false},
	{"", []string{"secrets"}, []string{"get", "list", "delete"}, false},
	{"events.k8s.io", []string{"events"}, []string{"create", "patch"}, false},
	{"coordination.k8s.io", []string{"leases"}, []string{"get", "create", "update"}, true},
	{"", []string{"events"}, []string{"create"}, true},
}

func (s *site) rights(ctx context.Context) []Outcome {
	d, missing := s.deployment(ctx)
	if missing != nil {
		return missing
	}
	account := d.Spec.Template.Spec.ServiceAccountName
	if account == "" {
		account = "default"
	}
	user := "system:serviceaccount:" + d.Namespace + ":" + account
	var lacks []string
	asked := 0
	for _, attributes := range attributesOf(d.Namespace, s.bundleRight()) {
		allowed, err := s.may(ctx, user, d.Namespace, attributes)
		if apierrors.IsForbidden(err) {
			return notKnown("you may not create subjectaccessreviews.authorization.k8s.io")
		}
		if err != nil {
			return failure("cannot be checked: "+err.Error(), "")
		}
		if asked++; !allowed {
			gap := kube.Gap{Verb: attributes.Verb, Group: attributes.Group, Resource: attributes.Resource, Name: attributes.Name, Namespace: attributes.Namespace}
			lacks = append(lacks, gap.Rule())
		}
	}
	if len(lacks) > 0 {
		return failure(fmt.Sprintf("%s may not %s", user, some(lacks)), "helm upgrade restores its roles; with rbac.create=false they are yours: see charts/mtls-injector/templates/rbac")
	}
	return ok(fmt.Sprintf("%s has all %d", user, asked))
}

// bundleRight is the right to see whether the bundle is there.
func (s *site) bundleRight() string {
	if s.config == nil || !s.config.Known || s.config.Defaults.CABundle.Kind != intent.BundleConfigMap {
		return ""
	}
	return s.config.Defaults.CABundle.Name
}

func attributesOf(namespace, bundle string) []authorizationv1.ResourceAttributes {
	var all []authorizationv1.ResourceAttributes
	for _, r := range rights {
		for _, resource := range r.resources {
			for _, verb := range r.verbs {
				a := authorizationv1.ResourceAttributes{Group: r.group, Resource: resource, Verb: verb}
				if r.own {
					a.Namespace = namespace
				}
				all = append(all, a)
			}
		}
	}
	if bundle != "" {
		all = append(all, authorizationv1.ResourceAttributes{Resource: "configmaps", Verb: "get", Name: bundle})
	}
	return all
}

func (s *site) may(ctx context.Context, user, namespace string, attributes authorizationv1.ResourceAttributes) (bool, error) {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user, Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
		ResourceAttributes: &attributes,
	}}
	err := s.Create(ctx, review)
	return review.Status.Allowed, err
}

func (s *site) versions(ctx context.Context) []Outcome {
	d, missing := s.deployment(ctx)
	if missing != nil {
		return missing
	}
	chart := d.Labels["app.kubernetes.io/version"]
	program := imageTag(d)
	var outcomes []Outcome
	if differ(chart, program) {
		outcomes = warning(fmt.Sprintf("the chart is for %s, and runs %s", chart, program), "helm upgrade with the chart of that version, or without image.tag")
	}
	if differ(program, s.version) {
		outcomes = append(outcomes, warning(fmt.Sprintf("the injector is %s, and this plugin %s", program, s.version), "install the plugin of the injector's version")...)
	}
	if len(outcomes) == 0 {
		outcomes = ok(fmt.Sprintf("chart %s, program %s, plugin %s", d.Labels["helm.sh/chart"], program, s.version))
	}
	return outcomes
}

func imageTag(d *appsv1.Deployment) string {
	if len(d.Spec.Template.Spec.Containers) == 0 {
		return ""
	}
	image, _, _ := strings.Cut(d.Spec.Template.Spec.Containers[0].Image, "@")
	if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") {
		return image[i+1:]
	}
	return ""
}

// differ reports whether two versions have another major or minor number. What is no version,
// as that of a development build, differs from none.
func differ(a, b string) bool {
	first, err := version.ParseSemantic(a)
	if err != nil {
		return false
	}
	second, err := version.ParseSemantic(b)
	if err != nil {
		return false
	}
	return first.Major() != second.Major() || first.Minor() != second.Minor()
}
