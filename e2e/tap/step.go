package tap

import (
	"fmt"
	"net/http"
	"strings"
)

// Step is one request that changes something. Two are equal if they are the same step of
// two runs of the same story: the namespace, which differs, is not in it.
type Step struct {
	Method string
	// Resource is the resource with its group and subresource, as in "deployments.apps" or
	// "certificates.cert-manager.io/status"; the path, where that is no resource's.
	Resource string
	// Name is the object's, as far as the path has it: not when the object is created by
	// POST. That of an Event is left out, for it is made from the time of day.
	Name string
	// N tells equal requests of one recording apart: 1 for the first.
	N int
}

// String gives the step as in "PATCH deployments.apps web", or "… web (2)" for the second.
func (s Step) String() string {
	text := s.Method + " " + s.Resource
	if s.Name != "" {
		text += " " + s.Name
	}
	if s.N > 1 {
		text += fmt.Sprintf(" (%d)", s.N)
	}
	return text
}

// leases are written all the time, and tell nothing of the work.
const leases = "leases.coordination.k8s.io"

// stepOf reads what a request changes, and in which namespace ("" for what is in none).
// It is false for a request that changes nothing, or a Lease.
func stepOf(r *http.Request) (step Step, namespace string, changes bool) {
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		return Step{}, "", false
	}
	step = Step{Method: r.Method}
	step.Resource, namespace, step.Name = parsePath(r.URL.Path)
	if strings.HasPrefix(step.Resource, "events") {
		step.Name = ""
	}
	return step, namespace, step.Resource != leases
}

// parsePath takes a path of the Kubernetes API apart:
//
//	/api/VERSION/…, /apis/GROUP/VERSION/…
//	… [namespaces/NAMESPACE/]RESOURCE[/NAME[/SUBRESOURCE]]
func parsePath(path string) (resource, namespace, name string) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	var group string
	switch {
	case parts[0] == "api" && len(parts) > 2:
		parts = parts[2:]
	case parts[0] == "apis" && len(parts) > 3:
		group, parts = "."+parts[1], parts[3:]
	default:
		return path, "", ""
	}
	if parts[0] == "namespaces" && len(parts) > 2 && !ofNamespaces(parts[2]) {
		namespace, parts = parts[1], parts[2:]
	}
	resource = parts[0] + group
	if len(parts) > 1 {
		name = parts[1]
	}
	if len(parts) > 2 {
		resource += "/" + strings.Join(parts[2:], "/")
	}
	return resource, namespace, name
}

// ofNamespaces reports whether the word is a subresource of a Namespace, not a resource
// in it.
func ofNamespaces(word string) bool { return word == "status" || word == "finalize" }
