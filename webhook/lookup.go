package webhook

// What the handler looks up around a pod: in the cache, and where that may be too old or
// does not have it, at the API server.

import (
	"bytes"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/intent"
)

// young is how old a Service may be for others made together with it to be missing in the
// cache still. The watch is late by milliseconds, but a Service's age is known in whole
// seconds only, and by the API server's clock.
const young = 10 * time.Second

// nearby is a pod's surroundings as the cache has them, if it does.
type nearby struct {
	Surroundings
	known bool
}

func (h *podHandler) lookUp(namespace string) nearby {
	found, known := h.Source.Cached(namespace)
	return nearby{found, known}
}

// concerns reports whether more than the pod's metadata is needed: it is not when
// neither the pod nor its namespace says a word about us, and nothing in the request is
// called as the CSI driver is, as then [intent.Admit] returns [intent.SkipNoRole]
// whatever else stands in the pod. The API server writes its requests itself, so no user
// can spell the driver's name in another way.
func (n *nearby) concerns(pod *intent.Pod, body []byte) bool {
	return !n.known || intent.Concerns(pod.Metadata.Annotations) || intent.Concerns(n.Namespace.Annotations) ||
		bytes.Contains(body, []byte(intent.CSIDriver))
}

// resolve decides with what the cache holds, and asks the API server where that may be
// too old.
//
// The watch behind the cache is some milliseconds late. `kubectl apply -f` of a Service
// and a Deployment makes the pod within that time, and its certificate would lack the
// Service's name until the pod is made anew. The same holds for a namespace that is new. So
// the decision is made again on live data when the namespace is not in the cache, when a
// server is selected by no Service that is known, or by a young one, which may not have
// come alone, where a name rests on the workload's alone, and before a pod is refused. All other pods, and that is nearly all of them,
// cost the API server nothing.
func (h *podHandler) resolve(c call, q *request, near nearby) (intent.Result, error) {
	defaults := h.Defaults()
	if near.known {
		result := intent.Admit(defaults, near.Namespace, q.Pod, near.Services)
		if !near.mayBeStale(&result, q.Pod, c.came) {
			return h.verify(c, q, &result)
		}
	}
	ctx, cancel := c.lookupContext()
	defer cancel()
	found, err := h.Source.Live(ctx, q.Namespace)
	if err != nil {
		return intent.Result{}, err
	}
	result := intent.Admit(defaults, found.Namespace, q.Pod, found.Services)
	return h.verify(c, q, &result)
}

// verify makes sure that the pod is of the workload whose name or Secret it gets: owner
// references and names are what the one who makes the pod says.
func (h *podHandler) verify(c call, q *request, result *intent.Result) (intent.Result, error) {
	getsSecret := result.Intent != nil && result.Intent.Delivery == intent.DeliverySecret
	if !getsSecret && !result.NamedByWorkload {
		return *result, nil
	}
	ctx, cancel := c.lookupContext()
	defer cancel()
	problem, err := h.VerifyWorkload(ctx, q.Pod, result.NamedByWorkload)
	if err != nil {
		return intent.Result{}, fmt.Errorf("verifying the pod's workload: %w", err)
	}
	if problem != nil {
		return intent.Result{Errors: field.ErrorList{problem}}, nil
	}
	return *result, nil
}

func (n *nearby) mayBeStale(result *intent.Result, pod *intent.Pod, now time.Time) bool {
	switch {
	case result.NamedByWorkload: // only if no Service has the name now
		return true
	case result.Intent != nil:
		return result.Intent.Role.IsServer() && n.mayLackService(pod, now)
	default:
		return len(result.Errors) > 0
	}
}

// mayLackService reports whether a Service that selects the pod may not be known yet.
func (n *nearby) mayLackService(pod *intent.Pod, now time.Time) bool {
	selected := false
	for i := range n.Services {
		isYoung := i < len(n.Created) && now.Sub(n.Created[i]) < young
		if (isYoung || !selected) && n.Services[i].Selects(pod.Metadata.Labels) {
			if isYoung {
				return true
			}
			selected = true
		}
	}
	return !selected
}

// warnOfSecret warns of a Secret in the place of the one that the pod mounts. The
// controller leaves it alone and writes no companion Certificate, so the pod would start
// with whatever is in it. The warning is a help for people and no protection, as the
// Secret may be made later; a look that fails is for the log only.
func (h *podHandler) warnOfSecret(c call, v *verdict) {
	if v.intent == nil || v.intent.Delivery != intent.DeliverySecret || len(v.refused) > 0 {
		return
	}
	ctx, cancel := c.lookupContext()
	defer cancel()
	name := v.intent.CompanionName
	switch taken, err := h.Source.SecretTaken(ctx, v.intent.Namespace, name); {
	case err != nil:
		h.Log.Error(err, "cannot tell whose Secret the pod will mount", "uid", v.request.UID, "namespace", v.intent.Namespace)
	case taken:
		v.warnings = append(v.warnings, `Secret "`+name+`" was made by somebody else: the pod mounts it as it is, and no companion Certificate `+
			`is written while it is there`)
	}
}
