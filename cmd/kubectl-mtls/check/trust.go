package check

// What pods trust, and who signs for them.

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/duration"
	certutil "k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
	"example.io/mtls-injector/intent"
)

const (
	trustGroup   = "trust.cert-manager.io"
	installTrust = "install trust-manager: https://cert-manager.io/docs/trust/trust-manager/installation/, or see to the ConfigMaps in another way"
	// soon is when somebody should look after what ends.
	soon = 14 * 24 * time.Hour
)

func (s *site) trustManager(ctx context.Context) []Outcome {
	if !s.has(trustGroup, "Bundle") {
		return warning("the API server does not have Bundle: trust-manager is not installed", installTrust)
	}
	return s.runs(ctx, workload{byName("trust-manager"), "trust-manager"})
}

// notConfigured is the outcome of checks that need the configuration.
func (s *site) notConfigured() []Outcome {
	switch {
	case s.config == nil:
		return notKnown("the injector's configuration is wrong")
	case !s.config.Known:
		return notKnown("the injector's configuration is not known: " + s.config.Source)
	}
	return nil
}

func (s *site) bundle(ctx context.Context) []Outcome {
	if missing := s.notConfigured(); missing != nil {
		return missing
	}
	want := s.config.Defaults.CABundle
	if want.Kind == intent.BundleClusterTrustBundle {
		return s.clusterTrustBundle(ctx, want.Name)
	}
	bundle, served := s.object(trustGroup, "Bundle")
	if !served {
		return notKnown("there is no trust-manager that would sync it")
	}
	const what = "the Bundle"
	answer, err := s.Read(ctx, client.ObjectKey{Name: want.Name}, bundle, what)
	if hidden := s.known(answer, err, what); hidden != nil {
		return hidden
	}
	if answer == kube.Absent {
		return warning("there is no Bundle "+want.Name+", so somebody else must write the ConfigMaps of that name",
			"see trust.bundle of the chart, and docs/trust.md")
	}
	status, message := conditionOf(bundle, "Synced")
	if status != string(corev1.ConditionTrue) {
		return failure(fmt.Sprintf("Bundle %s is not synced: %s", want.Name, message), "kubectl describe bundle "+want.Name)
	}
	return ok("Bundle " + want.Name)
}

func (s *site) clusterTrustBundle(ctx context.Context, name string) []Outcome {
	bundle, served := s.object("certificates.k8s.io", "ClusterTrustBundle")
	if !served {
		return failure("the API server has no ClusterTrustBundle", "turn its feature gates on, or use a ConfigMap")
	}
	const what = "the ClusterTrustBundle"
	answer, err := s.Read(ctx, client.ObjectKey{Name: name}, bundle, what)
	if hidden := s.known(answer, err, what); hidden != nil {
		return hidden
	}
	if answer == kube.Absent {
		return failure("there is no ClusterTrustBundle "+name, "make it, or name another in config.caBundle.name")
	}
	return ok("ClusterTrustBundle " + name)
}

// conditionOf returns a condition's status, and its reason and message.
func conditionOf(object *unstructured.Unstructured, kind string) (status, message string) {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, c := range conditions {
		if m, isMap := c.(map[string]any); isMap && m["type"] == kind {
			status, _ := m["status"].(string)
			reason, _ := m["reason"].(string)
			message, _ := m["message"].(string)
			return status, strings.TrimPrefix(reason+": "+message, ": ")
		}
	}
	return "", "its controller has said nothing of it yet"
}

func (s *site) bundleInNamespaces(ctx context.Context) []Outcome {
	if missing := s.notConfigured(); missing != nil {
		return missing
	}
	want := s.config.Defaults.CABundle
	if want.Kind == intent.BundleClusterTrustBundle {
		return ok("a ClusterTrustBundle is in none")
	}
	if len(s.namespaces) == 0 {
		return notKnown("no namespace that is opted in can be seen")
	}
	var outcomes []Outcome
	good := 0
	for i := range s.namespaces {
		if found := s.bundleIn(ctx, s.namespaces[i].Name, want); found != nil {
			outcomes = append(outcomes, found...)
			continue
		}
		good++
	}
	if good > 0 {
		outcomes = append(ok(fmt.Sprintf("ConfigMap %s is in %d of %d", want.Name, good, len(s.namespaces))), outcomes...)
	}
	return outcomes
}

// bundleIn returns nil if all is well.
func (s *site) bundleIn(ctx context.Context, namespace string, want intent.Bundle) []Outcome {
	what := fmt.Sprintf("ConfigMap %s in namespace %s", want.Name, namespace)
	var object corev1.ConfigMap
	answer, err := s.Read(ctx, client.ObjectKey{Namespace: namespace, Name: want.Name}, &object, what)
	if hidden := s.known(answer, err, what); hidden != nil {
		return hidden
	}
	if answer == kube.Absent {
		return failure(what+" is missing", "see why: kubectl describe bundle "+want.Name+" (its target.namespaceSelector must select the namespace)")
	}
	_, problem := trusted(object.Data[want.Key], s.now)
	if problem != nil {
		return failure(fmt.Sprintf("%s, key %s: %v", what, want.Key, problem), "see the sources of the Bundle, and config.caBundle.key")
	}
	return nil
}

// trusted returns when the last of the certificates ends. That none is valid is an error.
func trusted(pem string, now time.Time) (time.Time, error) {
	if pem == "" {
		return time.Time{}, errors.New("there is nothing in it")
	}
	all, err := certutil.ParseCertsPEM([]byte(pem))
	if err != nil {
		return time.Time{}, err
	}
	last := slices.MaxFunc(all, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) }).NotAfter
	if !now.Before(last) {
		return last, fmt.Errorf("all of its certificates have expired, the last %s ago", duration.HumanDuration(now.Sub(last)))
	}
	return last, nil
}

func (s *site) issuer(ctx context.Context) []Outcome {
	if missing := s.notConfigured(); missing != nil {
		return missing
	}
	return s.issuerReady(ctx, s.config.Defaults.Issuer, labels.Everything(), Failure)
}

func (s *site) allowedIssuers(ctx context.Context) []Outcome {
	if missing := s.notConfigured(); missing != nil {
		return missing
	}
	var outcomes []Outcome
	for _, rule := range s.config.Defaults.AllowedIssuers {
		issuer := intent.Issuer{Name: rule.Name, Kind: rule.Kind, Group: rule.Group}
		if strings.ContainsAny(rule.Name, `*?[\`) {
			outcomes = append(outcomes, ok(issuer.String()+": any of these")...)
			continue
		}
		outcomes = append(outcomes, s.issuerReady(ctx, issuer, rule.Namespaces, Warning)...)
	}
	if len(outcomes) == 0 {
		return ok("no others are allowed")
	}
	return outcomes
}

// issuerReady says whether the issuer is ready: one of a namespace, in each namespace that is
// selected.
func (s *site) issuerReady(ctx context.Context, issuer intent.Issuer, namespaces labels.Selector, otherwise Status) []Outcome {
	kind, served := s.object(issuer.Group, issuer.Kind)
	if !served {
		return []Outcome{{otherwise, issuer.String() + ": the API server has no such kind", "install what brings it, or name another issuer in config.issuer"}}
	}
	mapping, err := s.RESTMapper().RESTMapping(kind.GroupVersionKind().GroupKind(), kind.GroupVersionKind().Version)
	if err != nil {
		return failure("cannot be checked: "+err.Error(), "")
	}
	if mapping.Scope.Name() == "root" {
		return s.issuerAt(ctx, kind, issuer, "", otherwise)
	}
	var outcomes []Outcome
	for i := range s.namespaces {
		if namespaces.Matches(labels.Set(s.namespaces[i].Labels)) {
			outcomes = append(outcomes, s.issuerAt(ctx, kind.DeepCopy(), issuer, s.namespaces[i].Name, otherwise)...)
		}
	}
	if len(outcomes) == 0 {
		return notKnown(issuer.String() + ": no namespace that is opted in can be seen")
	}
	return outcomes
}

func (s *site) issuerAt(ctx context.Context, object *unstructured.Unstructured, issuer intent.Issuer, namespace string, otherwise Status) []Outcome {
	what, at, flag := issuer.String(), "", ""
	if namespace != "" {
		at, flag = " in namespace "+namespace, "-n "+namespace+" "
	}
	what += at
	answer, err := s.Read(ctx, client.ObjectKey{Namespace: namespace, Name: issuer.Name}, object, what)
	if hidden := s.known(answer, err, what); hidden != nil {
		return hidden
	}
	if answer == kube.Absent {
		return []Outcome{{otherwise, "there is no " + what, "make it, or name another in config.issuer"}}
	}
	status, message := conditionOf(object, "Ready")
	if status != string(corev1.ConditionTrue) {
		return []Outcome{{otherwise, what + " is not ready: " + message,
			fmt.Sprintf("kubectl %sdescribe %s %s", flag, strings.ToLower(issuer.Kind), issuer.Name)}}
	}
	return ok(what)
}
