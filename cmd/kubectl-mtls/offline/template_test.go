package offline

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/cmd/kubectl-mtls/manifest"
	"example.io/mtls-injector/intent"
)

func object(apiVersion, kind, name string) *manifest.Object {
	return &manifest.Object{APIVersion: apiVersion, Kind: kind, Name: name}
}

// What controllers make of a template: the names are only stand-ins, the form is theirs.
func TestAsCreated(t *testing.T) {
	owned := func(apiVersion, kind, name string, labels map[string]string) intent.PodMetadata {
		return intent.PodMetadata{
			GenerateName: name + "-", Labels: labels, Annotations: map[string]string{"a": "1"},
			OwnerReferences: []intent.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: name, Controller: true}},
		}
	}
	for name, c := range map[string]struct {
		object *manifest.Object
		want   intent.PodMetadata
	}{
		"Deployment":  {object("apps/v1", "Deployment", "web"), owned("apps/v1", "ReplicaSet", "web-5d9c7f8b6d", map[string]string{"app": "x", "pod-template-hash": "5d9c7f8b6d"})},
		"Rollout":     {object("argoproj.io/v1alpha1", "Rollout", "web"), owned("apps/v1", "ReplicaSet", "web-5d9c7f8b6d", map[string]string{"app": "x", "rollouts-pod-template-hash": "5d9c7f8b6d"})},
		"StatefulSet": {object("apps/v1", "StatefulSet", "db"), owned("apps/v1", "StatefulSet", "db", map[string]string{"app": "x"})},
		"CronJob":     {object("batch/v1", "CronJob", "night"), owned("batch/v1", "Job", "night-29000000", map[string]string{"app": "x"})},
		"Job":         {object("batch/v1", "Job", "load"), owned("batch/v1", "Job", "load", map[string]string{"app": "x", "job-name": "load", "batch.kubernetes.io/job-name": "load"})},
		"custom":      {object("x.io/v1", "Fleet", "ships"), owned("x.io/v1", "Fleet", "ships", map[string]string{"app": "x"})},
		"a Deployment that is none": {
			object("x.io/v1", "Deployment", "web"), owned("x.io/v1", "Deployment", "web", map[string]string{"app": "x"}),
		},
	} {
		t.Run(name, func(t *testing.T) {
			template := &intent.Pod{
				Metadata: intent.PodMetadata{Name: "ignored", Labels: map[string]string{"app": "x"}, Annotations: map[string]string{"a": "1"}},
				Spec:     intent.PodSpec{ServiceAccountName: "robot"},
			}
			pod, missing := asCreated(c.object, template)
			require.Nil(t, missing)
			assert.Empty(t, cmp.Diff(&intent.Pod{Metadata: c.want, Spec: intent.PodSpec{ServiceAccountName: "robot"}}, pod))
			assert.Equal(t, map[string]string{"app": "x"}, template.Metadata.Labels, "the template stays as it is")
		})
	}
}

func TestAsCreatedOfABarePod(t *testing.T) {
	pod := &intent.Pod{Metadata: intent.PodMetadata{GenerateName: "run-", Labels: map[string]string{"app": "x"}}}
	created, missing := asCreated(object("v1", "Pod", ""), pod)
	require.Nil(t, missing, "the webhook takes such a pod by its prefix, too")
	assert.Equal(t, pod, created)
	assert.NotSame(t, pod, created)
}

func TestAsCreatedWithoutLabels(t *testing.T) {
	pod, missing := asCreated(object("apps/v1", "Deployment", "web"), &intent.Pod{})
	require.Nil(t, missing)
	assert.Equal(t, map[string]string{"pod-template-hash": templateHash}, pod.Metadata.Labels)

	pod, missing = asCreated(object("apps/v1", "DaemonSet", "web"), &intent.Pod{})
	require.Nil(t, missing)
	assert.Nil(t, pod.Metadata.Labels)
}

func TestPlace(t *testing.T) {
	errs := func() field.ErrorList {
		return field.ErrorList{
			field.Required(field.NewPath("spec", "containers").Index(0).Child("name"), ""),
			field.Required(field.NewPath("namespace", "metadata", "annotations").Key("a/b"), ""),
		}
	}
	for name, c := range map[string]struct {
		list string
		path []string
		want []string
	}{
		"pod":         {"", nil, []string{"spec.containers[0].name: Required value", "namespace.metadata.annotations[a/b]: Required value"}},
		"template":    {"", []string{"spec", "template"}, []string{"spec.template.spec.containers[0].name: Required value", "namespace.metadata.annotations[a/b]: Required value"}},
		"item":        {"items[3]", nil, []string{"items[3].spec.containers[0].name: Required value", "namespace.metadata.annotations[a/b]: Required value"}},
		"item's item": {"items[3].items[0]", []string{"template"}, []string{"items[3].items[0].template.spec.containers[0].name: Required value", "namespace.metadata.annotations[a/b]: Required value"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := Decision{Object: &manifest.Object{Path: c.list}, Path: c.path}
			assert.Equal(t, c.want, texts(d.Place(errs())))
		})
	}
}

func TestBelow(t *testing.T) {
	for token, want := range map[string]string{"name": "spec.name", "0": "spec[0]", "12": "spec[12]", "a.b/c": "spec[a.b/c]", "a.b": "spec[a.b]", "key-with-dash": "spec.key-with-dash"} {
		assert.Equal(t, want, below(field.NewPath("spec"), token).String())
	}
}
