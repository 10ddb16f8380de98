// Package fakecluster is a cluster in memory for unit tests of commands that ask one: objects
// of a file, of which pods may be injected as admission would have done it, and a user who
// may not read everything. Only tests import it.
package fakecluster

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
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
	builder := fake.NewClientBuilder().WithScheme(scheme)
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
			return apierrors.NewForbidden(schema.GroupResource{Group: plural.Group, Resource: plural.Resource}, name, errors.New("no rule allows it"))
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
	}).Build()
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
	defaults := intent.BuiltinDefaults()
	defaults.Version = "v0.1.0"
	for _, object := range objects {
		if object.GetKind() != "Pod" || object.GetAnnotations()[Injected] == "" {
			continue
		}
		var pod corev1.Pod
		require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &pod))
		ns := namespaces[pod.Namespace]
		result := intent.Resolve(defaults, &ns, intent.PodOf(&pod), services[pod.Namespace])
		require.Empty(t, result.Errors, pod.Name)
		require.NotNil(t, result.Intent, pod.Name)
		apply(t, object, injector.Patch(intent.PodOf(&pod), result.Intent))
	}
}

func apply(t testing.TB, object *unstructured.Unstructured, result injector.Result) {
	t.Helper()
	require.Empty(t, result.Errors)
	operations, err := json.Marshal(result.Operations)
	require.NoError(t, err)
	patch, err := jsonpatch.DecodePatch(operations)
	require.NoError(t, err)
	before, err := object.MarshalJSON()
	require.NoError(t, err)
	after, err := patch.Apply(before)
	require.NoError(t, err)
	object.Object = nil
	require.NoError(t, json.Unmarshal(after, &object.Object))
}
