// Package survey finds out what there is in a cluster of pods that are to speak mutual TLS:
// the workloads, what each would get today, what its pods have got, and its companion
// Certificate. It decides nothing by itself: [intent.Resolve] says what a pod is,
// [injector.Patch] what it lacks, and the package certs in which state a companion is.
//
// survey.go says what comes out and puts it together; read.go asks the cluster; templates.go
// knows the built-in kinds of workloads; pods.go compares pods with what they would get.
package survey

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"

	"example.io/mtls-injector/certs"
	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
	"example.io/mtls-injector/intent"
)

// Survey is what was found.
type Survey struct {
	Configuration *kube.Configuration
	// Namespaces are the surroundings of the workloads, by name.
	Namespaces map[string]*kube.Surroundings
	// Workloads have something of ours, or should have. They are sorted by namespace, name
	// and kind.
	Workloads []*Workload
	// CertificatesKnown says whether the user may see companions.
	CertificatesKnown bool
	// Since is when the webhook was registered; zero where that cannot be known.
	Since time.Time
}

// Workload is a workload or a bare pod.
type Workload struct {
	intent.Workload

	Namespace string
	// OptedIn says whether the API server asks the webhook about its pods; it is taken for
	// granted where the user may not read the Namespace.
	OptedIn bool
	// Result is what a pod of the workload would get today.
	Result intent.Result
	// Pods are those that are alive and to be injected or injected, the newest first.
	Pods []Pod
	// Companion has the name of the workload's companion; it need not be ours. Nil: there is
	// none, or it cannot be known.
	Companion *cmapi.Certificate
	// ByHand says that restarting the workload does not replace its pods: its update strategy
	// is OnDelete, or it is of a kind that has none.
	ByHand bool

	template *intent.Pod
	pods     []*corev1.Pod
}

// Intent is what a pod of the workload would get today; nil if it would be skipped or
// refused.
func (w *Workload) Intent() *intent.Intent { return w.Result.Intent }

// Count returns how many of the pods are in the state.
func (w *Workload) Count(state PodState) int { return len(w.Named(state)) }

// Named returns the names of the pods that are in the state.
func (w *Workload) Named(state PodState) []string {
	var names []string
	for i := range w.Pods {
		if w.Pods[i].State == state {
			names = append(names, w.Pods[i].Name)
		}
	}
	slices.Sort(names)
	return names
}

// HasCompanion reports whether the companion is there and ours.
func (w *Workload) HasCompanion() bool { return w.Companion != nil && isOurs(w.Companion) }

// CompanionState says how far the companion is; it is empty where there is none.
func (w *Workload) CompanionState() certs.State {
	switch {
	case w.Companion == nil:
		return ""
	case !isOurs(w.Companion):
		return certs.StateTaken
	default:
		return certs.StateOf(w.Companion)
	}
}

func isOurs(cert *cmapi.Certificate) bool {
	return cert.Labels[intent.LabelManagedBy] == intent.ManagedBy
}

// Take surveys a namespace, or all if it is empty. What the user may not read is in the
// cluster's gaps.
func Take(ctx context.Context, c *kube.Cluster, namespace string) (*Survey, error) {
	configuration, err := c.Configuration(ctx)
	if err != nil {
		return nil, err
	}
	found, err := read(ctx, c, namespace)
	if err != nil {
		return nil, err
	}
	s := &Survey{
		Configuration: configuration, Namespaces: found.namespaces,
		CertificatesKnown: found.certificatesKnown, Since: found.since,
	}
	for _, w := range found.workloads() {
		around := s.Namespaces[w.Namespace]
		s.decide(w, around)
		if w.concernsUs(around) {
			s.Workloads = append(s.Workloads, w)
		}
	}
	s.Workloads = append(s.Workloads, found.leftOver()...)
	slices.SortFunc(s.Workloads, func(a, b *Workload) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name), strings.Compare(a.Kind, b.Kind))
	})
	return s, nil
}

// decide says what the workload's pods would get, and what they lack of it.
func (s *Survey) decide(w *Workload, around *kube.Surroundings) {
	defaults := s.Configuration.Defaults
	optedIn, known := around.OptedIn(defaults)
	w.OptedIn = optedIn || !known
	resolve := func(pod *intent.Pod) intent.Result {
		return intent.Resolve(defaults, &around.Namespace, pod, around.Services)
	}
	switch {
	case w.decidedByTemplate(around):
		w.Result = resolve(w.asTemplate())
	case len(w.pods) > 0:
		w.Result = resolve(intent.PodOf(w.pods[0]))
	default:
		w.Result = intent.Result{Skip: intent.SkipNoRole}
	}
	exact := known && around.ServicesKnown && s.Configuration.Known
	for _, pod := range w.pods {
		result := w.Result
		if !w.decidedByTemplate(around) {
			result = resolve(intent.PodOf(pod))
		}
		if compared, ok := compare(pod, &result, w.OptedIn); ok {
			if compared.State == Stale && !exact {
				compared.State, compared.Lacks = Injected, nil // what is hidden may well have it so
			}
			w.Pods = append(w.Pods, compared)
		}
	}
}

// decidedByTemplate reports whether the template says what the pods get, as it does for the
// companion (decision 11): where neither it nor the namespace says anything of ours, another
// webhook has, and the pods decide.
func (w *Workload) decidedByTemplate(around *kube.Surroundings) bool {
	return w.template != nil &&
		(intent.Concerns(w.template.Metadata.Annotations) || intent.Concerns(around.Namespace.Annotations) || len(w.pods) == 0)
}

// asTemplate returns the pod that the workload's controller would create, with the labels
// that the newest of its pods has: they decide which Services select it.
func (w *Workload) asTemplate() *intent.Pod {
	pod := w.PodOf(w.template)
	pod.Metadata.Namespace = w.Namespace
	if len(w.pods) > 0 {
		pod.Metadata.Labels = w.pods[0].Labels
		pod.Metadata.OwnerReferences = intent.PodOf(w.pods[0]).Metadata.OwnerReferences
	}
	return pod
}

// concernsUs reports whether there is anything to tell. In a namespace that is not opted in
// there is where the workload itself asks for a role: somebody takes it for opted in.
func (w *Workload) concernsUs(around *kube.Surroundings) bool {
	switch {
	case len(w.Pods) > 0 || w.HasCompanion():
		return true
	case w.Result.Skip != "":
		return false
	case w.OptedIn:
		return true
	}
	return w.asks(around)
}

// asks reports whether the workload itself, and not just its namespace, asks for a role.
func (w *Workload) asks(around *kube.Surroundings) bool {
	annotations := map[string]string{}
	switch {
	case w.decidedByTemplate(around):
		annotations = w.template.Metadata.Annotations
	case len(w.pods) > 0:
		annotations = w.pods[0].Annotations
	}
	return annotations[intent.Prefix+"role"] != ""
}

// String returns "Kind/name".
func (w *Workload) String() string { return w.Workload.String() }

// Place names the workload with its namespace.
func (w *Workload) Place() string { return fmt.Sprintf("%s/%s", w.Namespace, w.Workload) }
