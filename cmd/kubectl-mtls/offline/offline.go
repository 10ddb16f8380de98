// Package offline decides about the pods in manifests as the webhook decides about those
// of a cluster. It is the front desk of the command line: it makes of a workload's
// template the pod that the controller would create, finds the Namespace and the Services
// in the same input, and asks [intent.Admit].
package offline

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/cmd/kubectl-mtls/manifest"
	"example.io/mtls-injector/intent"
)

// Options say what manifests leave open.
type Options struct {
	// Defaults is the injector's configuration.
	Defaults *intent.Defaults
	// Namespace is for objects that name none; objects of another are an error, as in
	// kubectl. Empty: any namespace is right, and "default" is for those that name none.
	Namespace string
	// NamespaceAnnotations are on every namespace, over those of Namespace objects.
	NamespaceAnnotations map[string]string
	// Namespaces and Services, by namespace, are what is known without manifests. Those of
	// the manifests come on top.
	Namespaces map[string]*intent.Namespace
	Services   map[string][]intent.Service
}

// Decision tells what becomes of one pod, or of the pods of one template.
type Decision struct {
	Object *manifest.Object
	// Path leads from the object to the pod or template; it is empty for a Pod.
	Path []string
	// Pod is the pod or template as it stands in the manifest.
	Pod *intent.Pod
	// Result is that of [intent.Admit]; the paths of its errors begin at the document.
	intent.Result
	// Decisions tell why, as [intent.Explain] does.
	Decisions []intent.Decision
	// Namespace is that of the pod; nil if the manifest is wrong.
	Namespace *intent.Namespace
}

// Problem is what is wrong with an object that is no pod, but has to be understood.
type Problem struct {
	Object *manifest.Object
	Errors field.ErrorList
}

// Decide resolves every pod and pod template in the documents, in their order.
func Decide(docs []*manifest.Document, options *Options) ([]Decision, []Problem) {
	w := &world{options: options, namespaces: map[string]*intent.Namespace{}, services: map[string][]intent.Service{}}
	maps.Copy(w.namespaces, options.Namespaces)
	maps.Copy(w.services, options.Services)
	var objects []*manifest.Object
	var problems []Problem
	for _, d := range docs {
		objects = append(objects, d.Objects()...)
	}
	for _, o := range objects {
		if errs := w.learn(o); len(errs) > 0 {
			problems = append(problems, Problem{Object: o, Errors: errs})
		}
	}
	var decisions []Decision
	for _, o := range objects {
		if path, ok := templatePath(o); ok {
			decisions = append(decisions, w.decide(o, path))
		}
	}
	return decisions, problems
}

// world is what is known besides the pods.
type world struct {
	options    *Options
	namespaces map[string]*intent.Namespace
	services   map[string][]intent.Service // by namespace
}

// learn takes in a Namespace or a Service.
func (w *world) learn(o *manifest.Object) field.ErrorList {
	if o.APIVersion != "v1" {
		return nil
	}
	switch o.Kind {
	case "Namespace":
		var ns corev1.Namespace
		if err := read(o, nil, &ns); err != nil {
			return field.ErrorList{err}
		}
		known := intent.NamespaceOf(&ns)
		w.namespaces[ns.Name] = &known
	case "Service":
		var service corev1.Service
		if err := read(o, nil, &service); err != nil {
			return field.ErrorList{err}
		}
		if err := w.checkNamespace(o); err != nil {
			return field.ErrorList{err}
		}
		name := w.namespaceOf(o)
		w.services[name] = append(slices.Clip(w.services[name]), intent.ServiceOf(&service))
	}
	return nil
}

// read decodes what stands at the path. As at the API server, unknown fields are ignored
// and wrong types are not.
func read(o *manifest.Object, path []string, into any) *field.Error {
	at := fieldPath(o, path)
	data, err := o.JSON(path...)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err == nil {
		return nil
	}
	detail := err.Error()
	if wrong, ok := errors.AsType[*json.SemanticError](err); ok {
		for token := range wrong.JSONPointer.Tokens() {
			at = below(at, token)
		}
		detail = misfit(wrong)
	}
	if at == nil {
		at = field.NewPath("(object)")
	}
	return field.TypeInvalid(at, field.OmitValueType{}, detail)
}

// misfit says what the error says; its own text is meant to change from run to run.
func misfit(err *json.SemanticError) string {
	kind := err.JSONKind.String()
	switch err.JSONKind {
	case '{':
		kind = "object"
	case '[':
		kind = "array"
	case 't', 'f':
		kind = "boolean"
	}
	detail := fmt.Sprintf("a JSON %s does not fit Go's %s", kind, err.GoType)
	if err.Err != nil {
		detail += ": " + err.Err.Error()
	}
	return detail
}

// below writes the path as validation does: indexes and odd keys in brackets.
func below(at *field.Path, token string) *field.Path {
	if i, err := strconv.Atoi(token); err == nil {
		return at.Index(i)
	}
	if strings.ContainsAny(token, "./") {
		return at.Key(token)
	}
	return at.Child(token)
}

// fieldPath returns the path from the document.
func fieldPath(o *manifest.Object, path []string) *field.Path {
	var at *field.Path
	if o.Path != "" {
		at = field.NewPath(o.Path)
	}
	for _, name := range path {
		at = at.Child(name)
	}
	return at
}

func (w *world) namespaceOf(o *manifest.Object) string {
	switch {
	case o.Namespace != "":
		return o.Namespace
	case w.options.Namespace != "":
		return w.options.Namespace
	default:
		return metav1.NamespaceDefault
	}
}

// checkNamespace refuses what kubectl refuses, too.
func (w *world) checkNamespace(o *manifest.Object) *field.Error {
	if o.Namespace == "" || w.options.Namespace == "" || o.Namespace == w.options.Namespace {
		return nil
	}
	return field.Invalid(fieldPath(o, []string{"metadata", "namespace"}), o.Namespace,
		"does not match the namespace of the command line, "+w.options.Namespace)
}

// namespace returns what is known of the namespace, with the label that the API server
// gives every one.
func (w *world) namespace(name string) *intent.Namespace {
	ns := intent.Namespace{Name: name, Labels: map[string]string{}, Annotations: map[string]string{}}
	if known := w.namespaces[name]; known != nil {
		maps.Copy(ns.Labels, known.Labels)
		maps.Copy(ns.Annotations, known.Annotations)
	}
	ns.Labels[corev1.LabelMetadataName] = name
	maps.Copy(ns.Annotations, w.options.NamespaceAnnotations)
	return &ns
}

func (w *world) decide(o *manifest.Object, path []string) Decision {
	d := Decision{Object: o, Path: path, Pod: &intent.Pod{}}
	if err := read(o, path, d.Pod); err != nil {
		d.Errors = append(d.Errors, err)
	}
	if err := w.checkNamespace(o); err != nil {
		d.Errors = append(d.Errors, err)
	}
	if len(d.Errors) > 0 {
		return d
	}
	namespace := w.namespaceOf(o)
	pod, missing := asCreated(o, d.Pod)
	pod.Metadata.Namespace = namespace
	d.Namespace = w.namespace(namespace)
	d.Result, d.Decisions = intent.Explain(w.options.Defaults, d.Namespace, pod, w.services[namespace])
	d.Errors = d.Place(d.Errors)
	if missing != nil && d.Intent != nil {
		d.Result = intent.Result{Errors: field.ErrorList{missing}}
	}
	return d
}

// Place makes the paths of a pod's errors begin at the document. Those of its namespace
// stay as they are.
func (d *Decision) Place(errs field.ErrorList) field.ErrorList {
	at := fieldPath(d.Object, d.Path)
	if at == nil {
		return errs
	}
	for _, err := range errs {
		if !strings.HasPrefix(err.Field, "namespace.") {
			err.Field = at.String() + "." + err.Field
		}
	}
	return errs
}
