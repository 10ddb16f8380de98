package injector

import (
	"strconv"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/intent"
)

// volumes adds the wanted volumes to the pod. A volume that has the name already is left
// when it is the same. Otherwise it is replaced in a pod that carries our status, be it
// from an earlier call or copied from another pod's manifest, and refused in any other.
func volumes(p *patch) {
	var missing list[volume, *volume]
	_, injected := p.pod.Metadata.Annotations[intent.AnnotationStatus]
	for i := range p.volumes {
		want := &p.volumes[i]
		switch at := p.volumeIndex(want.name); {
		case at < 0:
			missing = append(missing, *want)
		case want.is(&p.pod.Spec.Volumes[at]):
		case injected:
			p.operation("replace", p.join("/spec/volumes/", strconv.Itoa(at)), want)
		default:
			p.refuse(field.Invalid(field.NewPath("spec", "volumes").Index(at).Child("name"), want.name,
				"the name is reserved for the volume that is injected: give yours another name"))
		}
	}
	if len(p.pod.Spec.Volumes) == 0 {
		p.add("/spec/volumes", missing)
		return
	}
	for i := range missing {
		p.add("/spec/volumes/-", &missing[i])
	}
}

func (p *patch) volumeIndex(name string) int {
	for i := range p.pod.Spec.Volumes {
		if p.pod.Spec.Volumes[i].Name == name {
			return i
		}
	}
	return -1
}
