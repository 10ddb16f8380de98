package e2e

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/csidriver"
	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

// realWorld is the folder of manifests as people write them, one namespace a file.
const realWorld = "testdata/realworld"

// update rewrites the golden files.
var update = flag.Bool("update", false, "rewrite golden files")

// leftAlone are the workloads that are not injected, by namespace and name, and why.
// All others are.
func leftAlone() map[string]intent.SkipReason {
	return map[string]intent.SkipReason{
		"messaging/kafka-ui":           intent.SkipRoleNone,
		"jobs/tls-check":               intent.SkipRoleNone,
		"node-agents/iis":              intent.SkipWindows,
		"node-agents/windows-exporter": intent.SkipWindows,
		"optout/indifferent":           intent.SkipNoRole,
		"optout/forgetful":             intent.SkipNoRole,
		"optout/kube-proxy-node-1":     intent.SkipMirrorPod,
	}
}

// TestRealWorld makes pods as people write them, by hand and by their controllers, with
// and without the webhook, and compares. It has a cluster of its own, for the manifests
// name their namespaces.
func TestRealWorld(t *testing.T) {
	c := clustertest.New(t, cluster.Options{})
	files, err := filepath.Glob(realWorld + "/*.yaml")
	require.NoError(t, err)
	var scenes []*scene
	for _, file := range files {
		scenes = append(scenes, newScene(t, c, file))
	}
	// It starts with all Services in its cache. What it does before that is for another test.
	hook := runWebhook(t, c, cluster.WebhookOptions{Config: realWorld + "/config/injector.yaml"})

	t.Run("the restricted profile is enforced", func(t *testing.T) { checkRestricted(t, c) })
	injected, skips := map[string]bool{}, leftAlone()
	for _, s := range scenes {
		t.Run(s.file, func(t *testing.T) {
			golden := map[string]outcome{}
			for _, obj := range s.workloads {
				name, title := s.namespace+"/"+nameOf(obj), obj.GetObjectKind().GroupVersionKind().Kind+" "+nameOf(obj)
				t.Run(title, func(t *testing.T) {
					result := s.admit(t, hook, obj, skips[name])
					delete(skips, name)
					golden[title] = result
					if result.Status != nil {
						assert.False(t, injected[shape(t, obj)], "there is such a pod already")
						injected[shape(t, obj)] = true
					}
				})
			}
			compareGolden(t, filepath.Join(realWorld, "golden", s.file), golden)
		})
	}
	assert.Empty(t, skips, "expected to be left alone, but not in the manifests")
	assert.GreaterOrEqual(t, len(injected), 100, "different pods that were injected")
	t.Logf("%d different pods were injected, %d left alone", len(injected), len(leftAlone()))
}

// checkRestricted makes sure that the pods under the restricted Pod Security Standard
// prove something: one that does not comply is refused there.
func checkRestricted(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	pod := podWith("payments", map[string]string{"role": "client"})
	require.ErrorContains(t, c.Client.Create(t.Context(), pod, client.DryRunAll), `violates PodSecurity "restricted:latest"`)
}

// shape is all of a pod but its names, for telling whether two differ.
func shape(t *testing.T, obj client.Object) string {
	t.Helper()
	pod := podOf(obj)
	text, err := json.Marshal(map[string]any{"spec": pod.Spec, "annotations": pod.Annotations})
	require.NoError(t, err)
	return string(text)
}

// outcome is what the golden files keep of an admission.
type outcome struct {
	Skipped  intent.SkipReason `json:"skipped,omitempty"`
	Status   *injector.Status  `json:"status,omitempty"`
	Added    []string          `json:"added,omitempty"`
	Warnings []string          `json:"warnings,omitempty"`
}

// admit sends one workload through all checks. A reason says that it is to be left alone.
func (s *scene) admit(t *testing.T, hook *cluster.Webhook, obj client.Object, reason intent.SkipReason) outcome {
	t.Helper()
	plain, plainWarnings := s.dryRun(t, podOf(obj), s.plain)
	before := admissions(t, hook)
	pod, warnings := s.dryRun(t, podOf(obj), s.namespace)
	result := outcome{Skipped: reason, Warnings: without(warnings, plainWarnings)}

	if reason != "" {
		// Controllers make other pods of earlier workloads at the same time.
		assert.Greater(t, admissions(t, hook)["skipped/"+string(reason)], before["skipped/"+string(reason)])
		if diff := diffPods(plain, pod); diff != "" {
			t.Errorf("the pod that is left alone has changed (-without, +with the webhook):\n%s", diff)
		}
		s.makeReal(t, obj, nil)
		return result
	}
	result.Status = checkInjected(t, pod)
	assert.NotEmpty(t, result.Status.Version)
	result.Status.Version = "" // changes with every commit
	rest, added := withoutOurs(t, plain, pod)
	result.Added = added.lines(result.Status.Containers)
	if diff := diffPods(plain, rest); diff != "" {
		t.Errorf("what the user wrote has changed (-without, +with the webhook, less what is injected):\n%s", diff)
	}
	again, _ := s.dryRun(t, resubmitted(pod), s.namespace)
	if diff := diffPods(pod, again); diff != "" {
		t.Errorf("the second call has changed the pod (-first, +second):\n%s", diff)
	}
	s.makeReal(t, obj, pod)
	return result
}

// checkInjected checks that the pod has all that its status says.
func checkInjected(t *testing.T, pod *corev1.Pod) *injector.Status {
	t.Helper()
	assert.Equal(t, "true", pod.Labels[intent.LabelInjected])
	status := &injector.Status{}
	require.NoError(t, json.Unmarshal([]byte(pod.Annotations[intent.AnnotationStatus]), status))
	assert.NotEmpty(t, status.Containers)

	certs := volumeNamed(pod, "mtls-certs")
	require.NotNil(t, certs, "volume mtls-certs")
	switch {
	case status.Delivery == intent.DeliveryCSI:
		checkAttributes(t, pod, status)
	case certs.Projected != nil:
		assert.Equal(t, status.Companion, certs.Projected.Sources[0].Secret.Name)
	default:
		require.NotNil(t, certs.Secret)
		assert.Equal(t, status.Companion, certs.Secret.SecretName)
	}
	bundle := volumeNamed(pod, "mtls-ca")
	assert.Equal(t, certs.Projected == nil, bundle != nil, "the bundle stands in a volume of its own or beside the key pair")
	for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		served := slices.Contains(status.Containers, container.Name)
		assert.Equal(t, served, mounts(&container, "mtls-certs"), "container %s has the certificate", container.Name)
		assert.Equal(t, served && bundle != nil, mounts(&container, "mtls-ca"), "container %s has the bundle", container.Name)
	}
	return status
}

// checkAttributes checks that the driver accepts the volume, ignores nothing in it, and
// takes it for what the status says.
func checkAttributes(t *testing.T, pod *corev1.Pod, status *injector.Status) {
	t.Helper()
	running := pod.DeepCopy()
	running.UID = "0b2b5f3c-0000-4000-8000-000000000000"
	request, err := csidriver.Parse(running, "mtls-certs")
	require.NoError(t, err)
	assert.Empty(t, request.Ignored, "attributes that mean nothing to the driver")
	assert.Empty(t, request.Annotations)
	require.Len(t, request.URIs, 1)
	assert.Equal(t, status.SPIFFE, request.URIs[0].String())
	want := make([]string, len(status.DNS))
	for i, name := range status.DNS {
		want[i] = strings.ReplaceAll(name, "${POD_NAME}", pod.Name)
	}
	assert.ElementsMatch(t, want, request.DNSNames)
}

func compareGolden(t *testing.T, path string, got any) {
	t.Helper()
	text, err := yaml.Marshal(got)
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.WriteFile(path, text, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(text), "run with -update to accept")
}

// without returns what is in all but not in some, each occurrence counted.
func without(all, some []string) []string {
	seen := map[string]int{}
	for _, s := range some {
		seen[s]++
	}
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool {
		seen[s]--
		return seen[s] >= 0
	})
}

func volumeNamed(pod *corev1.Pod, name string) *corev1.Volume {
	i := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == name })
	if i < 0 {
		return nil
	}
	return &pod.Spec.Volumes[i]
}

func mounts(container *corev1.Container, volume string) bool {
	return slices.ContainsFunc(container.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == volume })
}

// nameOf returns the name, or what it will begin with.
func nameOf(obj client.Object) string {
	if name := obj.GetName(); name != "" {
		return name
	}
	return obj.GetGenerateName()
}

// copyOf copies a map that may be nil.
func copyOf(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return maps.Clone(m)
}
