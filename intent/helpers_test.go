package intent_test

// What the tests of the package share: the namespace "shop", its Deployment "web" and
// the Services before it.

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/intent"
)

// annotations returns the map of key, value, key, value..., with the prefix before keys.
func annotations(pairs ...string) map[string]string {
	out := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		out[intent.Prefix+pairs[i]] = pairs[i+1]
	}
	return out
}

// newPod returns a pod of the Deployment "web", as it stands at admission.
func newPod(pairs ...string) *intent.Pod {
	return &intent.Pod{
		Metadata: intent.PodMetadata{
			GenerateName: "web-5d89f7c6b4-",
			Namespace:    "shop",
			Labels:       map[string]string{"app": "web", "pod-template-hash": "5d89f7c6b4"},
			Annotations:  annotations(pairs...),
			OwnerReferences: []intent.OwnerReference{
				{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-5d89f7c6b4", UID: "rs-uid", Controller: true},
			},
		},
		Spec: intent.PodSpec{
			ServiceAccountName: "web-sa",
			InitContainers:     []intent.Container{{Name: "migrate"}},
			Containers:         []intent.Container{{Name: "app"}, {Name: "istio-proxy"}},
		},
	}
}

// newNamespace returns the namespace "shop".
func newNamespace(pairs ...string) *intent.Namespace {
	return &intent.Namespace{
		Name:        "shop",
		Labels:      map[string]string{"kubernetes.io/metadata.name": "shop", "team": "retail"},
		Annotations: annotations(pairs...),
	}
}

// webService selects the pods of [newPod].
func webService() intent.Service {
	return intent.Service{Name: "web", Selector: map[string]string{"app": "web"}}
}

// resolve decides for a pod with these annotations behind the Service "web".
func resolve(pairs ...string) intent.Result {
	return intent.Resolve(intent.BuiltinDefaults(), newNamespace(), newPod(pairs...), []intent.Service{webService()})
}

// resolveServer is resolve for a server.
func resolveServer(pairs ...string) intent.Result {
	return resolve(append([]string{"role", "server"}, pairs...)...)
}

// mustIntent fails the test unless the result is an Intent.
func mustIntent(t *testing.T, result intent.Result) *intent.Intent {
	t.Helper()
	require.Empty(t, texts(result.Errors))
	require.Empty(t, result.Skip)
	require.NotNil(t, result.Intent)
	return result.Intent
}

// texts returns the errors as a user reads them.
func texts(errs field.ErrorList) []string {
	var out []string
	for _, err := range errs {
		out = append(out, err.Error())
	}
	return out
}
