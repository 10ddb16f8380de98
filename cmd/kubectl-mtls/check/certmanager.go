package check

// What cert-manager and its companions bring along.

import (
	"context"
	"fmt"
	"strings"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/intent"
)

const (
	certManagerGroup = "cert-manager.io"
	policyGroup      = "policy.cert-manager.io"
	installManager   = "install cert-manager, with its CRDs: https://cert-manager.io/docs/installation/"
)

// byName selects by the label that charts give.
func byName(name string) labels.Set { return labels.Set{"app.kubernetes.io/name": name} }

func (s *site) certManagerAPI(context.Context) []Outcome {
	var missing []string
	for _, kind := range []string{"Certificate", "CertificateRequest", "Issuer", "ClusterIssuer"} {
		if !s.has(certManagerGroup, kind) {
			missing = append(missing, kind)
		}
	}
	if len(missing) > 0 {
		return failure("the API server does not have "+some(missing), installManager)
	}
	return ok("its kinds are there")
}

func (s *site) certManager(ctx context.Context) []Outcome {
	var outcomes []Outcome
	for _, part := range []workload{
		{byName("cert-manager"), "controller"}, {byName("webhook"), "webhook"}, {byName("cainjector"), "CA injector"},
	} {
		if part.name != "controller" {
			// These names are anybody's.
			part.labels = labels.Merge(part.labels, labels.Set{"app.kubernetes.io/component": part.labels["app.kubernetes.io/name"]})
		}
		part.name = "cert-manager's " + part.name
		outcomes = append(outcomes, s.runs(ctx, part)...)
	}
	return outcomes
}

// certManagerWebhook asks for a Certificate as a dry run.
func (s *site) certManagerWebhook(ctx context.Context) []Outcome {
	if !s.has(certManagerGroup, "Certificate") {
		return notKnown("there is no API of cert-manager")
	}
	cert := &cmapi.Certificate{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "mtls-check-", Namespace: s.Namespace},
		Spec: cmapi.CertificateSpec{
			SecretName: "mtls-check", DNSNames: []string{"mtls-check"}, IssuerRef: cmmeta.IssuerReference{Name: "mtls-check"},
		},
	}
	switch err := s.Create(ctx, cert, client.DryRunAll); {
	case err == nil:
		return ok("it takes a Certificate (a dry run)")
	case isNotCalled(err):
		return failure("it does not answer: "+err.Error(), "see that its pods run and that its caBundle is there: cmctl check api")
	case apierrors.IsForbidden(err):
		return notKnown(fmt.Sprintf("you may not create certificates.cert-manager.io in namespace %q, not even as a dry run", s.Namespace))
	default:
		return warning("it does not take a Certificate: "+err.Error(), "")
	}
}

// isNotCalled reports whether the API server could not call a webhook. It has no reason of
// its own for that (k8s.io/apiserver, pkg/admission/plugin/webhook).
func isNotCalled(err error) bool { return strings.Contains(err.Error(), "failed calling webhook") }

// waitsTooLong is when somebody should have approved a request.
const waitsTooLong = time.Minute

func (s *site) approver(ctx context.Context) []Outcome {
	if !s.has(certManagerGroup, "CertificateRequest") {
		return notKnown("there is no API of cert-manager")
	}
	outcomes := s.approvers(ctx)
	var requests cmapi.CertificateRequestList
	const what = "the requests that wait for approval"
	namespace := ""
	if !s.namespacesKnown {
		namespace = s.Namespace
	}
	answer, err := s.ReadAll(ctx, &requests, namespace, what)
	if hidden := s.known(answer, err, what); hidden != nil {
		return append(outcomes, hidden...)
	}
	var waiting []string
	for i := range requests.Items {
		if r := &requests.Items[i]; isUndecided(r) && s.now.Sub(r.CreationTimestamp.Time) > waitsTooLong {
			waiting = append(waiting, r.Namespace+"/"+r.Name)
		}
	}
	if len(waiting) > 0 {
		outcomes = append(outcomes, failure(fmt.Sprintf("%d requests wait for approval for more than %s: %s", len(waiting), waitsTooLong, some(waiting)),
			"no approver has anything to say to them: see which policies there are, or approve them: cmctl approve")...)
	}
	return outcomes
}

func isUndecided(r *cmapi.CertificateRequest) bool {
	for _, c := range r.Status.Conditions {
		if c.Type == cmapi.CertificateRequestConditionApproved || c.Type == cmapi.CertificateRequestConditionDenied {
			return false
		}
	}
	return true
}

const approverOff = "turn cert-manager's own approver off: disableAutoApproval in its chart, or --controllers=*,-certificaterequests-approver"

// approvers says who approves.
func (s *site) approvers(ctx context.Context) []Outcome {
	controllers, hidden := s.deployments(ctx, workload{byName("cert-manager"), "cert-manager's controller"})
	hasPolicies := s.has(policyGroup, "CertificateRequestPolicy")
	switch {
	case hidden != nil:
		return hidden
	case len(controllers) == 0:
		return notKnown("whether cert-manager's own approver is on, for its Deployment is not found")
	case !hasPolicies && isApproverOff(&controllers[0]):
		return failure("cert-manager's own approver is off, and approver-policy is not installed: nobody approves",
			"turn the approver on, or install approver-policy: https://cert-manager.io/docs/policy/approval/approver-policy/")
	case !hasPolicies:
		return ok("cert-manager's own approver approves every request")
	case !isApproverOff(&controllers[0]):
		return failure("approver-policy and cert-manager's own approver are both on, so everything is approved, whatever the policies say", approverOff)
	default:
		return s.policies(ctx)
	}
}

func isApproverOff(d *appsv1.Deployment) bool {
	for i := range d.Spec.Template.Spec.Containers {
		for _, arg := range d.Spec.Template.Spec.Containers[i].Args {
			if strings.HasPrefix(arg, "--controllers=") && strings.Contains(arg, "-certificaterequests-approver") {
				return true
			}
		}
	}
	return false
}

// policies says whether there are policies for us.
func (s *site) policies(ctx context.Context) []Outcome {
	kind, _ := s.object(policyGroup, "CertificateRequestPolicy")
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(kind.GroupVersionKind())
	const what = "the policies of approver-policy"
	answer, err := s.ReadAll(ctx, list, "", what, client.MatchingLabels{intent.LabelManagedBy: intent.ManagedBy})
	if hidden := s.known(answer, err, what); hidden != nil {
		return hidden
	}
	if len(list.Items) == 0 {
		return warning("approver-policy decides, and has no policy that is made of the injector's configuration",
			"kubectl mtls policy --config injector.yaml | kubectl apply -f -")
	}
	return ok(fmt.Sprintf("approver-policy decides, by %d policies that are made of the injector's configuration", len(list.Items)))
}
