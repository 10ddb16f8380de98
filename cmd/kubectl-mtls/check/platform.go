package check

// What Kubernetes brings along.

import (
	"context"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"example.io/mtls-injector/intent"
)

// The versions of Kubernetes that matter.
const (
	oldest       = "1.28.0"
	withSidecars = "1.29.0"
	withSleep    = "1.30.0"
)

func (s *site) kubernetes(context.Context) []Outcome {
	text, err := s.server.Version()
	if err != nil {
		return failure("cannot be checked: "+err.Error(), "")
	}
	have, err := version.ParseGeneric(text)
	if err != nil {
		return warning(fmt.Sprintf("the version %q is of no form that is known", text), "see that it is "+oldest+" or later")
	}
	outcomes := ok(text)
	switch {
	case !have.AtLeast(version.MustParseGeneric(oldest)):
		return failure(text+" is too old: it must be "+oldest+" or later", "upgrade the cluster")
	case !have.AtLeast(version.MustParseGeneric(withSidecars)):
		outcomes = warning(text+" has no native sidecars: agent and reload: signal cannot be used", "upgrade to 1.29 or later to use them")
	case !have.AtLeast(version.MustParseGeneric(withSleep)):
		outcomes = ok(text + "; the preStop hook runs sleep in the container, which must have it")
	}
	if s.config != nil && s.config.Defaults.CABundle.Kind == intent.BundleClusterTrustBundle && !s.has("certificates.k8s.io", "ClusterTrustBundle") {
		outcomes = append(outcomes, failure("caBundle.kind is ClusterTrustBundle, and the API server has none",
			"turn its feature gates on (ClusterTrustBundle, ClusterTrustBundleProjection), or use a ConfigMap")...)
	}
	return outcomes
}

// installer asks for the rights that most people lack.
func (s *site) installer(ctx context.Context) []Outcome {
	var missing []string
	for _, r := range []authorizationv1.ResourceAttributes{
		{Verb: "create", Resource: "namespaces"},
		{Verb: "create", Group: "rbac.authorization.k8s.io", Resource: "clusterroles"},
		{Verb: "create", Group: "rbac.authorization.k8s.io", Resource: "clusterrolebindings"},
		{Verb: "create", Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations"},
		{Verb: "create", Group: "admissionregistration.k8s.io", Resource: "validatingwebhookconfigurations"},
	} {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &r}}
		if err := s.Create(ctx, review); err != nil {
			return failure("cannot be checked: "+err.Error(), "")
		}
		if !review.Status.Allowed {
			missing = append(missing, r.Resource)
		}
	}
	if len(missing) > 0 {
		return warning("you may not create "+some(missing), "have an administrator of the cluster install the chart")
	}
	return ok("you may create all that it has")
}

// isForPods reports whether pods are scheduled to the node as a matter of course.
func isForPods(node *corev1.Node) bool {
	if node.Spec.Unschedulable || node.Labels[corev1.LabelOSStable] == string(corev1.Windows) {
		return false
	}
	for _, taint := range node.Spec.Taints {
		if taint.Effect == corev1.TaintEffectNoSchedule && taint.Key == "node-role.kubernetes.io/control-plane" {
			return false
		}
	}
	return true
}

// ports tells what managed control planes need.
func (s *site) ports(context.Context) []Outcome {
	kind := s.platform()
	if kind == "" {
		return ok("no managed control plane that is known to close ports")
	}
	if s.answered != nil && *s.answered {
		return ok(string(kind) + ": the webhook answers")
	}
	switch kind {
	case gke:
		return warning("GKE: the control plane of a private cluster reaches the nodes on ports 443 and 10250 only",
			"helm upgrade … --set webhook.port=10250, or open the webhook's port in the firewall of the control plane")
	case eks:
		return warning("EKS: the nodes' security group must let the control plane in on the webhook's port (9443); with another network plugin than Amazon's the control plane cannot reach pods at all",
			"allow the port in the security group, or helm upgrade … -f charts/mtls-injector/ci/host-network-values.yaml")
	default:
		return ok(string(kind) + ": its control plane reaches pods")
	}
}
