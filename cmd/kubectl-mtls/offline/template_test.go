package offline

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/cmd/kubectl-mtls/manifest"
	"example.io/mtls-injector/intent"
)

func object(apiVersion, kind, name string) *manifest.Object {
	return &manifest.Object{APIVersion: apiVersion, Kind: kind, Name: name}
}

func TestAsCreatedOfATemplate(t *testing.T) {
	template := &intent.Pod{Metadata: intent.PodMetadata{Name: "ignored"}, Spec: intent.PodSpec{ServiceAccountName: "robot"}}
	pod, missing := asCreated(object("apps/v1", "StatefulSet", "db"), template)
	require.Nil(t, missing)
	assert.Equal(t, intent.Workload{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "db"}, intent.WorkloadOf(pod))
	assert.Equal(t, "robot", pod.Spec.ServiceAccountName)

	_, missing = asCreated(object("apps/v1", "StatefulSet", ""), template)
	require.NotNil(t, missing)
	assert.Equal(t, "metadata.name: Required value: the identity depends on the workload's name; let the webhook inject what gets its name in the cluster", missing.Error())
}

func TestAsCreatedOfABarePod(t *testing.T) {
	pod := &intent.Pod{Metadata: intent.PodMetadata{GenerateName: "run-", Labels: map[string]string{"app": "x"}}}
	created, missing := asCreated(object("v1", "Pod", ""), pod)
	require.Nil(t, missing, "the webhook takes such a pod by its prefix, too")
	assert.Equal(t, pod, created)
	assert.NotSame(t, pod, created)
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
