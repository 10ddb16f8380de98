package injector

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/intent"
)

// injectedPath and statusPath are JSON pointers to the label and the annotation, in
// which "~1" stands for "/" (RFC 6901).
const (
	injectedPath = "/metadata/labels/mtls.example.io~1injected"
	statusPath   = "/metadata/annotations/mtls.example.io~1status"
)

// injectedValue is the label's only value.
const injectedValue = "true"

// label marks the pod for the companion controller.
func label(p *patch) {
	labels := p.pod.Metadata.Labels
	have, ok := labels[intent.LabelInjected]
	switch {
	case have == injectedValue:
		p.keep(keptLabel)
	case ok:
		p.refuse(field.Invalid(field.NewPath("metadata", "labels").Key(intent.LabelInjected), have,
			"the label is reserved for pods that were injected: remove it"))
	case len(labels) == 0:
		p.add("/metadata/labels", &pair{intent.LabelInjected, injectedValue})
	default:
		p.add(injectedPath, injectedValue)
	}
}
