package e2e

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"example.io/mtls-injector/e2e/csidriver"
	"example.io/mtls-injector/intent"
)

// annotationCase is a value of an annotation. The pod has the role both, unless and says
// otherwise.
type annotationCase struct {
	value string
	and   map[string]string // further annotations
	// see returns what the value changes in the pod, and want is how it looks; {ns} stands
	// for the namespace. For a refused value, want is the text of the refusal.
	see  func(*admitted) string
	want string
	// field and invalid are where and what is refused, if not the annotation and its value.
	field   string
	invalid string
}

func (tc *annotationCase) inNamespace(namespace string) string {
	return strings.ReplaceAll(tc.want, "{ns}", namespace)
}

// shown is the value as the refusal repeats it.
func (tc *annotationCase) shown() string {
	if tc.invalid != "" {
		return tc.invalid
	}
	return tc.value
}

// admitted is what the API server answered.
type admitted struct {
	*corev1.Pod
	warnings []string
}

// The functions below look at one thing of an injected pod each.

// seeAttribute returns what the CSI driver is told.
func seeAttribute(key string) func(*admitted) string {
	return func(pod *admitted) string {
		volume := volumeNamed(pod.Pod, "mtls-certs")
		if volume == nil || volume.CSI == nil {
			return "no CSI volume"
		}
		return volume.CSI.VolumeAttributes[csidriver.Prefix+key]
	}
}

// seeServed lists the containers that have the key pair.
func seeServed(pod *admitted) string {
	var names []string
	eachContainer(pod.Pod, func(c *corev1.Container) {
		if mounts(c, "mtls-certs") {
			names = append(names, c.Name)
		}
	})
	return strings.Join(names, " ")
}

// seeFolders lists where the application finds the volumes.
func seeFolders(pod *admitted) string {
	var paths []string
	for _, mount := range pod.Spec.Containers[0].VolumeMounts {
		if isOurs(mount.Name) {
			paths = append(paths, mount.Name+":"+mount.MountPath)
		}
	}
	return strings.Join(paths, " ")
}

// seeVariables lists the names of the application's variables.
func seeVariables(pod *admitted) string {
	var names []string
	for _, variable := range pod.Spec.Containers[0].Env {
		names = append(names, variable.Name)
	}
	return strings.Join(names, " ")
}

// seeKeyPair names the kind of the volume with the key pair, and the Secret if it is one.
func seeKeyPair(pod *admitted) string {
	switch volume := volumeNamed(pod.Pod, "mtls-certs"); {
	case volume == nil:
		return "none"
	case volume.CSI != nil:
		return volume.CSI.Driver
	case volume.Secret != nil:
		return "Secret " + volume.Secret.SecretName
	default:
		return "another"
	}
}

// seeBundle names the object with the CA bundle.
func seeBundle(pod *admitted) string {
	switch volume := volumeNamed(pod.Pod, "mtls-ca"); {
	case volume == nil:
		return "none"
	case volume.ConfigMap != nil:
		return "ConfigMap " + volume.ConfigMap.Name
	case volume.Projected != nil && volume.Projected.Sources[0].ClusterTrustBundle != nil:
		return "ClusterTrustBundle " + *volume.Projected.Sources[0].ClusterTrustBundle.Name
	default:
		return "another"
	}
}

// seeSleep returns how long the application's preStop hook sleeps.
func seeSleep(pod *admitted) string {
	lifecycle := pod.Spec.Containers[0].Lifecycle
	if lifecycle == nil || lifecycle.PreStop == nil || lifecycle.PreStop.Sleep == nil {
		return "none"
	}
	return strconv.FormatInt(lifecycle.PreStop.Sleep.Seconds, 10)
}

// seeProbe returns the kind of the application's readiness probe.
func seeProbe(pod *admitted) string {
	if pod.Spec.Containers[0].ReadinessProbe.TCPSocket != nil {
		return "tcpSocket"
	}
	return "httpGet"
}

// seeStatus returns what the status annotation says under the key.
func seeStatus(key string) func(*admitted) string {
	return func(pod *admitted) string {
		status := map[string]any{}
		if err := json.Unmarshal([]byte(pod.Annotations[intent.AnnotationStatus]), &status); err != nil {
			return err.Error()
		}
		text, _ := status[key].(string)
		return text
	}
}

// seeNames lists the items of the certificate's DNS names that have no dot.
func seeNames(pod *admitted) string {
	all := strings.Split(seeAttribute("dns-names")(pod), ",")
	return strings.Join(slices.DeleteFunc(all, func(name string) bool { return strings.Contains(name, ".") }), " ")
}

// seeInjected says whether the pod was injected at all.
func seeInjected(pod *admitted) string {
	return strconv.FormatBool(pod.Labels[intent.LabelInjected] == "true")
}

// seeWarning returns the first warning that speaks of the annotation.
func seeWarning(key string) func(*admitted) string {
	return func(pod *admitted) string {
		for _, text := range pod.warnings {
			if strings.Contains(text, intent.Prefix+key+":") {
				return text
			}
		}
		return ""
	}
}
