package e2e

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
)

// restricted is the label of a namespace that only takes pods of that Pod Security Standard.
const restricted = "pod-security.kubernetes.io/enforce"

// smoked is what `mtls-injector smoke-test` says.
type smoked struct {
	out, errors string
	code        int
}

// smokeTest runs the real program.
func smokeTest(t *testing.T, kubeconfig, namespace string, args ...string) smoked {
	t.Helper()
	binary, err := injectorBinary()
	require.NoError(t, err)
	var out, errs strings.Builder
	command := exec.CommandContext(t.Context(), binary, append([]string{"smoke-test", "--kubeconfig", kubeconfig, "--namespace", namespace}, args...)...)
	command.Stdout, command.Stderr = &out, &errs
	if err := command.Run(); err != nil {
		require.ErrorAs(t, err, new(*exec.ExitError))
	}
	return smoked{out.String(), errs.String(), command.ProcessState.ExitCode()}
}

// smokeTester makes a user who may create pods in the namespace, and nothing else.
func smokeTester(t *testing.T, namespace string) (kubeconfig string) {
	t.Helper()
	const name = "smoke-tester"
	meta := metav1.ObjectMeta{Namespace: namespace, Name: name}
	require.NoError(t, shared.Client.Create(t.Context(), &rbacv1.Role{
		ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"create"}}},
	}))
	require.NoError(t, shared.Client.Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: name}},
	}))
	kubeconfig, err := shared.KubeconfigForUser(name)
	require.NoError(t, err)
	return kubeconfig
}

func TestSmokeTest(t *testing.T) {
	runWebhook(t, shared, cluster.WebhookOptions{Name: "smoking"})
	ns, err := shared.CreateNamespace(t.Context(), "test-", map[string]string{cluster.EnabledLabel: "true", restricted: "restricted"}, nil)
	require.NoError(t, err)
	namespace, tester := ns.Name, smokeTester(t, ns.Name)
	got := smokeTest(t, tester, namespace)
	assert.Empty(t, got.errors)
	assert.Zero(t, got.code)
	want := fmt.Sprintf(`warn  no Service selects the pod yet: the certificate gets the names of its workload "mtls-smoke-test"
ok    label mtls.example.io/injected: "true"
ok    annotation mtls.example.io/status: mtls-injector VERSION, spiffe://cluster.local/ns/%[1]s/sa/default
ok    environment: MTLS_ROLE, MTLS_SPIFFE_ID, MTLS_CA_CERT, MTLS_SERVER_CERT, MTLS_SERVER_KEY
ok    volume with the certificate at /etc/tls/server: CSI driver csi.cert-manager.io
ok    volume with the CA bundle at /etc/tls/ca
ok    pod comes out injected: role server, issuer ClusterIssuer/mtls-ca, names mtls-smoke-test, mtls-smoke-test.%[1]s, mtls-smoke-test.%[1]s.svc, mtls-smoke-test.%[1]s.svc.cluster.local, spiffe://cluster.local/ns/%[1]s/sa/default
`, namespace)
	assert.Equal(t, want, regexp.MustCompile(`mtls-injector \S+, `).ReplaceAllString(got.out, "mtls-injector VERSION, "))
	var pods corev1.PodList
	require.NoError(t, shared.Client.List(t.Context(), &pods, client.InNamespace(namespace)))
	assert.Empty(t, pods.Items, "a dry run leaves nothing")

	other, err := shared.CreateNamespace(t.Context(), "test-", nil, nil)
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		kubeconfig, namespace string
		args                  []string
		want                  []string
	}{
		"no right": {tester, other.Name, nil, []string{`no right to create pods: pods is forbidden: User "smoke-tester" cannot create resource "pods"`,
			"kubectl -n " + other.Name + " create role mtls-smoke-test --verb=create --resource=pods"}},
		"not opted in": {shared.Kubeconfig, other.Name, nil, []string{"namespace " + other.Name + " is not opted in: webhook pods.smoking.example.io of " +
			"MutatingWebhookConfiguration smoking selects namespaces with mtls-enabled=true\nkubectl label --overwrite namespace " + other.Name + " mtls-enabled=true\n"}},
		"no namespace": {shared.Kubeconfig, "nowhere", nil, []string{`there is no such namespace: namespaces "nowhere" not found`}},
		"no account": {shared.Kubeconfig, namespace, []string{"--service-account", "nobody"}, []string{
			"the cluster's own rules refuse the pod: ", `serviceaccount "nobody" not found`, "see --service-account"}},
		"refused": {shared.Kubeconfig, optedInLater(t, shared, prefixed(map[string]string{"delivery": "post"})), nil, []string{
			`the pod is refused: admission webhook "pods.smoking.example.io" denied the request: `, "mtls.example.io/delivery"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := smokeTest(t, tt.kubeconfig, tt.namespace, tt.args...)
			assert.Equal(t, 1, got.code)
			assert.Empty(t, got.out, "no pod came back")
			for _, want := range tt.want {
				assert.Contains(t, got.errors, want)
			}
		})
	}
}

// TestSmokeTestWithoutTheWebhook: it is not registered, and then it is and does not answer.
func TestSmokeTestWithoutTheWebhook(t *testing.T) {
	namespace := clustertest.Namespace(t, shared, nil)
	const timeout = "--timeout=2s"
	got := smokeTest(t, shared.Kubeconfig, namespace, timeout)
	assert.Equal(t, 1, got.code)
	const what = "the pod comes out as it went in: no MutatingWebhookConfiguration has a webhook with the path /mutate-v1-pod\n"
	assert.Equal(t, "wait  "+what, got.out)
	assert.Equal(t, "error: "+what+"install mtls-injector; see: kubectl get mutatingwebhookconfigurations\n", got.errors)

	got = smokeTest(t, smokeTester(t, namespace), namespace, timeout)
	assert.Equal(t, 1, got.code)
	assert.Contains(t, got.errors, "error: the pod comes out as it went in: the webhook was not called\n"+
		"is namespace "+namespace+" opted in (kubectl label namespace "+namespace+" mtls-enabled=true)?")
	assert.Contains(t, got.errors, `User "smoke-tester" cannot list resource "mutatingwebhookconfigurations"`)

	w := runWebhook(t, shared, cluster.WebhookOptions{Name: "smoked-out"})
	require.NoError(t, w.Kill())
	got = smokeTest(t, shared.Kubeconfig, namespace, timeout)
	assert.Equal(t, 1, got.code)
	assert.Contains(t, got.errors, `error: the webhook cannot be reached: Internal error occurred: failed calling webhook "pods.smoked-out.example.io"`)
	assert.Contains(t, got.errors, "look at these: that the injector runs and is ready;")
}
