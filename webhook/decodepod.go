package webhook

// What is read of a Pod: the parts that a decision needs, one function a type of package
// intent, each a list of member names and where they go. What they leave out is what
// intent.Pod leaves out, so whatever else stands in the pod is never read and never lost.

import (
	"fmt"
	"math"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"example.io/mtls-injector/intent"
)

// pod reads a Pod. The spec is most of it, and passed over when wanted says so of the
// metadata; if there is none yet, it is read in any case.
func (r *reader) pod(p *intent.Pod, wanted func() bool) error {
	described := false
	return r.object(func(name []byte) error {
		switch string(name) {
		case "metadata":
			described = true
			return r.podMetadata(&p.Metadata)
		case "spec":
			if !described || wanted() {
				return r.podSpec(&p.Spec)
			}
		}
		return r.skip()
	})
}

func (r *reader) podMetadata(m *intent.PodMetadata) error {
	return r.object(func(name []byte) error {
		switch string(name) {
		case "name":
			return r.str(&m.Name)
		case "generateName":
			return r.str(&m.GenerateName)
		case "namespace":
			return r.str(&m.Namespace)
		case "uid":
			return r.str(&m.UID)
		case "labels":
			return r.stringMap(&m.Labels)
		case "annotations":
			return r.stringMap(&m.Annotations)
		case "ownerReferences":
			return list(r, &m.OwnerReferences, 1, (*reader).ownerReference)
		}
		return r.skip()
	})
}

func (r *reader) ownerReference(o *intent.OwnerReference) error {
	return r.object(func(name []byte) error {
		switch string(name) {
		case "apiVersion":
			return r.str(&o.APIVersion)
		case "kind":
			return r.str(&o.Kind)
		case "name":
			return r.str(&o.Name)
		case "uid":
			return r.str(&o.UID)
		case "controller":
			return r.boolean(&o.Controller)
		}
		return r.skip()
	})
}

func (r *reader) podSpec(s *intent.PodSpec) error {
	return r.object(func(name []byte) error {
		switch string(name) {
		case "serviceAccountName":
			return r.str(&s.ServiceAccountName)
		case "nodeSelector":
			return r.stringMap(&s.NodeSelector)
		case "os":
			return pointer(r, &s.OS, reflected)
		case "terminationGracePeriodSeconds":
			return pointer(r, &s.TerminationGracePeriodSeconds, (*reader).integer)
		case "hostNetwork":
			return r.boolean(&s.HostNetwork)
		case "hostPID":
			return r.boolean(&s.HostPID)
		case "shareProcessNamespace":
			return pointer(r, &s.ShareProcessNamespace, (*reader).boolean)
		case "securityContext":
			return pointer(r, &s.SecurityContext, (*reader).podSecurityContext)
		case "volumes":
			return list(r, &s.Volumes, 8, (*reader).volume)
		case "initContainers":
			return list(r, &s.InitContainers, 1, (*reader).container)
		case "containers":
			return list(r, &s.Containers, 2, (*reader).container)
		}
		return r.skip()
	})
}

func (r *reader) podSecurityContext(c *intent.PodSecurityContext) error {
	return r.object(func(name []byte) error {
		switch string(name) {
		case "runAsUser":
			return pointer(r, &c.RunAsUser, (*reader).integer)
		case "runAsGroup":
			return pointer(r, &c.RunAsGroup, (*reader).integer)
		case "runAsNonRoot":
			return pointer(r, &c.RunAsNonRoot, (*reader).boolean)
		case "fsGroup":
			return pointer(r, &c.FSGroup, (*reader).integer)
		}
		return r.skip()
	})
}

func (r *reader) securityContext(c *intent.SecurityContext) error {
	return r.object(func(name []byte) error {
		switch string(name) {
		case "runAsUser":
			return pointer(r, &c.RunAsUser, (*reader).integer)
		case "runAsGroup":
			return pointer(r, &c.RunAsGroup, (*reader).integer)
		case "runAsNonRoot":
			return pointer(r, &c.RunAsNonRoot, (*reader).boolean)
		}
		return r.skip()
	})
}

func (r *reader) volume(v *intent.Volume) error {
	return r.object(func(name []byte) error {
		switch string(name) {
		case "name":
			return r.str(&v.Name)
		case "csi":
			return pointer(r, &v.CSI, reflected)
		case "secret":
			return pointer(r, &v.Secret, reflected)
		case "configMap":
			return pointer(r, &v.ConfigMap, reflected)
		case "projected":
			return pointer(r, &v.Projected, reflected)
		}
		return r.skip()
	})
}

// reflected reads one of core/v1's own types, as its tags say.
func reflected[T any](r *reader, v *T) error {
	return json.UnmarshalDecode(&r.dec, v)
}

func (r *reader) container(c *intent.Container) error {
	return r.object(func(name []byte) error {
		switch string(name) {
		case "name":
			return r.str(&c.Name)
		case "image":
			return r.str(&c.Image)
		case "command":
			return list(r, &c.Command, 4, (*reader).str)
		case "restartPolicy":
			return pointer(r, &c.RestartPolicy, stringType[corev1.ContainerRestartPolicy])
		case "env":
			return list(r, &c.Env, 16, (*reader).envVar)
		case "volumeMounts":
			return list(r, &c.VolumeMounts, 4, (*reader).volumeMount)
		case "lifecycle":
			return pointer(r, &c.Lifecycle, (*reader).lifecycle)
		case "livenessProbe":
			return pointer(r, &c.LivenessProbe, (*reader).probe)
		case "readinessProbe":
			return pointer(r, &c.ReadinessProbe, (*reader).probe)
		case "startupProbe":
			return pointer(r, &c.StartupProbe, (*reader).probe)
		case "securityContext":
			return pointer(r, &c.SecurityContext, (*reader).securityContext)
		}
		return r.skip()
	})
}

// stringType reads a string of a named type.
func stringType[T ~string](r *reader, dst *T) error {
	var s string
	err := r.str(&s)
	*dst = T(s)
	return err
}

func (r *reader) envVar(e *intent.EnvVar) error {
	return r.object(func(name []byte) error {
		switch string(name) {
		case "name":
			return r.str(&e.Name)
		case "value":
			return r.str(&e.Value)
		}
		return r.skip()
	})
}

func (r *reader) volumeMount(m *intent.VolumeMount) error {
	return r.object(func(name []byte) error {
		switch string(name) {
		case "name":
			return r.str(&m.Name)
		case "mountPath":
			return r.str(&m.MountPath)
		case "readOnly":
			return r.boolean(&m.ReadOnly)
		case "subPath":
			return r.str(&m.SubPath)
		case "subPathExpr":
			return r.str(&m.SubPathExpr)
		}
		return r.skip()
	})
}

func (r *reader) lifecycle(l *intent.Lifecycle) error {
	return r.object(func(name []byte) error {
		if string(name) == "preStop" {
			return pointer(r, &l.PreStop, (*reader).preStop)
		}
		return r.skip()
	})
}

func (r *reader) preStop(h *intent.PreStopHandler) error {
	return r.object(func(name []byte) error {
		switch string(name) {
		case "sleep":
			return pointer(r, &h.Sleep, reflected)
		case "exec":
			return pointer(r, &h.Exec, reflected)
		}
		return r.skip()
	})
}

func (r *reader) probe(p *intent.Probe) error {
	return r.object(func(name []byte) error {
		switch string(name) {
		case "httpGet":
			return pointer(r, &p.HTTPGet, (*reader).httpGet)
		case "tcpSocket":
			return pointer(r, &p.TCPSocket, reflected)
		}
		return r.skip()
	})
}

func (r *reader) httpGet(a *intent.HTTPGetAction) error {
	return r.object(func(name []byte) error {
		switch string(name) {
		case "path":
			return r.str(&a.Path)
		case "httpHeaders":
			return list(r, &a.HTTPHeaders, 1, reflected)
		case "port":
			return r.intOrString(&a.Port)
		case "host":
			return r.str(&a.Host)
		case "scheme":
			return stringType(r, &a.Scheme)
		}
		return r.skip()
	})
}

func (r *reader) intOrString(v *intstr.IntOrString) error {
	if r.dec.PeekKind() == jsontext.KindString {
		v.Type = intstr.String
		return r.str(&v.StrVal)
	}
	var n int64
	if err := r.integer(&n); err != nil {
		return err
	}
	if n < math.MinInt32 || n > math.MaxInt32 {
		return fmt.Errorf("%s: %d is out of range", r.where(), n)
	}
	v.IntVal = int32(n)
	return nil
}
