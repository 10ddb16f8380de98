package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"example.io/mtls-injector/intent"
)

// serviceAccountVolume is how the API server's own admission names the volume that it
// adds, with five random characters behind.
const serviceAccountVolume = "kube-api-access-"

// diffPods compares pods but for what differs between two equal requests.
func diffPods(a, b *corev1.Pod) string { return cmp.Diff(normal(a), normal(b), cmpopts.EquateEmpty()) }

// normal returns the pod without what differs between two equal requests.
func normal(pod *corev1.Pod) *corev1.Pod {
	pod = pod.DeepCopy()
	pod.Namespace, pod.UID, pod.ResourceVersion = "", "", ""
	pod.CreationTimestamp, pod.ManagedFields = metav1.Time{}, nil
	if pod.GenerateName != "" && !isStateful(pod) {
		pod.Name = ""
	}
	pod.Status = corev1.PodStatus{}
	for i := range pod.Spec.Volumes {
		pod.Spec.Volumes[i].Name = withoutRandom(pod.Spec.Volumes[i].Name)
	}
	eachContainer(pod, func(c *corev1.Container) {
		for i := range c.VolumeMounts {
			c.VolumeMounts[i].Name = withoutRandom(c.VolumeMounts[i].Name)
		}
	})
	return pod
}

func isStateful(pod *corev1.Pod) bool {
	owner := metav1.GetControllerOf(pod)
	return owner != nil && owner.Kind == "StatefulSet"
}

func withoutRandom(volume string) string {
	if strings.HasPrefix(volume, serviceAccountVolume) {
		return serviceAccountVolume
	}
	return volume
}

// resubmitted returns an admitted pod as one would send it again.
func resubmitted(pod *corev1.Pod) *corev1.Pod {
	pod = pod.DeepCopy()
	pod.UID, pod.ResourceVersion, pod.CreationTimestamp, pod.ManagedFields = "", "", metav1.Time{}, nil
	pod.Status = corev1.PodStatus{}
	for i := range pod.Spec.TopologySpreadConstraints {
		// The API server has put these keys into the selector, and would refuse to do so again.
		constraint := &pod.Spec.TopologySpreadConstraints[i]
		constraint.LabelSelector.MatchExpressions = slices.DeleteFunc(constraint.LabelSelector.MatchExpressions,
			func(r metav1.LabelSelectorRequirement) bool { return slices.Contains(constraint.MatchLabelKeys, r.Key) })
	}
	return pod
}

// eachContainer calls visit with each init container, then each container.
func eachContainer(pod *corev1.Pod, visit func(*corev1.Container)) {
	for i := range pod.Spec.InitContainers {
		visit(&pod.Spec.InitContainers[i])
	}
	for i := range pod.Spec.Containers {
		visit(&pod.Spec.Containers[i])
	}
}

// oursOf returns what was injected, for comparing pods of one workload.
func oursOf(pod *corev1.Pod) map[string]any {
	ours := map[string]any{
		"label":  pod.Labels[intent.LabelInjected],
		"status": pod.Annotations[intent.AnnotationStatus],
		"certs":  volumeNamed(pod, "mtls-certs"),
		"ca":     volumeNamed(pod, "mtls-ca"),
		"grace":  *pod.Spec.TerminationGracePeriodSeconds,
	}
	eachContainer(pod, func(c *corev1.Container) {
		var mounts []corev1.VolumeMount
		for _, mount := range c.VolumeMounts {
			if isOurs(mount.Name) {
				mounts = append(mounts, mount)
			}
		}
		ours["mounts of "+c.Name], ours["lifecycle of "+c.Name] = mounts, c.Lifecycle
	})
	return ours
}

func isOurs(volume string) bool { return volume == "mtls-certs" || volume == "mtls-ca" }

// withoutOurs returns the injected pod less all that may have been injected, given the
// same pod without injection, and what was taken away.
func withoutOurs(t *testing.T, plain, injected *corev1.Pod) (rest *corev1.Pod, added *additions) {
	t.Helper()
	d := &difference{T: t, rest: injected.DeepCopy(), tcp: injected.Annotations[intent.Prefix+"probes"] == string(intent.ProbesTCP)}
	d.added.containers = map[string][]string{}
	delete(d.rest.Labels, intent.LabelInjected)
	delete(d.rest.Annotations, intent.AnnotationStatus)
	d.rest.Spec.Volumes = slices.DeleteFunc(d.rest.Spec.Volumes, func(v corev1.Volume) bool {
		return isOurs(v.Name) && d.added.note("", "volume %s", v.Name)
	})
	for i := range plain.Spec.InitContainers {
		d.container(&plain.Spec.InitContainers[i], &d.rest.Spec.InitContainers[i])
	}
	for i := range plain.Spec.Containers {
		d.container(&plain.Spec.Containers[i], &d.rest.Spec.Containers[i])
	}
	had, has := *plain.Spec.TerminationGracePeriodSeconds, *d.rest.Spec.TerminationGracePeriodSeconds
	if has != had {
		assert.Greater(t, has, had)
		assert.True(t, d.hooked, "only a hook may raise the grace period")
		d.added.note("", "terminationGracePeriodSeconds: %d to %d", had, has)
		*d.rest.Spec.TerminationGracePeriodSeconds = had
	}
	return d.rest, &d.added
}

// additions are what was injected, each with the containers that have it.
type additions struct {
	order      []string
	containers map[string][]string
}

// note returns true, for use in conditions. The container is empty for the pod itself.
func (a *additions) note(container, format string, args ...any) bool {
	text := fmt.Sprintf(format, args...)
	if _, known := a.containers[text]; !known {
		a.order = append(a.order, text)
		a.containers[text] = nil
	}
	if container != "" {
		a.containers[text] = append(a.containers[text], container)
	}
	return true
}

// lines names the containers only where not all that are served have it.
func (a *additions) lines(served []string) []string {
	lines := slices.Clone(a.order)
	for i, text := range lines {
		if have := a.containers[text]; len(have) > 0 && !slices.Equal(have, served) {
			lines[i] += " (" + strings.Join(have, ", ") + ")"
		}
	}
	return lines
}

// difference takes away what was injected, and notes it.
type difference struct {
	*testing.T
	rest   *corev1.Pod
	added  additions
	tcp    bool // HTTPS probes may have become TCP probes
	hooked bool // some container has got a preStop hook
}

func (d *difference) container(plain, c *corev1.Container) {
	c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
		return isOurs(m.Name) && m.ReadOnly && m.SubPath == "" && d.added.note(c.Name, "%s at %s", m.Name, m.MountPath)
	})
	c.Env = slices.DeleteFunc(c.Env, func(e corev1.EnvVar) bool {
		own := slices.ContainsFunc(plain.Env, func(p corev1.EnvVar) bool { return p.Name == e.Name })
		return !own && d.added.note(c.Name, "%s=%s", e.Name, e.Value)
	})
	d.lifecycle(plain, c)
	d.probe(plain.LivenessProbe, c.LivenessProbe, c.Name, "livenessProbe")
	d.probe(plain.ReadinessProbe, c.ReadinessProbe, c.Name, "readinessProbe")
	d.probe(plain.StartupProbe, c.StartupProbe, c.Name, "startupProbe")
}

func (d *difference) lifecycle(plain, c *corev1.Container) {
	if c.Lifecycle == nil || c.Lifecycle.PreStop == nil || plain.Lifecycle != nil && plain.Lifecycle.PreStop != nil {
		return
	}
	sleep := c.Lifecycle.PreStop.Sleep
	if !assert.NotNil(d, sleep, "%s: the hook", c.Name) {
		return
	}
	d.hooked = d.added.note(c.Name, "preStop sleeps %d s", sleep.Seconds)
	c.Lifecycle.PreStop = nil
	if plain.Lifecycle == nil && *c.Lifecycle == (corev1.Lifecycle{}) {
		c.Lifecycle = nil
	}
}

func (d *difference) probe(plain, probe *corev1.Probe, container, name string) {
	if plain == nil || plain.HTTPGet == nil || plain.HTTPGet.Scheme != corev1.URISchemeHTTPS || probe == nil || probe.TCPSocket == nil {
		return
	}
	assert.True(d, d.tcp, "%s may not become a TCP probe", name)
	assert.Equal(d, corev1.TCPSocketAction{Port: plain.HTTPGet.Port, Host: plain.HTTPGet.Host}, *probe.TCPSocket)
	d.added.note(container, "%s: tcpSocket %s", name, probe.TCPSocket.Port.String())
	probe.ProbeHandler = plain.ProbeHandler
}
