package main

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// additions is what injection adds to the pod of this benchmark, found by comparing it
// with the pod as it is without.
type additions struct {
	volumes             []corev1.Volume
	labels, annotations map[string]string
	// containers holds, by name, only what is added.
	containers map[string]corev1.Container
}

func additionsOf(plain, injected *corev1.Pod) *additions {
	a := &additions{
		labels:      newEntries(plain.Labels, injected.Labels),
		annotations: newEntries(plain.Annotations, injected.Annotations),
		containers:  map[string]corev1.Container{},
	}
	for _, volume := range injected.Spec.Volumes {
		if strings.HasPrefix(volume.Name, "mtls-") {
			a.volumes = append(a.volumes, volume)
		}
	}
	had := map[string]*corev1.Container{}
	each(plain, func(c *corev1.Container) { had[c.Name] = c })
	each(injected, func(c *corev1.Container) { a.containers[c.Name] = addedTo(had[c.Name], c) })
	return a
}

func addedTo(plain, injected *corev1.Container) corev1.Container {
	added := corev1.Container{}
	for _, mount := range injected.VolumeMounts {
		if strings.HasPrefix(mount.Name, "mtls-") {
			added.VolumeMounts = append(added.VolumeMounts, mount)
		}
	}
	for _, variable := range injected.Env {
		if !slices.ContainsFunc(plain.Env, func(e corev1.EnvVar) bool { return e.Name == variable.Name }) {
			added.Env = append(added.Env, variable)
		}
	}
	if plain.Lifecycle == nil {
		added.Lifecycle = injected.Lifecycle
	}
	return added
}

func newEntries(had, has map[string]string) map[string]string {
	added := map[string]string{}
	for key, value := range has {
		if had[key] != value {
			added[key] = value
		}
	}
	return added
}

// addTo changes the pod as typed code would.
func (a *additions) addTo(pod *corev1.Pod) {
	for i := range a.volumes {
		pod.Spec.Volumes = append(pod.Spec.Volumes, *a.volumes[i].DeepCopy())
	}
	maps.Copy(pod.Labels, a.labels)
	maps.Copy(pod.Annotations, a.annotations)
	each(pod, func(c *corev1.Container) {
		added := a.containers[c.Name]
		c.VolumeMounts = append(c.VolumeMounts, added.VolumeMounts...)
		c.Env = slices.Concat(added.Env, c.Env)
		if c.Lifecycle == nil {
			c.Lifecycle = added.Lifecycle.DeepCopy()
		}
	})
}

// each calls visit with every init container, then every container.
func each(pod *corev1.Pod, visit func(*corev1.Container)) {
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			visit(&list[i])
		}
	}
}

// addedOf returns the volumes, mounts and variables of a pod, which a policy adds, too.
func addedOf(pod *corev1.Pod) map[string]any {
	added := map[string]any{"volumes": pod.Spec.Volumes}
	each(pod, func(c *corev1.Container) {
		added[c.Name] = []any{c.VolumeMounts, c.Env}
	})
	return added
}

// sortAdded takes away the order, which differs between the ways.
func sortAdded(pod *corev1.Pod) {
	slices.SortFunc(pod.Spec.Volumes, func(a, b corev1.Volume) int { return strings.Compare(a.Name, b.Name) })
	each(pod, func(c *corev1.Container) {
		slices.SortFunc(c.VolumeMounts, func(a, b corev1.VolumeMount) int { return strings.Compare(a.MountPath, b.MountPath) })
		slices.SortFunc(c.Env, func(a, b corev1.EnvVar) int { return strings.Compare(a.Name, b.Name) })
	})
}
