package e2e

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/e2e/cluster/clustertest"
)

const deployment = `
# a comment and an empty document are no objects
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: example.io/web}]
---
apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: DaemonSet
  metadata: {name: agent}
  spec:
    selector: {matchLabels: {app: agent}}
    template:
      metadata: {labels: {app: agent}}
      spec:
        containers: [{name: agent, image: example.io/agent}]
- apiVersion: batch/v1
  kind: Job
  metadata: {name: once}
  spec:
    template:
      metadata: {labels: {app: once}}
      spec:
        restartPolicy: Never
        containers: [{name: once, image: example.io/once}]
`

func TestClusterMakesPods(t *testing.T) {
	ns := clustertest.Namespace(t, shared, nil)
	objects, err := shared.Apply(t.Context(), []byte(deployment), ns)
	require.NoError(t, err)
	require.Len(t, objects, 3)
	for _, obj := range objects {
		assert.Equal(t, ns, obj.GetNamespace())
		assert.NotEmpty(t, obj.GetUID(), "the API server's answer is kept")
	}
	for app, n := range map[string]int{"web": 2, "agent": 1, "once": 1} {
		pods, err := shared.WaitForPods(t.Context(), ns, map[string]string{"app": app}, n)
		require.NoError(t, err)
		for _, pod := range pods {
			assert.Equal(t, "default", pod.Spec.ServiceAccountName, "admission assigns the account")
			assert.NotEmpty(t, pod.OwnerReferences)
		}
	}
}

func TestApplyStopsAtARefusedDocument(t *testing.T) {
	ns := clustertest.Namespace(t, shared, nil)
	cases := map[string]struct{ manifest, want string }{
		"not YAML":     {"{", "parsing document 1"},
		"unknown kind": {"apiVersion: example.io/v1\nkind: Nothing\nmetadata: {name: x}", `no matches for kind "Nothing"`},
		"invalid": {
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: first}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: []}",
			"applying Pod x: Pod \"x\" is invalid: spec.containers: Required value",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := shared.Apply(t.Context(), []byte(tc.manifest), ns)
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestWaitNamesWhatItWaitedFor(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := shared.WaitForCertificate(ctx, "default", "missing")
	require.ErrorContains(t, err, "waiting for Certificate default/missing: context canceled")
}

func TestKubeconfigIsPrivate(t *testing.T) {
	info, err := os.Stat(shared.Kubeconfig)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())
}
