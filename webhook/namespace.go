package webhook

// The handler of Namespaces: their annotations are defaults for pods, so what is wrong with
// them is told before there are pods.

import (
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"

	"example.io/mtls-injector/intent"
)

// NamespacePath is where the handler of Namespaces is served.
const NamespacePath = "/validate-v1-namespace"

// NewNamespaceHandler returns the handler of [NamespacePath]: validating admission of v1
// Namespaces, on CREATE and UPDATE. It looks at nothing but the request. As with
// [NewWorkloadHandler], an UPDATE that leaves our annotations as they were is never refused,
// even when it changes labels, which decide what is allowed.
func NewNamespaceHandler(opts PodOptions) http.Handler {
	return &validator{
		kind: kindNamespace, consequence: "pods that leave it as it is will be refused",
		annotations: func(groupVersionKind) []string { return []string{"metadata", "annotations"} },
		decide:      decideNamespace,
		metrics:     opts.Metrics, defaults: opts.Defaults, log: opts.Log,
	}
}

func decideNamespace(_ call, r *validation) verdict {
	q := r.request
	if q.Kind != (groupVersionKind{Version: "v1", Kind: "Namespace"}) {
		err := fmt.Errorf("the request is for %s, but this webhook answers for v1 Namespace only: correct the rules of its configuration", q.Kind)
		return badRequest(http.StatusBadRequest, err).verdict(q)
	}
	var object corev1.Namespace
	if err := decodeMember(r.object, &object.ObjectMeta, "metadata"); err != nil {
		return badRequest(http.StatusBadRequest, err).verdict(q)
	}
	ns := intent.NamespaceOf(&object)
	if errs := intent.CheckNamespace(r.defaults, &ns); len(errs) > 0 {
		return verdict{label: label{outcomeRefused, reasonInvalid}, request: q, refused: errs}
	}
	return verdict{label: label{outcomeAllowed, reasonValid}, request: q}
}
