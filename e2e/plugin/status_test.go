package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/cmd/kubectl-mtls/status"
	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/page"
)

// statusOf asks for the status of a namespace in JSON.
func statusOf(t *testing.T, shell *page.Shell, namespace string) *status.Report {
	t.Helper()
	out, err := shell.Run(t.Context(), "kubectl mtls status -o json -n "+namespace)
	require.NoError(t, err)
	var r status.Report
	require.NoError(t, json.Unmarshal([]byte(out), &r), out)
	return &r
}

// newNamespace makes a namespace that is opted in, and has a workload or none.
func newNamespace(t *testing.T, annotations map[string]string, manifests ...string) string {
	t.Helper()
	ns, err := stage.CreateNamespace(t.Context(), "test-", map[string]string{cluster.EnabledLabel: "true"}, annotations)
	require.NoError(t, err)
	for _, file := range manifests {
		require.NoError(t, apply(t.Context(), file, ns.Name))
	}
	return ns.Name
}

// awaitOrders waits for the workload's pods and its companion.
func awaitOrders(t *testing.T, namespace string) {
	t.Helper()
	_, err := stage.WaitForPods(t.Context(), namespace, map[string]string{"app": "orders"}, 2)
	require.NoError(t, err)
	_, err = stage.WaitForCertificate(t.Context(), namespace, "orders-mtls")
	require.NoError(t, err)
}

// What the API server has made of injected pods is still what they would get: its defaults
// make nothing stale.
func TestStatus(t *testing.T) {
	ns := newNamespace(t, nil, "testdata/workload.yaml", "testdata/kinds.yaml")
	awaitOrders(t, ns)
	require.NoError(t, stage.WaitFor(t.Context(), "all companions", func(context.Context) error {
		for _, w := range statusOf(t, admin(t), ns).Workloads {
			if w.Kind != "CronJob" && (w.Companion == nil || w.Companion.State != "ready") {
				return fmt.Errorf("there is none of %s/%s", w.Kind, w.Name)
			}
		}
		return nil
	}))
	r := statusOf(t, admin(t), ns)
	assert.Equal(t, "ConfigMap mtls-injector/mtls-injector", r.Configuration)
	assert.Empty(t, r.NotKnown)
	var kinds []string
	for _, w := range r.Workloads {
		kinds = append(kinds, w.Kind)
		assert.Empty(t, w.Findings, "%s/%s", w.Kind, w.Name)
		assert.Zero(t, w.Pods.Stale+w.Pods.NotInjected, w.Kind)
	}
	assert.ElementsMatch(t, []string{"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "StatefulSet"}, kinds)

	out, err := admin(t).Run(t.Context(), "kubectl mtls status -n "+ns)
	require.NoError(t, err)
	assert.Regexp(t, `(?m)^Deployment/orders +server +2/2 +0 +ready +(89|90)d +ClusterIssuer/mtls-ca +csi +none +orders \+3$`, out)
	assert.Regexp(t, `(?m)^StatefulSet/db +both +1/1 +0 +ready +\d+d +ClusterIssuer/mtls-ca +secret +restart +db \+4$`, out)
}

// Opted in but older than the webhook, and what the status says mends it.
func TestNotInjected(t *testing.T) {
	out, err := admin(t).Run(t.Context(), "kubectl mtls status -n early --exit-code || test $? = 2")
	require.NoError(t, err)
	assert.Regexp(t, `(?m)^Deployment/orders +server +0/2 `, out)
	found := regexp.MustCompile(`(?s)failure: Deployment/orders in early: 2 of 2 pods are not injected \(.*\): older than the webhook\n    (kubectl [^\n]*)\n`).FindStringSubmatch(out)
	require.NotNil(t, found, out)
	_, err = admin(t).Run(t.Context(), found[1])
	require.NoError(t, err)
	require.NoError(t, stage.WaitFor(t.Context(), "an injected pod", func(ctx context.Context) error {
		var pods corev1.PodList
		err := stage.Client.List(ctx, &pods, client.InNamespace("early"), client.MatchingLabels{"mtls.example.io/injected": "true"})
		if err == nil && len(pods.Items) == 0 { // no kubelet makes it Ready, so the old ones need not go
			err = errors.New("there is none")
		}
		return err
	}))
	_, err = stage.WaitForCertificate(t.Context(), "early", "orders-mtls")
	require.NoError(t, err)
}

// A change of the namespace makes the pods stale, and a restart mends that.
func TestStale(t *testing.T) {
	ns := newNamespace(t, nil, "testdata/workload.yaml")
	awaitOrders(t, ns)
	shell := admin(t)
	_, err := shell.Run(t.Context(), "kubectl annotate namespace "+ns+" mtls.example.io/env=mtls,curl")
	require.NoError(t, err)
	out, err := shell.Run(t.Context(), "kubectl mtls status -n "+ns)
	require.NoError(t, err)
	assert.Regexp(t, `(?m)^Deployment/orders +server +0/2 +2 `, out)
	assert.Contains(t, out, "would come out otherwise today: variables\n    kubectl -n "+ns+" rollout restart deployment/orders\n")
}

// A user of the namespace gets all of it but what is elsewhere, and is told so.
func TestStatusWithFewRights(t *testing.T) {
	ns := newNamespace(t, nil, "testdata/workload.yaml")
	awaitOrders(t, ns)
	shell := user(t, "jane", ns)
	out, err := shell.Run(t.Context(), "kubectl mtls status -n "+ns)
	require.NoError(t, err)
	assert.Regexp(t, `(?m)^Deployment/orders +server +2/2 +0 +ready `, out)
	assert.Contains(t, out, `not known: the injector's configuration (you may not get configmaps/mtls-injector in namespace "mtls-injector")`)
	assert.Equal(t, 1, strings.Count(out, "not known: "), out)

	out, err = shell.Run(t.Context(), "kubectl mtls status -A")
	require.ErrorContains(t, err, "error: you may see neither pods nor workloads there")
	assert.Contains(t, out, "not known: which pods there are, and whether they are injected (you may not list pods in all namespaces)")
}

// Whatever kubectl takes, the plugin takes.
func TestKubectlsFlags(t *testing.T) {
	ns := newNamespace(t, nil, "testdata/workload.yaml")
	awaitOrders(t, ns)
	_ = user(t, "john", ns)
	shell := admin(t)
	for _, flags := range []string{
		"--as john -n " + ns, "--context $(kubectl config current-context) --request-timeout 30s --namespace " + ns,
		"--kubeconfig $KUBECONFIG -n" + ns, "-s $(kubectl config view -o 'jsonpath={.clusters[0].cluster.server}') -n " + ns,
	} {
		out, err := shell.Run(t.Context(), "kubectl mtls status "+flags)
		require.NoError(t, err)
		assert.Contains(t, out, "Deployment/orders", flags)
	}
	out, err := shell.Run(t.Context(), "kubectl mtls __complete status -n ear; kubectl mtls __complete status --context a")
	require.NoError(t, err)
	assert.Contains(t, out, "early\n")
}
