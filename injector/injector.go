// Package injector turns an [intent.Intent] into the patch that wires a pod up.
//
// It is the second pure room of the house: a pod and what was decided for it go in, and
// RFC 6902 operations, warnings and conflicts come out. There is no client, no clock and
// no I/O. The operations are built directly and touch only what they add, so fields that
// our API types don't know survive, and a second run finds its own work and adds nothing.
//
// Each mutation has a file of its own; [Patch] lists them in the order in which they run.
package injector

import (
	"gomodules.xyz/jsonpatch/v2"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/intent"
)

// Result is the outcome of [Patch].
type Result struct {
	// Operations is the patch, in the order in which it must be applied; empty when the
	// pod has everything already. Values are meant to be marshalled only, by [AppendJSON]
	// or encoding/json.
	Operations []jsonpatch.Operation
	// Warnings tell what the user wrote and was kept, or what was changed; each is
	// one sentence.
	Warnings []string
	// Errors holds every conflict at once, with paths that start at "metadata" or "spec".
	// There are no operations then: a pod is never half injected.
	Errors field.ErrorList
}

// Patch returns what must change for the pod to get what the intent says. Both are only
// read, and the operations share no memory with the pod.
func Patch(pod *intent.Pod, in *intent.Intent) Result {
	p := newPatch(pod, in)
	for _, mutate := range []func(*patch){
		certificate,
		caBundle,
		volumes,
		mounts,
		variables,
		preStop,
		probes,
		processes,
		agent, // moves the places of the init containers, so nothing for them may follow
		label,
		status,
	} {
		mutate(p)
	}
	if len(p.errors) > 0 {
		p.ops = nil
	}
	return Result{Operations: p.ops, Warnings: p.warnings, Errors: p.errors}
}
