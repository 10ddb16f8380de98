package app

// Why the smoke test's pod did not come out injected, and what to do about it.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"example.io/mtls-injector/cmd/internal/smoketest"
	"example.io/mtls-injector/intent"
	"example.io/mtls-injector/webhook"
)

const (
	seeConfigurations = "see: kubectl get mutatingwebhookconfigurations"
	// The API server has no reasons of its own for these (k8s.io/apiserver,
	// pkg/admission/plugin/webhook, and pkg/endpoints/handlers/responsewriters).
	textNotCalled = "failed calling webhook"
	textDenied    = "denied the request"
	textNoRight   = "cannot create resource"
)

// explain says why the pod was not created.
func (t *smokeTest) explain(err error) *notInjectedError {
	text := err.Error()
	var status apierrors.APIStatus
	switch isStatus := errors.As(err, &status); {
	case !isStatus:
		return &notInjectedError{what: "the API server cannot be reached: " + text, passing: true, remedy: "see --kubeconfig, and that the network lets this program through"}
	case strings.Contains(text, textNotCalled):
		return &notInjectedError{what: "the webhook cannot be reached: " + text, passing: isPassing(err), remedy: unreachable}
	case apierrors.IsUnauthorized(err):
		return &notInjectedError{what: "the API server does not know who asks: " + text, remedy: "see the credentials that --kubeconfig names"}
	case apierrors.IsForbidden(err) && strings.Contains(text, textNoRight):
		return &notInjectedError{what: "no right to create pods: " + text, remedy: fmt.Sprintf("a dry run needs the right, too: "+
			"kubectl -n %s create role %s --verb=create --resource=pods, and a RoleBinding to it", t.namespace, smoketest.Name)}
	case strings.Contains(text, textDenied):
		return &notInjectedError{what: "the pod is refused: " + text, remedy: "every such pod of namespace " + t.namespace + " is: " +
			"see its annotations and the injector's configuration"}
	case apierrors.IsNotFound(err):
		return &notInjectedError{what: "there is no such namespace: " + text, remedy: fmt.Sprintf(
			"make it, and opt it in: kubectl create namespace %s && kubectl label namespace %[1]s %s=true", t.namespace, intent.LabelEnabled)}
	case apierrors.IsForbidden(err):
		return &notInjectedError{what: "the cluster's own rules refuse the pod: " + text, remedy: "see --service-account, and the namespace's quotas and policies"}
	default:
		return &notInjectedError{what: "the API server does not take the pod: " + text, passing: isPassing(err)}
	}
}

const unreachable = "look at these: that the injector runs and is ready; that the Service of the webhook configuration has endpoints; that its caBundle\n" +
	"signed the webhook's serving certificate; and that the control plane may reach the nodes on the webhook's port (firewall, NetworkPolicy).\n" +
	seeConfigurations

const seeOthers = "what answers in the webhook's place is not mtls-injector in a version that this program knows, or another webhook has changed\n" +
	"the pod after it; " + seeConfigurations

// hook is a webhook that is registered for pods.
type hook struct {
	configuration string
	admissionv1.MutatingWebhook
}

// selector is the hook's of namespaces; a nil one selects all.
func (h *hook) selector() labels.Selector { return selectorOf(h.NamespaceSelector) }

func selectorOf(selector *metav1.LabelSelector) labels.Selector {
	if selector == nil {
		return labels.Everything()
	}
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return labels.Nothing() // which the API server does not let in
	}
	return s
}

func (h *hook) String() string {
	return fmt.Sprintf("webhook %s of MutatingWebhookConfiguration %s", h.Name, h.configuration)
}

// hooks returns the injector's: those whose path is that of pods.
func (t *smokeTest) hooks(ctx context.Context) ([]hook, error) {
	list, err := t.admission.MutatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var found []hook
	for i := range list.Items {
		for j := range list.Items[i].Webhooks {
			if h := &list.Items[i].Webhooks[j]; pathOf(&h.ClientConfig) == webhook.PodPath {
				found = append(found, hook{list.Items[i].Name, *h})
			}
		}
	}
	return found, nil
}

func pathOf(config *admissionv1.WebhookClientConfig) string {
	if config.Service != nil && config.Service.Path != nil {
		return *config.Service.Path
	}
	if config.URL == nil {
		return ""
	}
	parsed, err := url.Parse(*config.URL)
	if err != nil {
		return ""
	}
	return parsed.Path
}

// whyNotCalled looks for what keeps the API server from calling the webhook. Only a namespace
// that is not opted in is sure to stay so.
func (t *smokeTest) whyNotCalled(ctx context.Context) *notInjectedError {
	const what = "the pod comes out as it went in: "
	hooks, err := t.hooks(ctx)
	if err != nil {
		return &notInjectedError{passing: true, what: what + "the webhook was not called", remedy: fmt.Sprintf(
			"is namespace %s opted in (kubectl label namespace %[1]s %s=true)? Is the webhook registered (%s)? This account may not look: %v",
			t.namespace, intent.LabelEnabled, seeConfigurations, err)}
	}
	if len(hooks) == 0 {
		return &notInjectedError{passing: true, what: what + "no MutatingWebhookConfiguration has a webhook with the path " + webhook.PodPath,
			remedy: "install mtls-injector; " + seeConfigurations}
	}
	ns, err := t.core.Namespaces().Get(ctx, t.namespace, metav1.GetOptions{})
	if err != nil {
		return &notInjectedError{passing: true, what: what + hooks[0].String() + " was not called", remedy: fmt.Sprintf(
			"it selects namespaces with %s; whether %s is one, this account may not look: %v", hooks[0].selector(), t.namespace, err)}
	}
	selecting := slices.IndexFunc(hooks, func(h hook) bool { return h.selector().Matches(labels.Set(ns.Labels)) })
	if selecting < 0 {
		return t.notOptedIn(&hooks[0], ns.Labels)
	}
	return t.notCalled(&hooks[selecting])
}

// notOptedIn tells how to opt the namespace in.
func (t *smokeTest) notOptedIn(h *hook, have map[string]string) *notInjectedError {
	var set []string
	for _, key := range slices.Sorted(maps.Keys(h.NamespaceSelector.MatchLabels)) {
		if value := h.NamespaceSelector.MatchLabels[key]; have[key] != value {
			set = append(set, key+"="+value)
		}
	}
	remedy := "give it labels that match"
	if len(set) > 0 {
		remedy = "kubectl label --overwrite namespace " + t.namespace + " " + strings.Join(set, " ")
	}
	return &notInjectedError{
		what:   fmt.Sprintf("namespace %s is not opted in: %s selects namespaces with %s", t.namespace, h, h.selector()),
		remedy: remedy,
	}
}

// notCalled tells what can keep a webhook that selects the namespace from being called.
func (t *smokeTest) notCalled(h *hook) *notInjectedError {
	what := "the pod comes out as it went in: " + h.String()
	switch pod := smoketest.Pod(t.namespace, t.serviceAccount); {
	case !selectorOf(h.ObjectSelector).Matches(labels.Set(pod.Labels)):
		return &notInjectedError{passing: true, what: fmt.Sprintf("%s takes pods with %s only", what, selectorOf(h.ObjectSelector)),
			remedy: "see its objectSelector: the smoke test's pod has " + labels.Set(pod.Labels).String()}
	case h.FailurePolicy != nil && *h.FailurePolicy == admissionv1.Ignore:
		return &notInjectedError{passing: true, what: what + " lets pods pass while it cannot be reached (failurePolicy: Ignore)", remedy: unreachable}
	default:
		return &notInjectedError{passing: true, what: what + " selects the namespace and was not called", remedy: "see its rules and matchConditions; it may also have been made this moment"}
	}
}
