package intent

// How a typed Pod becomes the part of it that a decision needs. The webhook has a
// decoder of its own for the bytes of a request; the controller's cache and the command
// line come in here.

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PodOf takes from a Pod what a decision needs. Maps and pointers are shared with the
// pod, so neither may be changed while the other is in use.
func PodOf(pod *corev1.Pod) *Pod {
	return &Pod{
		Metadata: podMetadataOf(&pod.ObjectMeta),
		Spec: PodSpec{
			ServiceAccountName:            pod.Spec.ServiceAccountName,
			NodeSelector:                  pod.Spec.NodeSelector,
			OS:                            pod.Spec.OS,
			TerminationGracePeriodSeconds: pod.Spec.TerminationGracePeriodSeconds,
			HostNetwork:                   pod.Spec.HostNetwork,
			HostPID:                       pod.Spec.HostPID,
			ShareProcessNamespace:         pod.Spec.ShareProcessNamespace,
			SecurityContext:               podSecurityContextOf(pod.Spec.SecurityContext),
			Volumes:                       convert(pod.Spec.Volumes, volumeOf),
			InitContainers:                convert(pod.Spec.InitContainers, containerOf),
			Containers:                    convert(pod.Spec.Containers, containerOf),
		},
	}
}

func podMetadataOf(meta *metav1.ObjectMeta) PodMetadata {
	return PodMetadata{
		Name:            meta.Name,
		GenerateName:    meta.GenerateName,
		Namespace:       meta.Namespace,
		UID:             string(meta.UID),
		Labels:          meta.Labels,
		Annotations:     meta.Annotations,
		OwnerReferences: convert(meta.OwnerReferences, ownerReferenceOf),
	}
}

// WorkloadOfPod is [WorkloadOf] of a typed Pod, of which it reads the metadata only.
func WorkloadOfPod(pod *corev1.Pod) Workload {
	return WorkloadOf(&Pod{Metadata: podMetadataOf(&pod.ObjectMeta)})
}

// convert keeps nil nil, so that a converted pod equals a decoded one.
func convert[From, To any](from []From, one func(*From) To) []To {
	if from == nil {
		return nil
	}
	to := make([]To, len(from))
	for i := range from {
		to[i] = one(&from[i])
	}
	return to
}

func ownerReferenceOf(ref *metav1.OwnerReference) OwnerReference {
	return OwnerReference{
		APIVersion: ref.APIVersion,
		Kind:       ref.Kind,
		Name:       ref.Name,
		UID:        string(ref.UID),
		Controller: ref.Controller != nil && *ref.Controller,
	}
}

func podSecurityContextOf(sc *corev1.PodSecurityContext) *PodSecurityContext {
	if sc == nil {
		return nil
	}
	return &PodSecurityContext{
		RunAsUser:    sc.RunAsUser,
		RunAsGroup:   sc.RunAsGroup,
		RunAsNonRoot: sc.RunAsNonRoot,
		FSGroup:      sc.FSGroup,
	}
}

func securityContextOf(sc *corev1.SecurityContext) *SecurityContext {
	if sc == nil {
		return nil
	}
	return &SecurityContext{RunAsUser: sc.RunAsUser, RunAsGroup: sc.RunAsGroup, RunAsNonRoot: sc.RunAsNonRoot}
}

func volumeOf(v *corev1.Volume) Volume {
	return Volume{Name: v.Name, CSI: v.CSI, Secret: v.Secret, ConfigMap: v.ConfigMap, Projected: v.Projected}
}

func containerOf(c *corev1.Container) Container {
	return Container{
		Name:            c.Name,
		Image:           c.Image,
		Command:         c.Command,
		RestartPolicy:   c.RestartPolicy,
		Env:             convert(c.Env, envVarOf),
		VolumeMounts:    convert(c.VolumeMounts, volumeMountOf),
		Lifecycle:       lifecycleOf(c.Lifecycle),
		LivenessProbe:   probeOf(c.LivenessProbe),
		ReadinessProbe:  probeOf(c.ReadinessProbe),
		StartupProbe:    probeOf(c.StartupProbe),
		SecurityContext: securityContextOf(c.SecurityContext),
	}
}

func envVarOf(e *corev1.EnvVar) EnvVar { return EnvVar{Name: e.Name, Value: e.Value} }

func volumeMountOf(m *corev1.VolumeMount) VolumeMount {
	return VolumeMount{Name: m.Name, MountPath: m.MountPath, ReadOnly: m.ReadOnly, SubPath: m.SubPath, SubPathExpr: m.SubPathExpr}
}

func lifecycleOf(l *corev1.Lifecycle) *Lifecycle {
	if l == nil {
		return nil
	}
	if l.PreStop == nil {
		return &Lifecycle{}
	}
	return &Lifecycle{PreStop: &PreStopHandler{Sleep: l.PreStop.Sleep, Exec: l.PreStop.Exec}}
}

func probeOf(p *corev1.Probe) *Probe {
	if p == nil {
		return nil
	}
	probe := &Probe{TCPSocket: p.TCPSocket}
	if get := p.HTTPGet; get != nil {
		probe.HTTPGet = &HTTPGetAction{Path: get.Path, Port: get.Port, Host: get.Host, Scheme: get.Scheme, HTTPHeaders: get.HTTPHeaders}
	}
	return probe
}
