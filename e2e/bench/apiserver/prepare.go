package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/intent"
)

// wayLabel is on the namespaces and says in which way their pods are made.
const wayLabel = "bench"

var (
	//go:embed pod.yaml
	podManifest []byte
	//go:embed service.yaml
	serviceManifest []byte
	//go:embed policy.yaml
	policyManifest []byte
)

// prepare makes the namespaces and what acts in them, and checks that all do the same.
func prepare(ctx context.Context, c *cluster.Cluster, binary string) ([]*way, error) {
	ways := []*way{
		{name: wayNone, title: "no webhook"},
		{name: wayUsual, title: "a webhook done the usual way"},
		{name: wayOurs, title: "mtls-injector"},
		{name: wayPolicy, title: "a static MutatingAdmissionPolicy"},
	}
	pod := &corev1.Pod{}
	if err := yaml.UnmarshalStrict(podManifest, pod); err != nil {
		return nil, fmt.Errorf("pod.yaml: %w", err)
	}
	for _, w := range ways {
		namespace := "bench-" + w.name
		if _, err := c.CreateNamespace(ctx, namespace, map[string]string{wayLabel: w.name}, nil); err != nil {
			return nil, err
		}
		if _, err := c.Apply(ctx, serviceManifest, namespace); err != nil {
			return nil, err
		}
		w.client, w.pod = c.Client, pod.DeepCopy()
		w.pod.Namespace = namespace
	}
	plain, err := ways[0].create(ctx)
	if err != nil {
		return nil, err
	}
	injected, err := runOurs(ctx, c, ways[2], binary)
	if err != nil {
		return nil, err
	}
	rename(injected, ways[2].pod.Namespace, ways[1].pod.Namespace)
	if err := runUsual(ctx, c, additionsOf(plain, injected)); err != nil {
		return nil, err
	}
	if _, err := c.Apply(ctx, policyManifest, ""); err != nil {
		return nil, err
	}
	return ways, c.WaitFor(ctx, "all ways to do the same", func(ctx context.Context) error { return compare(ctx, ways) })
}

// runOurs starts the injector and returns a pod that it has injected.
func runOurs(ctx context.Context, c *cluster.Cluster, w *way, binary string) (*corev1.Pod, error) {
	args := []string{"--http2=false", "--drain-delay=0s"} // of HTTP/2, see protocols
	hook, err := c.RunWebhook(ctx, cluster.WebhookOptions{Unregistered: true, Binary: binary, Args: args})
	if err != nil {
		return nil, err
	}
	if err := register(ctx, c, wayOurs, hook.URL, hook.CABundle); err != nil {
		return nil, err
	}
	var pod *corev1.Pod
	err = c.WaitFor(ctx, "the injector's first pod", func(ctx context.Context) (err error) {
		if pod, err = w.create(ctx); err == nil && pod.Labels[intent.LabelInjected] == "" {
			err = errNotYet
		}
		return err
	})
	return pod, err
}

// errNotYet is while the API server has not learnt of the webhook.
var errNotYet = errors.New("it is not injected")

// register makes the API server send the webhook the pods of one way.
func register(ctx context.Context, c *cluster.Cluster, name, url string, ca []byte) error {
	fail, none, again, timeout := admissionv1.Fail, admissionv1.SideEffectClassNone, admissionv1.IfNeededReinvocationPolicy, int32(10)
	config := &admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "bench-" + name},
		Webhooks: []admissionv1.MutatingWebhook{{
			Name:         name + ".bench.example.io",
			ClientConfig: admissionv1.WebhookClientConfig{URL: &url, CABundle: ca},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
			NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{wayLabel: name}},
			FailurePolicy:           &fail,
			SideEffects:             &none,
			ReinvocationPolicy:      &again,
			TimeoutSeconds:          &timeout,
			AdmissionReviewVersions: []string{"v1"},
		}},
	}
	if err := c.Client.Create(ctx, config, client.FieldOwner("bench")); err != nil {
		return fmt.Errorf("registering the webhook %s: %w", name, err)
	}
	return nil
}

// compare wants the usual way to make the very same pod as the injector, and the policy
// to add the same volumes, mounts and variables, which it adds behind the pod's own.
func compare(ctx context.Context, ways []*way) error {
	pods := map[string]*corev1.Pod{}
	for _, w := range ways {
		pod, err := w.create(ctx)
		if err != nil {
			return err
		}
		normalise(pod, w.name)
		pods[w.name] = pod
	}
	if diff := cmp.Diff(pods[wayOurs], pods[wayUsual], cmpopts.EquateEmpty()); diff != "" {
		return fmt.Errorf("the usual way makes another pod (-ours, +usual):\n%s", diff)
	}
	for _, pod := range pods {
		sortAdded(pod)
	}
	if diff := cmp.Diff(addedOf(pods[wayOurs]), addedOf(pods[wayPolicy])); diff != "" {
		return fmt.Errorf("the policy adds other things (-ours, +policy):\n%s", diff)
	}
	return nil
}

// normalise takes away what differs between two equal requests.
func normalise(pod *corev1.Pod, name string) {
	pod.Name, pod.Namespace, pod.UID, pod.CreationTimestamp, pod.ManagedFields = "", "", "", metav1.Time{}, nil
	rename(pod, "bench-"+name, "bench")
	each(pod, func(c *corev1.Container) {
		for i := range c.VolumeMounts {
			c.VolumeMounts[i].Name = withoutRandom(c.VolumeMounts[i].Name)
		}
	})
	for i := range pod.Spec.Volumes {
		pod.Spec.Volumes[i].Name = withoutRandom(pod.Spec.Volumes[i].Name)
	}
}

// rename writes another namespace wherever injection writes the pod's.
func rename(pod *corev1.Pod, from, to string) {
	for key, value := range pod.Annotations {
		pod.Annotations[key] = strings.ReplaceAll(value, from, to)
	}
	for _, volume := range pod.Spec.Volumes {
		if volume.CSI == nil {
			continue
		}
		for key, value := range volume.CSI.VolumeAttributes {
			volume.CSI.VolumeAttributes[key] = strings.ReplaceAll(value, from, to)
		}
	}
	each(pod, func(c *corev1.Container) {
		for i := range c.Env {
			c.Env[i].Value = strings.ReplaceAll(c.Env[i].Value, from, to)
		}
	})
}

// withoutRandom cuts what the API server puts behind the name of the service account's volume.
func withoutRandom(volume string) string {
	if strings.HasPrefix(volume, "kube-api-access-") {
		return "kube-api-access"
	}
	return volume
}
