// Package fakecluster is a cluster in memory for unit tests of commands that ask one: objects
// of a file, of which pods may be injected as admission would have done it, and a user who
// may not read everything. Only tests import it.
package fakecluster

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

// Injected marks a pod of a file that is to be injected, by the built-in defaults and what it
// says itself.
const Injected = "test.example.io/injected"

// New returns a client of a cluster that has the objects of a YAML file. deny says what the
// user may not do, as "list pods" or, in one namespace, "get pods shop"; "list pods -" is for
// all namespaces at once.
func New(t testing.TB, scheme *runtime.Scheme, file string, deny ...string) client.WithWatch {
	t.Helper()
	objects := Objects(t, file)
	inject(t, objects)
	builder := fake.NewClientBuilder().WithScheme(scheme).WithRESTMapper(mapper(scheme))
	for _, object := range objects {
		builder = builder.WithObjects(object)
	}
	refuse := func(verb string, object runtime.Object, name, namespace string) error {
		gvk, err := apiutil.GVKForObject(object, scheme)
		if err != nil {
			return err
		}
		gvk.Kind = strings.TrimSuffix(gvk.Kind, "List")
		plural, _ := meta.UnsafeGuessKindToResource(gvk)
		rule := verb + " " + plural.Resource
		where := namespace
		if namespace == "" {
			where = "-"
		}
		if slices.Contains(deny, rule) || slices.Contains(deny, rule+" "+where) {
			return apierrors.NewForbidden(schema.GroupResource{Group: plural.Group, Resource: plural.Resource}, name, fmt.Errorf("user \"jane\" cannot %s resource %q in API group %q", verb, plural.Resource, plural.Group))
		}
		return nil
	}
	return builder.WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
			if err := refuse("get", object, key.Name, key.Namespace); err != nil {
				return err
			}
			return c.Get(ctx, key, object, options...)
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if err := refuse("list", list, "", (&client.ListOptions{}).ApplyOptions(options).Namespace); err != nil {
				return err
			}
			return c.List(ctx, list, options...)
		},
		Create: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.CreateOption) error {
			if err := refuse("create", object, "", object.GetNamespace()); err != nil {
				return err
			}
			return create(ctx, c, object, deny, options)
		},
	}).Build()
}

// create answers reviews of access, of which deny has the rules that the user, or as
// "injector get pods" the injector, lacks; and it injects pods.
func create(ctx context.Context, c client.WithWatch, object client.Object, deny []string, options []client.CreateOption) error {
	switch o := object.(type) {
	case *authorizationv1.SelfSubjectAccessReview:
		o.Status.Allowed = !slices.Contains(deny, o.Spec.ResourceAttributes.Verb+" "+o.Spec.ResourceAttributes.Resource)
		return nil
	case *authorizationv1.SubjectAccessReview:
		o.Status.Allowed = !slices.Contains(deny, "injector "+o.Spec.ResourceAttributes.Verb+" "+o.Spec.ResourceAttributes.Resource)
		return nil
	case *corev1.Pod:
		var ns corev1.Namespace
		if err := c.Get(ctx, client.ObjectKey{Name: o.Namespace}, &ns); err != nil {
			return err
		}
		around := intent.NamespaceOf(&ns)
		result := intent.Resolve(defaults(), &around, intent.PodOf(o), nil)
		return patched(o, injector.Patch(intent.PodOf(o), result.Intent), o)
	}
	return c.Create(ctx, object, options...)
}

func defaults() *intent.Defaults {
	d := intent.BuiltinDefaults()
	d.Version = "v0.1.0"
	return d
}

// patched applies a patch to the object, and decodes what comes out.
func patched(object any, result injector.Result, into any) error {
	if len(result.Errors) > 0 {
		return result.Errors.ToAggregate()
	}
	operations, err := json.Marshal(result.Operations)
	if err != nil {
		return err
	}
	patch, err := jsonpatch.DecodePatch(operations)
	if err != nil {
		return err
	}
	before, err := json.Marshal(object)
	if err != nil {
		return err
	}
	after, err := patch.Apply(before)
	if err != nil {
		return err
	}
	return json.Unmarshal(after, into)
}

// mapper knows the kinds of the scheme, and trust-manager's Bundle.
func mapper(scheme *runtime.Scheme) meta.RESTMapper {
	ofCluster := []string{
		"Namespace", "Node", "ClusterIssuer", "Bundle", "CSIDriver", "CSINode", "MutatingWebhookConfiguration",
		"ValidatingWebhookConfiguration", "ClusterRole", "ClusterRoleBinding",
	}
	bundle := schema.GroupVersionKind{Group: "trust.cert-manager.io", Version: "v1alpha1", Kind: "Bundle"}
	m := meta.NewDefaultRESTMapper(append(scheme.PrioritizedVersionsAllGroups(), bundle.GroupVersion()))
	add := func(gvk schema.GroupVersionKind) {
		var scope meta.RESTScope = meta.RESTScopeNamespace
		if slices.Contains(ofCluster, gvk.Kind) {
			scope = meta.RESTScopeRoot
		}
		m.Add(gvk, scope)
	}
	for gvk := range scheme.AllKnownTypes() {
		add(gvk)
	}
	add(bundle)
	return m
}

// Objects reads a YAML file of objects.
func Objects(t testing.TB, file string) []*unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var objects []*unstructured.Unstructured
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		object := &unstructured.Unstructured{}
		require.NoError(t, yaml.UnmarshalStrict([]byte(document), &object.Object), document)
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
	return objects
}

// inject injects the pods that are marked.
func inject(t testing.TB, objects []*unstructured.Unstructured) {
	t.Helper()
	namespaces, services := map[string]intent.Namespace{}, map[string][]intent.Service{}
	for _, object := range objects {
		switch object.GetKind() {
		case "Namespace":
			namespaces[object.GetName()] = intent.NamespaceOf(object)
		case "Service":
			var svc corev1.Service
			require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &svc))
			services[svc.Namespace] = append(services[svc.Namespace], intent.ServiceOf(&svc))
		}
	}
	for _, object := range objects {
		if object.GetKind() != "Pod" || object.GetAnnotations()[Injected] == "" {
			continue
		}
		var pod corev1.Pod
		require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &pod))
		ns := namespaces[pod.Namespace]
		result := intent.Resolve(defaults(), &ns, intent.PodOf(&pod), services[pod.Namespace])
		require.Empty(t, result.Errors, pod.Name)
		require.NotNil(t, result.Intent, pod.Name)
		var into map[string]any
		require.NoError(t, patched(object.Object, injector.Patch(intent.PodOf(&pod), result.Intent), &into))
		object.Object = into
	}
}
