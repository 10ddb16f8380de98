package survey

import (
	"context"
	"errors"
	"strings"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/certs"
	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
	"example.io/mtls-injector/intent"
)

// podPage is how many pods are asked for at a time.
const podPage = 500

// errNothing is for a user who may see neither pods nor workloads.
var errNothing = errors.New("you may see neither pods nor workloads there")

// identity is who a workload is, without the version of its API.
type identity struct{ namespace, group, kind, name string }

func identityOf(namespace string, w intent.Workload) identity {
	return identity{namespace, schema.FromAPIVersionAndKind(w.APIVersion, w.Kind).Group, w.Kind, w.Name}
}

// findings are what the cluster has, before anything is decided.
type findings struct {
	cluster    *kube.Cluster
	namespace  string
	namespaces map[string]*kube.Surroundings
	byIdentity map[identity]*Workload
	companions map[client.ObjectKey]*cmapi.Certificate

	podsKnown, workloadsKnown, certificatesKnown bool
	since                                        time.Time
}

func read(ctx context.Context, c *kube.Cluster, namespace string) (*findings, error) {
	f := &findings{
		cluster: c, namespace: namespace, namespaces: map[string]*kube.Surroundings{},
		byIdentity: map[identity]*Workload{}, companions: map[client.ObjectKey]*cmapi.Certificate{},
	}
	for _, step := range []func(context.Context) error{f.readNamespaces, f.readTemplates, f.readPods, f.readCertificates, f.readSince} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	if !f.podsKnown && !f.workloadsKnown {
		return nil, errNothing
	}
	return f, nil
}

func (f *findings) readNamespaces(ctx context.Context) (err error) {
	if f.namespace == "" {
		f.namespaces, err = f.cluster.AroundAll(ctx)
		return err
	}
	f.namespaces[f.namespace], err = f.cluster.Around(ctx, f.namespace)
	return err
}

func (f *findings) readTemplates(ctx context.Context) error {
	for _, k := range kinds {
		list := k.list()
		answer, err := f.cluster.ReadAll(ctx, list, f.namespace, "what the templates of "+k.kind+"s ask for, and those without pods")
		if err != nil {
			return err
		}
		f.workloadsKnown = f.workloadsKnown || answer == kube.Found
		err = meta.EachListItem(list, func(o runtime.Object) error {
			if object, ok := o.(client.Object); ok {
				f.addTemplate(k, object)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *findings) addTemplate(k kind, object client.Object) {
	said := describe(object)
	if said == nil || object.GetDeletionTimestamp() != nil {
		return
	}
	w := f.workload(object.GetNamespace(), intent.Workload{APIVersion: k.apiVersion, Kind: k.kind, Name: object.GetName()})
	w.template, w.ByHand = podOf(said.template), said.byHand
}

// workload returns the one of that identity.
func (f *findings) workload(namespace string, who intent.Workload) *Workload {
	id := identityOf(namespace, who)
	w := f.byIdentity[id]
	if w == nil {
		w = &Workload{Workload: who, Namespace: namespace, ByHand: !isRestartable(id)}
		f.byIdentity[id] = w
	}
	if f.namespaces[namespace] == nil {
		f.namespaces[namespace] = kube.Unknown(namespace)
	}
	return w
}

// isRestartable reports whether `kubectl rollout restart` knows the kind.
func isRestartable(id identity) bool {
	return id.group == appsv1.GroupName && (id.kind == "Deployment" || id.kind == "StatefulSet" || id.kind == "DaemonSet")
}

func (f *findings) readPods(ctx context.Context) error {
	for next := ""; ; {
		var page corev1.PodList
		answer, err := f.cluster.ReadAll(ctx, &page, f.namespace, "which pods there are, and whether they are injected",
			client.Limit(podPage), client.Continue(next))
		if err != nil || answer != kube.Found {
			return err
		}
		for i := range page.Items {
			if pod := &page.Items[i]; isAlive(pod) && f.mayConcern(pod) {
				w := f.workload(pod.Namespace, intent.WorkloadOfPod(pod))
				w.pods = append(w.pods, pod)
			}
		}
		if next = page.Continue; next == "" {
			f.podsKnown = true
			break
		}
	}
	for _, w := range f.byIdentity {
		newestFirst(w.pods)
	}
	return nil
}

// mayConcern reports whether there is anything of ours about the pod: in a whole cluster most
// pods have nothing.
func (f *findings) mayConcern(pod *corev1.Pod) bool {
	if intent.Concerns(pod.Annotations) || isInjected(pod) || f.byIdentity[identityOf(pod.Namespace, intent.WorkloadOfPod(pod))] != nil {
		return true
	}
	around := f.namespaces[pod.Namespace]
	return around != nil && intent.Concerns(around.Namespace.Annotations)
}

func (f *findings) readCertificates(ctx context.Context) error {
	var list cmapi.CertificateList
	answer, err := f.cluster.ReadAll(ctx, &list, f.namespace, "the companion Certificates: whether they are ready, and when they end")
	if err != nil {
		return err
	}
	f.certificatesKnown = answer == kube.Found
	for i := range list.Items {
		cert := &list.Items[i]
		f.companions[client.ObjectKeyFromObject(cert)] = cert
	}
	for _, w := range f.byIdentity {
		w.Companion = f.companions[client.ObjectKey{Namespace: w.Namespace, Name: intent.CompanionName(w.Workload)}]
	}
	return nil
}

// readSince finds when the webhook was registered. It makes an answer more exact, so not to
// know it is no gap.
func (f *findings) readSince(ctx context.Context) error {
	var list admissionv1.MutatingWebhookConfigurationList
	if err := f.cluster.List(ctx, &list, client.MatchingLabels{"app.kubernetes.io/name": kube.Product}); err == nil && len(list.Items) == 1 {
		f.since = list.Items[0].CreationTimestamp.Time
	}
	return nil
}

// workloads returns all that were found.
func (f *findings) workloads() []*Workload {
	all := make([]*Workload, 0, len(f.byIdentity))
	for _, w := range f.byIdentity {
		all = append(all, w)
	}
	return all
}

// leftOver returns the companions of workloads that were not found, as workloads without
// pods. Where workloads are hidden nothing can be said.
func (f *findings) leftOver() []*Workload {
	if !f.podsKnown || !f.workloadsKnown {
		return nil
	}
	var left []*Workload
	known := map[*cmapi.Certificate]bool{}
	for _, w := range f.byIdentity {
		known[w.Companion] = true
	}
	for _, cert := range f.companions {
		kind, name, ok := strings.Cut(cert.Annotations[certs.LabelWorkload], "/")
		if known[cert] || !isOurs(cert) || !ok {
			continue
		}
		gk := schema.ParseGroupKind(kind)
		w := f.workload(cert.Namespace, intent.Workload{APIVersion: schema.GroupVersion{Group: gk.Group, Version: "v1"}.String(), Kind: gk.Kind, Name: name})
		w.Companion, w.OptedIn, w.Result = cert, true, intent.Result{Skip: intent.SkipNoRole}
		left = append(left, w)
	}
	return left
}
