package check

// The webhook, from its registration to a pod that comes out injected.

import (
	"context"
	"fmt"
	"strings"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/cmd/internal/smoketest"
	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
	"example.io/mtls-injector/webhook"
)

const (
	whatRegistration = "the webhook's registration"
	injectAnnotation = "cert-manager.io/inject-ca-from"
)

// hook is the webhook for pods, as it is registered.
type hook struct {
	configuration *admissionv1.MutatingWebhookConfiguration
	*admissionv1.MutatingWebhook
}

// registered finds it; the outcomes say why there is none.
func (s *site) registered(ctx context.Context) (*hook, []Outcome) {
	var list admissionv1.MutatingWebhookConfigurationList
	answer, err := s.ReadAll(ctx, &list, "", whatRegistration)
	if hidden := s.known(answer, err, whatRegistration); hidden != nil {
		return nil, hidden
	}
	for i := range list.Items {
		for j := range list.Items[i].Webhooks {
			h := &hook{&list.Items[i], &list.Items[i].Webhooks[j]}
			if service := h.ClientConfig.Service; service != nil && service.Path != nil && *service.Path == webhook.PodPath {
				return h, nil
			}
		}
	}
	return nil, failure("no MutatingWebhookConfiguration has a webhook with the path "+webhook.PodPath, "install mtls-injector with its chart")
}

func (s *site) webhook(ctx context.Context) []Outcome {
	h, missing := s.registered(ctx)
	if missing != nil {
		return missing
	}
	var outcomes []Outcome
	from, byCertManager := h.configuration.Annotations[injectAnnotation]
	remedy := "the injector writes it itself: see its logs"
	if byCertManager {
		remedy = "cert-manager's CA injector takes it from Certificate " + from + ": see that both are well"
	}
	switch end, err := trusted(string(h.ClientConfig.CABundle), s.now); {
	case len(h.ClientConfig.CABundle) == 0:
		return failure("MutatingWebhookConfiguration "+h.configuration.Name+" has no caBundle, so the API server cannot call the webhook", remedy)
	case err != nil:
		return failure("caBundle of MutatingWebhookConfiguration "+h.configuration.Name+": "+err.Error(), remedy)
	case end.Sub(s.now) < soon:
		outcomes = warning("its caBundle ends in "+duration.HumanDuration(end.Sub(s.now)), remedy)
	default:
		outcomes = ok(fmt.Sprintf("MutatingWebhookConfiguration %s; its caBundle ends in %s", h.configuration.Name, duration.HumanDuration(end.Sub(s.now))))
	}
	if h.FailurePolicy != nil && *h.FailurePolicy == admissionv1.Ignore {
		outcomes = append(outcomes, warning("failurePolicy is Ignore: pods come out as they are while the webhook cannot be reached",
			"helm upgrade … --set webhook.pods.failurePolicy=Fail")...)
	}
	return append(outcomes, s.notSelected(h)...)
}

// notSelected finds namespaces that the configuration takes for opted in, and the webhook's
// registration does not.
func (s *site) notSelected(h *hook) []Outcome {
	selector, err := metav1.LabelSelectorAsSelector(h.NamespaceSelector)
	if err != nil || h.NamespaceSelector == nil {
		return nil
	}
	var left []string
	for i := range s.namespaces {
		if !selector.Matches(labels.Set(s.namespaces[i].Labels)) {
			left = append(left, s.namespaces[i].Name)
		}
	}
	if len(left) == 0 {
		return nil
	}
	return warning("opted in, and never injected: "+some(left),
		"the webhook leaves out kube-system, cert-manager's namespaces, its own and excludedNamespaces: take the label off these")
}

func (s *site) webhookCertificate(ctx context.Context) []Outcome {
	h, missing := s.registered(ctx)
	if missing != nil {
		return missing
	}
	namespace, name, byCertManager := strings.Cut(h.configuration.Annotations[injectAnnotation], "/")
	if !byCertManager {
		return ok("the injector makes it itself, and renews it")
	}
	what := fmt.Sprintf("Certificate %s/%s", namespace, name)
	var cert cmapi.Certificate
	answer, err := s.Read(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &cert, what)
	if hidden := s.known(answer, err, what); hidden != nil {
		return hidden
	}
	describe := fmt.Sprintf("kubectl -n %s describe certificate %s", namespace, name)
	end := cert.Status.NotAfter
	switch {
	case answer == kube.Absent:
		return failure("there is no "+what, "helm upgrade makes it again")
	case end != nil && !s.now.Before(end.Time):
		return failure(fmt.Sprintf("%s expired %s ago", what, duration.HumanDuration(s.now.Sub(end.Time))), describe)
	case !isReady(&cert):
		return failure(what+" is not ready: "+readyMessage(&cert), describe)
	case end == nil:
		return ok(what)
	case cert.Status.RenewalTime != nil && s.now.After(cert.Status.RenewalTime.Add(waitsTooLong)):
		return warning(what+" was to be renewed, and ends in "+duration.HumanDuration(end.Sub(s.now)), describe)
	}
	return ok(fmt.Sprintf("%s ends in %s", what, duration.HumanDuration(end.Sub(s.now))))
}

func isReady(cert *cmapi.Certificate) bool {
	for _, c := range cert.Status.Conditions {
		if c.Type == cmapi.CertificateConditionReady {
			return string(c.Status) == string(metav1.ConditionTrue)
		}
	}
	return false
}

func readyMessage(cert *cmapi.Certificate) string {
	for _, c := range cert.Status.Conditions {
		if c.Type == cmapi.CertificateConditionReady {
			return c.Message
		}
	}
	return "cert-manager has not looked at it"
}

// injection creates a pod as a dry run.
func (s *site) injection(ctx context.Context) []Outcome {
	namespace, found := s.namespaceToTry()
	if !found {
		return notKnown("no namespace that is opted in can be seen: name one with -n")
	}
	pod := smoketest.Pod(namespace, "default")
	err := s.Create(ctx, pod, client.DryRunAll)
	came := err == nil && smoketest.HasTrace(pod)
	s.answered = &came
	switch {
	case err != nil:
		return s.whyNot(err, namespace)
	case !came:
		return failure("in namespace "+namespace+" a pod comes out as it went in: the webhook was not called",
			"is it registered for the namespace, and its failurePolicy Fail? kubectl get mutatingwebhookconfigurations -o yaml")
	}
	judged := smoketest.Judge(pod, namespace, "default")
	if len(judged.Bad) > 0 {
		return failure("in namespace "+namespace+" a pod comes out, but "+strings.Join(judged.Bad, "; "), "what answers is another version, or another webhook has changed the pod after it")
	}
	return ok("in namespace " + namespace + ": " + judged.Summary)
}

// namespaceToTry prefers the one of -n.
func (s *site) namespaceToTry() (string, bool) {
	for i := range s.namespaces {
		if s.namespaces[i].Name == s.Namespace {
			return s.Namespace, true
		}
	}
	for i := range s.namespaces {
		if !strings.HasPrefix(s.namespaces[i].Name, "kube-") {
			return s.namespaces[i].Name, true
		}
	}
	return "", false
}

// whyNot says why the pod was not created.
func (s *site) whyNot(err error, namespace string) []Outcome {
	text := err.Error()
	switch {
	case isNotCalled(err) && strings.Contains(text, "x509:"):
		return failure("the API server does not trust the webhook's certificate: "+text,
			"the caBundle of the registration must have signed it: see the checks above")
	case isNotCalled(err) && (strings.Contains(text, "deadline exceeded") || strings.Contains(text, "timeout")):
		return failure("the webhook does not answer in time: "+text, s.portsRemedy())
	case isNotCalled(err):
		return failure("the webhook cannot be reached: "+text, "see that the injector's pods run, and that its Service has endpoints")
	case apierrors.IsForbidden(err) && strings.Contains(text, "cannot create resource"):
		return notKnown(fmt.Sprintf("you may not create pods in namespace %q, not even as a dry run", namespace))
	case strings.Contains(text, "denied the request"):
		return failure("in namespace "+namespace+" a plain server is refused: "+text, "see the annotations of the namespace, and the configuration")
	default:
		return warning("in namespace "+namespace+" the pod is not taken: "+text, "the namespace's own rules refuse it: name another with -n")
	}
}

func (s *site) portsRemedy() string {
	for _, o := range s.ports(context.Background()) {
		if o.Remedy != "" {
			return o.Message + ": " + o.Remedy
		}
	}
	return "see that the control plane may reach the webhook's port: NetworkPolicy, firewall"
}
