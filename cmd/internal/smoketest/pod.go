// Package smoketest knows a pod that every namespace lets in, and what the webhook makes of it.
package smoketest

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

const (
	// Name is that of the pod's container, and begins the pod's.
	Name = "mtls-smoke-test"
	// image is never pulled.
	image = "registry.k8s.io/pause:3.10"
)

// Pod is a server that every namespace lets in: it keeps to the restricted Pod
// Security Standard and has the requests and limits that a quota may want.
func Pod(namespace, serviceAccount string) *corev1.Pod {
	little := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("16Mi")}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: Name + "-", Namespace: namespace,
			Labels: map[string]string{"app.kubernetes.io/name": Name},
			Annotations: map[string]string{
				intent.Prefix + "role": string(intent.RoleServer),
				// Also where the configuration has no variables by default.
				intent.Prefix + "env": string(intent.EnvMTLS),
				// Or the pod would be warned of its key, which its user may not be able to read.
				// Not every namespace takes a group in the securityContext.
				intent.Prefix + "fs-group": "65532",
			},
		},
		Spec: corev1.PodSpec{
			ServiceAccountName:           serviceAccount,
			AutomountServiceAccountToken: new(false),
			RestartPolicy:                corev1.RestartPolicyNever,
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot:   new(true),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: Name, Image: image,
				Resources: corev1.ResourceRequirements{Requests: little, Limits: little},
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
					Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}
}

// HasTrace reports whether the webhook has left anything in the pod, which had nothing of it.
func HasTrace(pod *corev1.Pod) bool {
	return pod.Labels[intent.LabelInjected] != "" || pod.Annotations[intent.AnnotationStatus] != ""
}

// Judgement is what an injected pod has, and what it lacks.
type Judgement struct {
	Good, Bad []string
	Summary   string
}

// check notes a text as good, or else what is wrong.
func (j *Judgement) check(good bool, text, wrong string) {
	if good {
		j.Good = append(j.Good, text)
	} else {
		j.Bad = append(j.Bad, wrong)
	}
}

// Judge looks at all that the injection promises to a server: that it says so, and that what
// it says is there.
func Judge(pod *corev1.Pod, namespace, serviceAccount string) Judgement {
	var j Judgement
	label := pod.Labels[intent.LabelInjected]
	j.check(label == "true", "label "+intent.LabelInjected+`: "true"`, fmt.Sprintf(`label %s is %q, not "true"`, intent.LabelInjected, label))

	var status injector.Status
	text, annotated := pod.Annotations[intent.AnnotationStatus]
	if err := json.Unmarshal([]byte(text), &status); err != nil {
		wrong := "annotation " + intent.AnnotationStatus + " is missing"
		if annotated {
			wrong = fmt.Sprintf("annotation %s is not the injector's: %v", intent.AnnotationStatus, err)
		}
		j.check(false, "", wrong)
		return j
	}
	identity := "/ns/" + namespace + "/sa/" + serviceAccount
	j.check(status.Role == intent.RoleServer && strings.HasPrefix(status.SPIFFE, "spiffe://") && strings.HasSuffix(status.SPIFFE, identity) && status.Issuer != "",
		fmt.Sprintf("annotation %s: mtls-injector %s, %s", intent.AnnotationStatus, status.Version, status.SPIFFE),
		fmt.Sprintf("annotation %s is not that of a server spiffe://…%s with an issuer: %s", intent.AnnotationStatus, identity, text))

	i := slices.IndexFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == Name })
	if i < 0 {
		j.check(false, "", "container "+Name+" is gone")
		return j
	}
	j.wiring(pod, &pod.Spec.Containers[i], &status)
	j.Summary = fmt.Sprintf("pod comes out injected: role %s, issuer %s, names %s", status.Role, status.Issuer, namesOf(&status))
	return j
}

// namesOf are the certificate's: not each server has a DNS name.
func namesOf(status *injector.Status) string {
	return strings.Join(append(slices.Clone(status.DNS), status.SPIFFE), ", ")
}

// wiring looks at the variables, and at the volumes behind the files that they name.
func (j *Judgement) wiring(pod *corev1.Pod, container *corev1.Container, status *injector.Status) {
	values := map[string]string{}
	for _, variable := range container.Env {
		values[variable.Name] = variable.Value
	}
	var names, missing []string
	for _, variable := range injector.Variables() {
		if variable.Profile != intent.EnvMTLS || variable.Role == intent.RoleClient {
			continue
		}
		names = append(names, variable.Name)
		if values[variable.Name] == "" {
			missing = append(missing, variable.Name)
		}
	}
	j.check(len(missing) == 0, "environment: "+strings.Join(names, ", "), "environment lacks "+strings.Join(missing, ", "))

	const certificate, bundle = "MTLS_SERVER_CERT", "MTLS_CA_CERT"
	if file := values[certificate]; file != "" {
		v := volumeAt(pod, container, path.Dir(file))
		what := "volume with the certificate at " + path.Dir(file)
		switch {
		case v == nil:
			j.check(false, "", what+" is missing")
		case status.Delivery == intent.DeliverySecret:
			j.check(v.Secret != nil || v.Projected != nil, what+": Secret of the companion Certificate", what+" holds no Secret")
		default:
			j.check(v.CSI != nil && v.CSI.Driver == intent.CSIDriver, what+": CSI driver "+intent.CSIDriver, what+" is not of the CSI driver "+intent.CSIDriver)
		}
	}
	if file := values[bundle]; file != "" {
		what := "volume with the CA bundle at " + path.Dir(file)
		j.check(volumeAt(pod, container, path.Dir(file)) != nil, what, what+" is missing")
	}
}

// volumeAt returns the volume that the container has mounted there, or nil.
func volumeAt(pod *corev1.Pod, container *corev1.Container, folder string) *corev1.Volume {
	mount := slices.IndexFunc(container.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == folder })
	if mount < 0 {
		return nil
	}
	name := container.VolumeMounts[mount].Name
	volume := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == name })
	if volume < 0 {
		return nil
	}
	return &pod.Spec.Volumes[volume]
}
