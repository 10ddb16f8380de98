package webhook

// The usual way to write such a webhook, against which the benchmarks compare: a handler of
// controller-runtime that decodes the whole typed Pod, copies it, changes the copy,
// marshals it, and lets admission.PatchResponseFromRaw find the differences. It decides by
// the same intent.Resolve and makes the same changes, which TestUsualWayDoesTheSame proves.

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

func newUsualHandler(source Source) http.Handler {
	return &admission.Webhook{Handler: &usual{source: source, decoder: admission.NewDecoder(scheme.Scheme)}}
}

type usual struct {
	source  Source
	decoder admission.Decoder
}

func (u *usual) Handle(_ context.Context, req admission.Request) admission.Response {
	pod := &corev1.Pod{}
	if err := u.decoder.Decode(req, pod); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	pod = pod.DeepCopy()
	found, ok := u.source.Cached(req.Namespace)
	if !ok {
		return admission.Errored(http.StatusInternalServerError, context.Canceled)
	}
	slim := intent.PodOf(pod)
	slim.Metadata.Namespace = req.Namespace
	result := intent.Resolve(intent.BuiltinDefaults(), found.Namespace, slim, found.Services)
	if result.Intent == nil {
		return admission.Allowed(string(result.Skip))
	}
	mutateTyped(pod, result.Intent)
	marshalled, err := json.Marshal(pod)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	return admission.PatchResponseFromRaw(req.Object.Raw, marshalled)
}

// mutateTyped makes the changes for a server with files from the CSI driver.
func mutateTyped(pod *corev1.Pod, in *intent.Intent) {
	pod.Spec.Volumes = append(pod.Spec.Volumes,
		corev1.Volume{Name: "mtls-certs", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{
			Driver: "csi.cert-manager.io", ReadOnly: new(true), VolumeAttributes: attributesOf(in),
		}}},
		corev1.Volume{Name: "mtls-ca", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: in.CABundle.Name},
			Items:                []corev1.KeyToPath{{Key: in.CABundle.Key, Path: "ca.crt"}},
			DefaultMode:          new(int32(0o444)),
		}}})
	status := injector.Status{
		Version: in.Version, Role: in.Role, Workload: in.Workload.String(), SPIFFE: in.Identity.SPIFFEID, DNS: in.Identity.PodDNSNames(),
		Issuer: in.Issuer.String(), Delivery: in.Delivery, Companion: in.CompanionName,
		Undo: injector.Undo{Env: in.Env, PreStopSeconds: in.PreStop.Seconds, Volumes: []string{"bf4ada38", "1b9b2676"}},
	}
	for i := range pod.Spec.InitContainers {
		mutateContainer(&pod.Spec.InitContainers[i], in)
		status.Containers = append(status.Containers, pod.Spec.InitContainers[i].Name)
	}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		mutateContainer(c, in)
		c.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: in.PreStop.Seconds}}}
		status.Containers = append(status.Containers, c.Name)
	}
	pod.Labels = maps.Clone(pod.Labels)
	pod.Labels[intent.LabelInjected] = "true"
	text, _ := json.Marshal(status)
	pod.Annotations[intent.AnnotationStatus] = string(text)
}

func mutateContainer(c *corev1.Container, in *intent.Intent) {
	c.VolumeMounts = append(c.VolumeMounts,
		corev1.VolumeMount{Name: "mtls-certs", MountPath: "/etc/tls/server", ReadOnly: true},
		corev1.VolumeMount{Name: "mtls-ca", MountPath: "/etc/tls/ca", ReadOnly: true})
	c.Env = slices.Concat([]corev1.EnvVar{
		{Name: "MTLS_ROLE", Value: string(in.Role)},
		{Name: "MTLS_SPIFFE_ID", Value: in.Identity.SPIFFEID},
		{Name: "MTLS_CA_CERT", Value: "/etc/tls/ca/ca.crt"},
		{Name: "MTLS_SERVER_CERT", Value: "/etc/tls/server/tls.crt"},
		{Name: "MTLS_SERVER_KEY", Value: "/etc/tls/server/tls.key"},
	}, c.Env)
}

func attributesOf(in *intent.Intent) map[string]string {
	const p = "csi.cert-manager.io/"
	usages := make([]string, len(in.Usages))
	for i, usage := range in.Usages {
		usages[i] = string(usage)
	}
	return map[string]string{
		p + "common-name":   in.Identity.Subject.CommonName,
		p + "dns-names":     strings.Join(in.Identity.PodDNSNames(), ","),
		p + "duration":      intent.ShortDuration(in.Lifetime.Duration),
		p + "issuer-group":  in.Issuer.Group,
		p + "issuer-kind":   in.Issuer.Kind,
		p + "issuer-name":   in.Issuer.Name,
		p + "key-algorithm": string(in.Key.Algorithm),
		p + "key-size":      strconv.Itoa(in.Key.Size),
		p + "key-usages":    strings.Join(usages, ","),
		p + "renew-before":  intent.ShortDuration(in.Lifetime.RenewBefore),
		p + "uri-sans":      in.Identity.SPIFFEID,
	}
}

func TestUsualWayDoesTheSame(t *testing.T) {
	review := fixture(t, "injected")
	ours := patchedObject(t, review, post(t, newTestHandler(t, shop()), review))
	theirs := patchedObject(t, review, post(t, newUsualHandler(shop()), review))
	var a, b corev1.Pod
	require.NoError(t, json.Unmarshal(ours, &a))
	require.NoError(t, json.Unmarshal(theirs, &b))
	require.Equal(t, b, a)
}
