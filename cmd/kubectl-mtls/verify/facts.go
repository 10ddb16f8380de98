package verify

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
	"example.io/mtls-injector/cmd/kubectl-mtls/verify/diagnose"
	"example.io/mtls-injector/intent"
)

// facts are what is known of the pod.
type facts struct {
	diagnose.Facts

	namespace     string
	issuer        intent.Issuer
	services      []corev1.Service
	configuration string
}

// learn asks the cluster what the pod is, what it trusts and what it was given.
func (o *Options) learn(ctx context.Context, pod *corev1.Pod) (*facts, error) {
	around, err := o.cluster.Around(ctx, pod.Namespace)
	if err != nil {
		return nil, err
	}
	configuration, err := o.cluster.Configuration(ctx)
	if err != nil {
		return nil, err
	}
	if !configuration.Known {
		configuration.Defaults = asGiven(configuration.Defaults, pod)
	}
	f := &facts{namespace: pod.Namespace, issuer: configuration.Defaults.Issuer, configuration: configuration.Source}
	f.Software = softwareOf(pod)
	f.resolve(configuration.Defaults, around, pod)
	if f.services, err = o.servicesOf(ctx, pod, around); err != nil {
		return nil, err
	}
	if err := o.learnBundle(ctx, f, pod, configuration.Defaults); err != nil {
		return nil, err
	}
	return f, o.learnCurrent(ctx, f, pod)
}

// resolve asks who the pod is.
func (f *facts) resolve(defaults *intent.Defaults, around *kube.Surroundings, pod *corev1.Pod) {
	result := intent.Resolve(defaults, &around.Namespace, intent.PodOf(pod), around.Services)
	switch {
	case result.Skip != "":
		f.NoIntent = fmt.Sprintf("the pod is none of those that get a certificate (%s)", result.Skip)
	case result.Intent == nil:
		f.NoIntent = "the pod would be refused today: " + result.Errors.ToAggregate().Error()
	case !around.ServicesKnown:
		f.take(result.Intent, pod)
		f.Names, f.NamesUnknown = nil, "its names are those of Services, and you may not list them"
	default:
		f.take(result.Intent, pod)
	}
}

func (f *facts) take(in *intent.Intent, pod *corev1.Pod) {
	f.Intent, f.issuer, f.SPIFFEID = in, in.Issuer, in.Identity.SPIFFEID
	for _, name := range in.Identity.PodDNSNames() {
		f.Names = append(f.Names, strings.ReplaceAll(name, "${POD_NAME}", pod.Name))
	}
}

// servicesOf returns the Services that select the pod, with their ports.
func (o *Options) servicesOf(ctx context.Context, pod *corev1.Pod, around *kube.Surroundings) ([]corev1.Service, error) {
	if !around.ServicesKnown {
		return nil, nil
	}
	var list corev1.ServiceList
	if _, err := o.cluster.ReadAll(ctx, &list, pod.Namespace, "to which port Services lead"); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list.Items, func(svc corev1.Service) bool { return !serviceSelects(&svc, pod) }), nil
}

// softwareOf tells by images and commands what serves.
func softwareOf(pod *corev1.Pod) diagnose.Software {
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		for _, name := range append([]string{c.Image}, c.Command...) {
			if software := diagnose.SoftwareOf(name); software != "" {
				return software
			}
		}
	}
	return ""
}

// bundleOf returns what the pod mounts as CA bundle: what is injected, or a ConfigMap of the
// configured name that somebody mounts by hand.
func bundleOf(pod *corev1.Pod, configured intent.Bundle) (bundle intent.Bundle, mounted bool) {
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		ours := v.Name == intent.BundleVolume || v.Name == intent.CertificateVolume
		if cm := v.ConfigMap; cm != nil && (ours || cm.Name == configured.Name) {
			return configMap(cm.Name, cm.Items, configured.Key), true
		}
		if v.Projected == nil {
			continue
		}
		for _, source := range v.Projected.Sources {
			if cm := source.ConfigMap; cm != nil && (ours || cm.Name == configured.Name) {
				return configMap(cm.Name, cm.Items, configured.Key), true
			}
			if ctb := source.ClusterTrustBundle; ctb != nil && ctb.Name != nil && ours {
				return intent.Bundle{Kind: intent.BundleClusterTrustBundle, Name: *ctb.Name}, true
			}
		}
	}
	return configured, false
}

func configMap(name string, items []corev1.KeyToPath, key string) intent.Bundle {
	if len(items) == 1 {
		key = items[0].Key
	}
	return intent.Bundle{Kind: intent.BundleConfigMap, Name: name, Key: key}
}

// learnBundle reads what the pod trusts.
func (o *Options) learnBundle(ctx context.Context, f *facts, pod *corev1.Pod, defaults *intent.Defaults) error {
	configured := defaults.CABundle
	if f.Intent != nil {
		configured = f.Intent.CABundle
	}
	bundle, mounted := bundleOf(pod, configured)
	const purpose = "whether the chain leads to the pod's CA bundle"
	if bundle.Kind == intent.BundleClusterTrustBundle {
		f.NoBundle = "the pod's bundle is the ClusterTrustBundle " + bundle.Name + ", which is not read here"
		return nil
	}
	f.BundleName = fmt.Sprintf("ConfigMap %s, key %s", bundle.Name, bundle.Key)
	var object corev1.ConfigMap
	answer, err := o.cluster.Read(ctx, client.ObjectKey{Namespace: pod.Namespace, Name: bundle.Name}, &object, purpose)
	switch {
	case err != nil:
		return err
	case answer == kube.Hidden:
		f.NoBundle = "you may not read " + f.BundleName
		return nil
	case answer == kube.Absent && !mounted:
		f.NoBundle = "the pod mounts no CA bundle, and there is no " + f.BundleName
		return nil
	}
	text, found := object.Data[bundle.Key]
	if answer == kube.Absent || !found {
		f.BundleFault = diagnose.BundleMissing
		return nil
	}
	if f.Bundle = parse([]byte(text)); len(f.Bundle) == 0 {
		f.BundleFault = diagnose.BundleBroken
	}
	return nil
}

// bundleName returns the DER name of a CA that the pod trusts, which the foreign CA takes.
func (f *facts) bundleName() []byte {
	if len(f.Bundle) == 0 {
		return nil
	}
	return f.Bundle[0].RawSubject
}

// parse returns the certificates in PEM text; what is none is left out.
func parse(text []byte) []*x509.Certificate {
	var all []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if certificate, err := x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all, certificate)
		}
	}
	return all
}

// volumeOf is the label by which the CSI driver tells its volumes' requests apart.
const volumeOf = intent.CSIDriver + "/volume-id-hash"

// learnCurrent finds what was last issued for the pod: the CSI driver asks in its name, the
// companion for all of its workload. Both leave the CertificateRequest, with the certificate
// and without the key.
func (o *Options) learnCurrent(ctx context.Context, f *facts, pod *corev1.Pod) error {
	const purpose = "whether the certificate that was issued last is served"
	var list cmapi.CertificateRequestList
	answer, err := o.cluster.ReadAll(ctx, &list, pod.Namespace, purpose)
	switch {
	case err != nil:
		return err
	case answer == kube.Hidden:
		f.NoCurrent = "you may not list CertificateRequests, which have what was issued last"
		return nil
	case answer == kube.Absent:
		f.NoCurrent = "there are no CertificateRequests: cert-manager is not installed"
		return nil
	}
	for _, r := range newestOf(list.Items, pod, f.Intent) {
		chain := parse(r.Status.Certificate)
		f.Current = append(f.Current, diagnose.Issued{Certificate: chain[0], Source: "CertificateRequest " + r.Name})
		f.Intermediates = append(f.Intermediates, chain[1:]...)
	}
	if len(f.Current) == 0 {
		f.NoCurrent = "no CertificateRequest of the pod or its companion has been signed, so what was issued last is not known"
	}
	return nil
}

// newestOf returns the newest signed request of each of the pod's volumes, or of the companion
// whose Secret it mounts, the newest first.
func newestOf(requests []cmapi.CertificateRequest, pod *corev1.Pod, in *intent.Intent) []cmapi.CertificateRequest {
	requests = slices.DeleteFunc(requests, func(r cmapi.CertificateRequest) bool {
		return !isFor(&r, pod, in) || len(parse(r.Status.Certificate)) == 0
	})
	slices.SortFunc(requests, func(a, b cmapi.CertificateRequest) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	seen := map[string]bool{}
	return slices.DeleteFunc(requests, func(r cmapi.CertificateRequest) bool {
		volume := r.Labels[volumeOf]
		again := seen[volume]
		seen[volume] = true
		return again
	})
}

func isFor(r *cmapi.CertificateRequest, pod *corev1.Pod, in *intent.Intent) bool {
	if in != nil && in.Delivery == intent.DeliverySecret {
		return r.Annotations[cmapi.CertificateNameKey] == in.CompanionName
	}
	return r.Labels[volumeOf] != "" && slices.ContainsFunc(r.OwnerReferences, func(owner metav1.OwnerReference) bool {
		return owner.Kind == "Pod" && owner.UID == pod.UID
	})
}

func fromUnstructured(raw map[string]any, into any) error {
	return runtime.DefaultUnstructuredConverter.FromUnstructured(raw, into)
}
