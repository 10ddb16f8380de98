package intent

// What is legal but odd, for those who write a pod or a workload.

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Odd returns warnings about a pod that gets what the intent says: each is one sentence
// with what to do. It looks at what the pod's author decides, so it is for admission of
// workloads and the command line; who makes pods of a template could do nothing about it.
func Odd(pod *Pod, in *Intent) []string {
	var warnings []string
	for _, list := range [][]Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			warnings = append(warnings, oddMounts(&list[i], pod.Spec.Volumes, in)...)
		}
	}
	if in.Reload == ReloadNone && in.Lifetime.Duration < week && !in.Workload.Ends() {
		warnings = append(warnings, oddLifetime(in))
	}
	return warnings
}

// week is how long a program should be able to go without reading its files again.
const week = 7 * 24 * time.Hour

func oddLifetime(in *Intent) string {
	remedy := "a longer " + Prefix + keyDuration
	if in.Workload.Restartable() {
		remedy = Prefix + keyReload + ": restart or " + remedy
	}
	return "a certificate lasts " + ShortDuration(in.Lifetime.Duration) + " with " + Prefix + keyReload +
		": none, so a program that does not read its files again fails by then: set " + remedy
}

// oddMounts warns of mounts that a renewal never reaches: the kubelet makes a subPath once,
// when the container starts (https://kubernetes.io/docs/concepts/storage/volumes/#using-subpath).
func oddMounts(c *Container, volumes []Volume, in *Intent) []string {
	var warnings []string
	for i := range c.VolumeMounts {
		mount := &c.VolumeMounts[i]
		path := mount.SubPath + mount.SubPathExpr // at most one of them is set
		if path != "" && rotates(mount.Name, volumes, in) {
			warnings = append(warnings, "container "+quote(c.Name)+" mounts "+quote(path)+" of volume "+quote(mount.Name)+
				" by subPath, which stays as it is when the files are renewed: mount the whole volume")
		}
	}
	return warnings
}

// rotates reports whether the volume holds files that are renewed.
func rotates(name string, volumes []Volume, in *Intent) bool {
	i := slices.IndexFunc(volumes, func(v Volume) bool { return v.Name == name })
	if i < 0 {
		return name == CertificateVolume || name == BundleVolume // which the injector adds
	}
	switch v := &volumes[i]; {
	case v.CSI != nil:
		return v.isDrivers()
	case v.Secret != nil:
		return v.Secret.SecretName == in.CompanionName
	case v.ConfigMap != nil:
		return in.CABundle.is(BundleConfigMap, v.ConfigMap.Name)
	case v.Projected != nil:
		return slices.ContainsFunc(v.Projected.Sources, func(s corev1.VolumeProjection) bool { return rotatesIn(&s, in) })
	}
	return false
}

func rotatesIn(source *corev1.VolumeProjection, in *Intent) bool {
	switch {
	case source.Secret != nil:
		return source.Secret.Name == in.CompanionName
	case source.ConfigMap != nil:
		return in.CABundle.is(BundleConfigMap, source.ConfigMap.Name)
	case source.ClusterTrustBundle != nil:
		// Without a name it is all bundles of a signer.
		return source.ClusterTrustBundle.Name == nil || in.CABundle.is(BundleClusterTrustBundle, *source.ClusterTrustBundle.Name)
	}
	return false
}

func (b *Bundle) is(kind BundleKind, name string) bool { return b.Kind == kind && b.Name == name }
