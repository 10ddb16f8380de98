package e2e

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// makeOwner makes the owner that the pod says it has, at rest, and lets the pod be of it:
// when a controller makes a pod, its owner is there. The returned function deletes it, and
// has the pod say what it said before.
func (s *scene) makeOwner(t *testing.T, pod *corev1.Pod) (remove func()) {
	t.Helper()
	ref := metav1.GetControllerOfNoCopy(pod)
	if ref == nil {
		return func() {}
	}
	said := ref.UID
	owner := &unstructured.Unstructured{Object: map[string]any{"spec": restingSpec(ref.Kind, pod.Labels)}}
	owner.SetAPIVersion(ref.APIVersion)
	owner.SetKind(ref.Kind)
	owner.SetName(ref.Name)
	owner.SetNamespace(pod.Namespace)
	err := s.cluster.Client.Create(t.Context(), owner)
	if meta.IsNoMatchError(err) {
		s.makeKind(t, ref)
		err = s.cluster.WaitFor(t.Context(), "the kind "+ref.Kind, func(ctx context.Context) error { return s.cluster.Client.Create(ctx, owner) })
	}
	require.NoError(t, err)
	beOf(pod, owner.GetUID())
	return func() {
		beOf(pod, said)
		s.removeOwner(t, owner)
	}
}

func beOf(pod *corev1.Pod, owner types.UID) {
	ref := metav1.GetControllerOfNoCopy(pod)
	ref.UID = owner
	if ref.Kind == "Job" {
		pod.Labels[batchv1.ControllerUidLabel], pod.Labels["controller-uid"] = string(owner), string(owner)
	}
}

// restingSpec is that of a workload that selects pods with these labels, and makes none.
func restingSpec(kind string, labels map[string]string) map[string]any {
	selector := map[string]any{}
	for key, value := range labels {
		selector[key] = value
	}
	template := map[string]any{
		"metadata": map[string]any{"labels": maps.Clone(selector)},
		"spec":     map[string]any{"containers": []any{map[string]any{"name": "app", "image": "example.io/app"}}},
	}
	if kind == "Pod" {
		return template["spec"].(map[string]any)
	}
	spec := map[string]any{"template": template, "replicas": int64(0), "selector": map[string]any{"matchLabels": selector}}
	switch kind {
	case "ReplicationController":
		spec["selector"] = selector
	case "DaemonSet":
		delete(spec, "replicas")
		template["spec"].(map[string]any)["nodeSelector"] = map[string]any{"nowhere": "true"}
	case "Job":
		template["spec"].(map[string]any)["restartPolicy"] = "Never"
		template["metadata"] = map[string]any{}
		return map[string]any{"template": template, "suspend": true}
	}
	return spec
}

// makeKind makes the kind of a custom resource known.
func (s *scene) makeKind(t *testing.T, ref *metav1.OwnerReference) {
	t.Helper()
	group, version, _ := strings.Cut(ref.APIVersion, "/")
	plural := strings.ToLower(ref.Kind) + "s"
	_, err := s.cluster.Apply(t.Context(), []byte(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: `+plural+`.`+group+`}
spec:
  group: `+group+`
  scope: Namespaced
  names: {kind: `+ref.Kind+`, plural: `+plural+`}
  versions:
  - name: `+version+`
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`), "")
	require.NoError(t, err)
}

func (s *scene) removeOwner(t *testing.T, owner *unstructured.Unstructured) {
	t.Helper()
	require.NoError(t, s.cluster.Client.Delete(t.Context(), owner, client.PropagationPolicy(metav1.DeletePropagationBackground)))
	require.NoError(t, s.cluster.WaitFor(t.Context(), owner.GetName()+" to go", func(ctx context.Context) error {
		err := s.cluster.Client.Get(ctx, client.ObjectKeyFromObject(owner), owner)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(err, errors.New("it is there"))
	}))
}
