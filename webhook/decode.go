package webhook

// What is read of an AdmissionReview.

import (
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"example.io/mtls-injector/intent"
)

const (
	reviewAPIVersion = "admission.k8s.io/v1"
	reviewKind       = "AdmissionReview"
	operationCreate  = "CREATE"
)

// request is the part of admission.k8s.io/v1 AdmissionRequest that is needed.
type request struct {
	UID         string
	Kind        groupVersionKind
	SubResource string
	Name        string
	Namespace   string
	Operation   string
	DryRun      bool
	// Pod is the object, if createsPod and it is not null. Its spec is empty when nobody
	// wanted it.
	Pod *intent.Pod
}

type groupVersionKind struct {
	Group, Version, Kind string
}

func (g groupVersionKind) String() string {
	if g.Group == "" {
		return g.Version + " " + g.Kind
	}
	return g.Group + "/" + g.Version + " " + g.Kind
}

func (g groupVersionKind) isPod() bool { return g == groupVersionKind{Version: "v1", Kind: "Pod"} }

// createsPod reports whether the request is what this webhook is for: the creation of a
// pod itself, not of a subresource such as pods/eviction.
func (q *request) createsPod() bool {
	return q.Kind.isPod() && q.Operation == operationCreate && q.SubResource == ""
}

// review is an AdmissionReview while it is read.
type review struct {
	apiVersion, kind string
	request          *request
	// wanted says, once all is known that comes before the pod's spec, whether to read that.
	wanted func(*request) bool
	// object is set aside when it comes before the members that say what it is. The API
	// server sends it after them.
	object jsontext.Value
}

// decodeReview reads the AdmissionReview that is the reader's text. The result keeps no
// reference to the reader. The spec of a pod for which wanted returns false is not read.
func (r *reader) decodeReview(wanted func(*request) bool) (*request, error) {
	v := review{wanted: wanted}
	err := r.object(func(name []byte) error {
		switch string(name) {
		case "apiVersion":
			return r.str(&v.apiVersion)
		case "kind":
			return r.str(&v.kind)
		case "request":
			return pointer(r, &v.request, func(r *reader, q *request) error { return r.admissionRequest(&v, q) })
		}
		return r.skip()
	})
	if err != nil {
		return nil, err
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	return v.check()
}

// check tells what the review is, if it is not one that we can answer.
func (v *review) check() (*request, error) {
	switch {
	case v.kind != reviewKind || v.apiVersion != reviewAPIVersion:
		return nil, fmt.Errorf("the body is %q %q, but this webhook speaks %s %s only: set admissionReviewVersions to [v1]",
			v.apiVersion, v.kind, reviewAPIVersion, reviewKind)
	case v.request == nil:
		return nil, fmt.Errorf("the %s has no request", reviewKind)
	case v.request.UID == "":
		return nil, fmt.Errorf("the request has no uid")
	case v.request.createsPod() && v.object != nil:
		return v.request, v.readObject()
	default:
		return v.request, nil
	}
}

func (r *reader) admissionRequest(v *review, q *request) error {
	return r.object(func(name []byte) error {
		switch string(name) {
		case "uid":
			return r.str(&q.UID)
		case "kind":
			return r.groupVersionKind(&q.Kind)
		case "subResource":
			return r.str(&q.SubResource)
		case "name":
			return r.str(&q.Name)
		case "namespace":
			return r.str(&q.Namespace)
		case "operation":
			return r.str(&q.Operation)
		case "dryRun":
			return r.boolean(&q.DryRun)
		case "object":
			return r.admittedObject(v, q)
		}
		return r.skip()
	})
}

func (r *reader) groupVersionKind(g *groupVersionKind) error {
	return r.object(func(name []byte) error {
		switch string(name) {
		case "group":
			return r.str(&g.Group)
		case "version":
			return r.str(&g.Version)
		case "kind":
			return r.str(&g.Kind)
		}
		return r.skip()
	})
}

func (r *reader) admittedObject(v *review, q *request) error {
	if !q.createsPod() {
		object, err := r.dec.ReadValue()
		v.object = object
		return err
	}
	return pointer(r, &q.Pod, func(r *reader, p *intent.Pod) error {
		return r.pod(p, func() bool { return v.wanted(q) })
	})
}

func (v *review) readObject() error {
	var r reader
	r.reset(v.object)
	return r.admittedObject(v, v.request)
}

// podName is the pod's name, or what its name will start with.
func (q *request) podName() string {
	switch {
	case q.Name != "":
		return q.Name
	case q.Pod == nil:
		return ""
	case q.Pod.Metadata.Name != "":
		return q.Pod.Metadata.Name
	default:
		return q.Pod.Metadata.GenerateName
	}
}
