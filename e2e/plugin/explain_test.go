package plugin

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/cmd/kubectl-mtls/explain"
	"example.io/mtls-injector/e2e/page"
	"example.io/mtls-injector/intent"
)

// explained asks for an explanation in JSON.
func explained(t *testing.T, shell *page.Shell, arguments string) *explain.Report {
	t.Helper()
	out, err := shell.Run(t.Context(), "kubectl mtls explain -o json "+arguments)
	require.NoError(t, err)
	var r explain.Report
	require.NoError(t, json.Unmarshal([]byte(out), &r), out)
	return &r
}

// decision finds one decision as "value (source: detail)".
func decision(pod *explain.Pod, key string) string {
	for i := range pod.Decisions {
		if d := &pod.Decisions[i]; d.Key == key {
			return d.Value + " (" + d.String() + ")"
		}
	}
	return "none"
}

func aPod(t *testing.T, namespace, app string) *corev1.Pod {
	t.Helper()
	var pods corev1.PodList
	require.NoError(t, stage.Client.List(t.Context(), &pods, client.InNamespace(namespace), client.MatchingLabels{"app": app}))
	require.NotEmpty(t, pods.Items)
	return &pods.Items[0]
}

// Whatever the API server has added to a pod, it is what it would be now; and a change of
// its namespace is all that is different.
func TestExplain(t *testing.T) {
	ns := newNamespace(t, nil, "testdata/workload.yaml", "testdata/kinds.yaml")
	awaitOrders(t, ns)
	_, err := stage.WaitForPods(t.Context(), ns, map[string]string{"app": "db"}, 1)
	require.NoError(t, err)
	shell := admin(t)
	pod := aPod(t, ns, "orders")
	for _, name := range []string{pod.Name, aPod(t, ns, "db").Name, "shell"} {
		r := explained(t, shell, "-n "+ns+" "+name)
		require.Len(t, r.Pods, 1)
		require.NotNil(t, r.Pods[0].Then, name)
		assert.Equal(t, explain.OutcomeInjected, r.Pods[0].Outcome)
		assert.Empty(t, r.Pods[0].Then.Now, "%s: nothing has changed", name)
		assert.Empty(t, r.Pods[0].Then.ChangedByHand, name)
		assert.Equal(t, "ConfigMap mtls-injector/mtls-injector", r.Configuration)
		assert.Empty(t, r.Unknown)
	}
	r := explained(t, shell, "-n "+ns+" deployment/orders sts/db cronjob/report")
	require.Len(t, r.Pods, 3)
	assert.Equal(t, "server (pod: annotation)", decision(&r.Pods[0], "role"))
	assert.Regexp(t, `^orders, orders\.\S+, orders\.\S+\.svc, orders\.\S+\.svc\.cluster\.local \(Service: orders\)$`, decision(&r.Pods[0], "dns-names"))
	assert.Equal(t, "CronJob/report (pod: owner)", decision(&r.Pods[2], "workload"))
	assert.Nil(t, r.Pods[0].Then)
	assert.Contains(t, r.Pods[0].Patch, "+      - name: mtls-certs\n")

	_, err = shell.Run(t.Context(), "kubectl annotate namespace "+ns+" mtls.example.io/duration=48h")
	require.NoError(t, err)
	r = explained(t, shell, "-n "+ns+" pod/"+pod.Name)
	assert.Equal(t, "48h (namespace: annotation)", decision(&r.Pods[0], "duration"))
	assert.Contains(t, r.Pods[0].Then.Now, "-        csi.cert-manager.io/duration: 2160h\n+        csi.cert-manager.io/duration: 48h\n")
	out, err := shell.Run(t.Context(), "kubectl mtls explain -n "+ns+" "+pod.Name)
	require.NoError(t, err)
	assert.Contains(t, out, "Pod/"+pod.Name+" in namespace "+ns+": injected, and would be different now\n")
}

// What is explained is what happens: the patch of a pod that is not there yet, and the pod.
func TestExplainedIsDone(t *testing.T) {
	ns := newNamespace(t, map[string]string{intent.Prefix + "env": "mtls,curl"}, "testdata/workload.yaml")
	awaitOrders(t, ns)
	r := explained(t, admin(t), "-n "+ns+" deployment/orders")
	pod := aPod(t, ns, "orders")
	for _, line := range []string{"CURL_CA_BUNDLE", "csi.cert-manager.io/uri-sans: spiffe://cluster.local/ns/" + ns + "/sa/default"} {
		assert.Contains(t, r.Pods[0].Patch, line)
	}
	for _, v := range pod.Spec.Volumes {
		if v.Name == intent.CertificateVolume {
			for key, value := range v.CSI.VolumeAttributes {
				assert.Regexp(t, `(?m)^\+ +`+regexp.QuoteMeta(key)+`: "?`+regexp.QuoteMeta(value)+`"?$`, r.Pods[0].Patch)
			}
		}
	}
}

// Uninjected, a pod of the cluster has nothing of ours; what it is given back to is injected
// again to the same.
func TestUninjectFromTheCluster(t *testing.T) {
	ns := newNamespace(t, nil, "testdata/workload.yaml", "testdata/kinds.yaml")
	awaitOrders(t, ns)
	_, err := stage.WaitForPods(t.Context(), ns, map[string]string{"app": "db"}, 1)
	require.NoError(t, err)
	out, err := admin(t).Run(t.Context(), "kubectl get pods -n "+ns+" -o yaml > pods.yaml; kubectl mtls uninject -f pods.yaml > back.yaml; cat back.yaml")
	require.NoError(t, err)
	assert.NotContains(t, out, "warning")
	assert.NotRegexp(t, `mtls-certs|mtls-ca\b|MTLS_|mtls.example.io/(status|injected)`, out)
	assert.Contains(t, out, "kube-api-access-", "what the API server has added stays")
}

// In a namespace that is not opted in nobody asks the webhook; a pod that is refused is told
// why, with what to do, and a script with the exit code.
func TestExplainRefusals(t *testing.T) {
	elsewhere, err := stage.CreateNamespace(t.Context(), "test-", nil, nil)
	require.NoError(t, err)
	require.NoError(t, apply(t.Context(), "testdata/workload.yaml", elsewhere.Name))
	out, err := admin(t).Run(t.Context(), "kubectl mtls explain deploy/orders -n "+elsewhere.Name)
	require.NoError(t, err)
	assert.Contains(t, out, "left alone: namespace \""+elsewhere.Name+"\" is not opted in, so the webhook is not asked: it has not the labels mtls-enabled=true\n")

	ns := newNamespace(t, nil, "testdata/workload.yaml")
	_, err = admin(t).Run(t.Context(), "kubectl annotate namespace "+ns+" mtls.example.io/duration=1m")
	require.Error(t, err, "the webhook refuses it at the Namespace")
	out, err = admin(t).Run(t.Context(), `kubectl get deploy/orders -n `+ns+` -o yaml | sed 's|mtls.example.io/role: server|&\n        mtls.example.io/duration: 30d|' | kubectl mtls explain -f - || test $? = 2`)
	require.NoError(t, err)
	assert.Contains(t, out, "would be refused\n")
	assert.Contains(t, out, "must be a Go duration of whole seconds such as 720h or 90m\n    What to do: there is no unit for days: `720h`, not `30d`\n")

	_, err = admin(t).Run(t.Context(), "kubectl mtls explain nobody -n "+ns)
	require.ErrorContains(t, err, `error: pods "nobody" not found`)
	_, err = admin(t).Run(t.Context(), "kubectl mtls explain service/orders -n "+ns)
	require.ErrorContains(t, err, "Service/orders has neither a pod nor a pod template")
}

// With the rights of a namespace's user it says what it could not get, and with none of them
// what they would have to be.
func TestExplainWithFewRights(t *testing.T) {
	ns := newNamespace(t, nil, "testdata/workload.yaml")
	awaitOrders(t, ns)
	shell := user(t, "explainer", ns)
	out, err := shell.Run(t.Context(), "kubectl mtls explain deploy/orders -n "+ns)
	require.NoError(t, err)
	assert.Contains(t, out, "Deployment/orders in namespace "+ns+": would be injected\n")
	assert.Contains(t, out, `not known: the injector's configuration (you may not get configmaps/mtls-injector in namespace "mtls-injector")`)
	assert.Contains(t, out, "Configuration: the built-in defaults, for you may not read the injector's configuration")
	assert.Equal(t, 1, strings.Count(out, "not known: "), out)

	_, err = shell.Run(t.Context(), "kubectl mtls explain deploy/orders -n early")
	require.ErrorContains(t, err, `error: not known: what deploy/orders gets (you may not get deployments.apps/orders in namespace "early")`)

	few := onlyPods(t, "poor", ns)
	out, err = few.Run(t.Context(), "kubectl mtls explain "+aPod(t, ns, "orders").Name+" -n "+ns)
	require.NoError(t, err)
	assert.Contains(t, out, `(you may not list services in namespace "`+ns+`")`)
	assert.Contains(t, out, `(you may not get namespaces/`+ns+``)
	assert.Contains(t, out, "What it got when it was injected")
}

// onlyPods is the shell of somebody who may see the pods of a namespace only.
func onlyPods(t *testing.T, name, namespace string) *page.Shell {
	t.Helper()
	meta := metav1.ObjectMeta{Name: name, Namespace: namespace}
	require.NoError(t, stage.Client.Create(t.Context(), &rbacv1.Role{
		ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get"}}},
	}))
	require.NoError(t, stage.Client.Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: name}},
	}))
	kubeconfig, err := stage.KubeconfigForUser(name)
	require.NoError(t, err)
	return shellOf(t, kubeconfig)
}

func TestExplainCompletes(t *testing.T) {
	ns := newNamespace(t, nil, "testdata/workload.yaml")
	awaitOrders(t, ns)
	out, err := admin(t).Run(t.Context(), "kubectl mtls __complete explain -n "+ns+" deployment/; kubectl mtls __complete explain -n "+ns+" ord; kubectl mtls __complete explain dep")
	require.NoError(t, err)
	assert.Contains(t, out, "deployment/orders\n")
	assert.Contains(t, out, aPod(t, ns, "orders").Name+"\n")
	assert.Contains(t, out, "deployment/\n")
}
