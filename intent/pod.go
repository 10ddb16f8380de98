package intent

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Pod is the part of a Pod that a decision needs. The webhook decodes only this from
// the request, the controller's cache keeps only this; whatever else stands in the
// pod is never read and so never lost. Field names and shapes are those of core/v1.
type Pod struct {
	Metadata PodMetadata `json:"metadata"`
	Spec     PodSpec     `json:"spec"`
}

// PodMetadata is the part of ObjectMeta that is needed. At admission Name is empty for
// pods made by a controller, and Namespace may be: callers set it from the request.
type PodMetadata struct {
	Name            string            `json:"name"`
	GenerateName    string            `json:"generateName"`
	Namespace       string            `json:"namespace"`
	UID             string            `json:"uid"`
	Labels          map[string]string `json:"labels"`
	Annotations     map[string]string `json:"annotations"`
	OwnerReferences []OwnerReference  `json:"ownerReferences"`
}

// OwnerReference is the part of metav1.OwnerReference that is needed.
type OwnerReference struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	UID        string `json:"uid"`
	Controller bool   `json:"controller"`
}

// PodSpec is the part of corev1.PodSpec that is needed.
type PodSpec struct {
	ServiceAccountName            string              `json:"serviceAccountName"`
	NodeSelector                  map[string]string   `json:"nodeSelector"`
	OS                            *corev1.PodOS       `json:"os"`
	TerminationGracePeriodSeconds *int64              `json:"terminationGracePeriodSeconds"`
	HostNetwork                   bool                `json:"hostNetwork"`
	HostPID                       bool                `json:"hostPID"`
	ShareProcessNamespace         *bool               `json:"shareProcessNamespace"`
	SecurityContext               *PodSecurityContext `json:"securityContext"`
	Volumes                       []Volume            `json:"volumes"`
	InitContainers                []Container         `json:"initContainers"`
	Containers                    []Container         `json:"containers"`
}

// PodSecurityContext is the part of corev1.PodSecurityContext that decides who can
// read the key.
type PodSecurityContext struct {
	RunAsUser    *int64 `json:"runAsUser"`
	RunAsGroup   *int64 `json:"runAsGroup"`
	RunAsNonRoot *bool  `json:"runAsNonRoot"`
	FSGroup      *int64 `json:"fsGroup"`
}

// SecurityContext is the same part of a container's corev1.SecurityContext.
type SecurityContext struct {
	RunAsUser    *int64 `json:"runAsUser"`
	RunAsGroup   *int64 `json:"runAsGroup"`
	RunAsNonRoot *bool  `json:"runAsNonRoot"`
}

// Volume is a pod volume by name, with the sources that the injector itself writes;
// all four are nil for every other kind.
type Volume struct {
	Name      string                        `json:"name"`
	CSI       *corev1.CSIVolumeSource       `json:"csi,omitempty"`
	Secret    *corev1.SecretVolumeSource    `json:"secret,omitempty"`
	ConfigMap *corev1.ConfigMapVolumeSource `json:"configMap,omitempty"`
	Projected *corev1.ProjectedVolumeSource `json:"projected,omitempty"`
}

// Container is the part of corev1.Container that is needed, for containers, init
// containers and native sidecars alike.
type Container struct {
	Name            string                         `json:"name"`
	Image           string                         `json:"image"`
	Command         []string                       `json:"command"`
	RestartPolicy   *corev1.ContainerRestartPolicy `json:"restartPolicy"`
	Env             []EnvVar                       `json:"env"`
	VolumeMounts    []VolumeMount                  `json:"volumeMounts"`
	Lifecycle       *Lifecycle                     `json:"lifecycle"`
	LivenessProbe   *Probe                         `json:"livenessProbe"`
	ReadinessProbe  *Probe                         `json:"readinessProbe"`
	StartupProbe    *Probe                         `json:"startupProbe"`
	SecurityContext *SecurityContext               `json:"securityContext"`
}

// EnvVar is a variable by name. Value is empty for variables with valueFrom.
type EnvVar struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// VolumeMount is the part of corev1.VolumeMount that is needed.
type VolumeMount struct {
	Name      string `json:"name"`
	MountPath string `json:"mountPath"`
	ReadOnly  bool   `json:"readOnly"`
	SubPath   string `json:"subPath"`
	// SubPathExpr is a subPath with variables.
	SubPathExpr string `json:"subPathExpr"`
}

// Lifecycle is the part of corev1.Lifecycle that is needed.
type Lifecycle struct {
	PreStop *PreStopHandler `json:"preStop"`
}

// PreStopHandler holds the two actions that the injector itself writes; both are nil
// for every other kind of hook.
type PreStopHandler struct {
	Sleep *corev1.SleepAction `json:"sleep,omitempty"`
	Exec  *corev1.ExecAction  `json:"exec,omitempty"`
}

// Probe is the part of corev1.Probe that is needed.
type Probe struct {
	HTTPGet   *HTTPGetAction          `json:"httpGet"`
	TCPSocket *corev1.TCPSocketAction `json:"tcpSocket"`
}

// HTTPGetAction is corev1.HTTPGetAction.
type HTTPGetAction struct {
	Path        string              `json:"path"`
	Port        intstr.IntOrString  `json:"port"`
	Host        string              `json:"host"`
	Scheme      corev1.URIScheme    `json:"scheme"`
	HTTPHeaders []corev1.HTTPHeader `json:"httpHeaders"`
}

// Namespace is the part of a Namespace that a decision needs.
type Namespace struct {
	Name        string
	Labels      map[string]string
	Annotations map[string]string
}

// NamespaceOf takes from a Namespace what a decision needs; the maps are shared.
func NamespaceOf(ns metav1.Object) Namespace {
	return Namespace{Name: ns.GetName(), Labels: ns.GetLabels(), Annotations: ns.GetAnnotations()}
}

// Service is the part of a Service that a decision needs.
type Service struct {
	Name     string
	Selector map[string]string
	Headless bool
}

// ServiceOf takes from a Service what a decision needs; the selector is shared.
// A Service of type ExternalName selects nothing, whatever its selector says.
func ServiceOf(svc *corev1.Service) Service {
	s := Service{Name: svc.Name, Selector: svc.Spec.Selector, Headless: svc.Spec.ClusterIP == corev1.ClusterIPNone}
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		s.Selector = nil
	}
	return s
}

// Selects reports whether the Service's selector matches the labels. A Service without
// a selector selects nothing.
func (s *Service) Selects(labels map[string]string) bool {
	if len(s.Selector) == 0 {
		return false
	}
	for k, v := range s.Selector {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}
