//go:build node

package nodetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/cmd/kubectl-mtls/app"
	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/debimage"
	"example.io/mtls-injector/e2e/realnode"
)

// TestVerify makes each fault of `kubectl mtls verify` on purpose, in a Go server and in nginx,
// and an ordinary user of the namespace has it named.
func TestVerify(t *testing.T) {
	t.Parallel()
	importServers(t)
	namespace := newNamespace(t)
	u := newUser(t, namespace, userRules()...)
	t.Run("with", func(t *testing.T) {
		for _, nginx := range []bool{false, true} {
			name := "go"
			if nginx {
				name = "nginx"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				u.with(t).seesAll(name, nginx)
			})
		}
	})
	u.leftNothing()
}

// seesAll starts a server with a port for each fault, and looks at them all.
func (u *user) seesAll(name string, nginx bool) {
	makeFiles(u.T, u.namespace, name)
	expose(u.T, u.namespace, name)
	require.NoError(u, node.Client.Create(u.Context(), serverPod(u.namespace, name, nginx)))
	awaitReady(u.T, u.namespace, name)
	u.awaitGood(u.T, name)
	for i, f := range faultsMade() {
		if nginx && f.nginx == "" {
			continue
		}
		u.Run(f.name, func(t *testing.T) { u.with(t).sees(name, firstPort+i, f.want) })
	}
	u.Run("nobody listens", func(t *testing.T) { u.with(t).sees(name, 1, []string{"not-listening"}) })
}

// TestVerifyRenewed has servers that do not load their renewed certificate, until they do.
func TestVerifyRenewed(t *testing.T) {
	t.Parallel()
	importServers(t)
	namespace := newNamespace(t)
	u := newUser(t, namespace, userRules()...)
	makeFiles(t, namespace, "nginx")
	expose(t, namespace, "nginx")
	require.NoError(t, node.Client.Create(t.Context(), serverPod(namespace, "nginx", true)))
	pod := awaitReady(t, namespace, "nginx")
	u.awaitGood(t, "nginx")
	node.Plugin.RenewNow(pod.UID)
	require.NoError(t, node.WaitFor(patient(t), "the renewal", func(context.Context) error {
		got, err := u.faults("nginx", firstPort)
		if err == nil && !slices.Equal(got, []string{"stale"}) {
			err = fmt.Errorf("verify finds %q", got)
		}
		return err
	}))
	_, err := node.Exec(t.Context(), namespace, "nginx", "app", "nginx", "-c", "/config/nginx.conf", "-s", "reload")
	require.NoError(t, err)
	u.awaitGood(t, "nginx")
}

// TestVerifyChain has an intermediate CA, of which a Go server leaves the certificate out.
func TestVerifyChain(t *testing.T) {
	t.Parallel()
	importServers(t)
	namespace := newNamespace(t)
	u := newUser(t, namespace, userRules()...)
	root := clusterCA(t)
	between := newSigner(t, "between", root)
	require.NoError(t, node.Client.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "between"}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{
			corev1.TLSCertKey: pemCert(between.cert, root.cert), corev1.TLSPrivateKeyKey: pemKey(t, between.key), "ca.crt": pemCert(root.cert),
		},
	}))
	require.NoError(t, node.Client.Create(t.Context(), &cmapi.Issuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "own"},
		Spec:       cmapi.IssuerSpec{IssuerConfig: cmapi.IssuerConfig{CA: &cmapi.CAIssuer{SecretName: "between"}}},
	}))
	port := goPort{Port: firstPort, Cert: servedCert, Key: servedKey, CA: servedCA, ClientAuth: 4}
	short := port
	short.Port, short.OnlyLeaf = firstPort+1, true
	text, err := json.Marshal([]goPort{port, short})
	require.NoError(t, err)
	require.NoError(t, node.Client.Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "go-config"}, Data: map[string]string{"ports.json": string(text)},
	}))
	require.NoError(t, node.Client.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "go-faulty"}}))
	expose(t, namespace, "go")
	require.NoError(t, node.Client.Create(t.Context(), serverPod(namespace, "go", false, "issuer=own", "issuer-kind=Issuer")))
	awaitReady(t, namespace, "go")
	u.awaitGood(t, "go")
	u.sees("go", firstPort+1, []string{"chain-incomplete"})
}

// TestVerifyWithFewRights has users who lack a rule, and are told which.
func TestVerifyWithFewRights(t *testing.T) {
	t.Parallel()
	importServers(t)
	namespace := newNamespace(t)
	makeFiles(t, namespace, "go")
	expose(t, namespace, "go")
	require.NoError(t, node.Client.Create(t.Context(), serverPod(namespace, "go", false)))
	awaitReady(t, namespace, "go")
	newUser(t, namespace, userRules()...).awaitGood(t, "go")

	t.Run("no port-forward", func(t *testing.T) {
		_, told, err := newUser(t, namespace, userRules()[0]).run("go", strconv.Itoa(firstPort), "--issue")
		require.EqualError(t, err, "you may not forward a port of the pod")
		assert.Contains(t, told, fmt.Sprintf("you may not create pods/portforward in namespace %q", namespace))
	})
	t.Run("only the pod and its ports", func(t *testing.T) {
		out, told, err := newUser(t, namespace, userRules()[0], userRules()[1]).run("go", strconv.Itoa(firstPort), "--issue")
		require.NoError(t, err, out)
		for _, want := range []string{
			"client-own       not checked: you may not create, get, delete CertificateRequests",
			"trust            not checked: you may not read ConfigMap mtls-ca-bundle",
			"names            not checked: its names are those of Services, and you may not list them",
			"current          not checked: you may not list CertificateRequests",
		} {
			assert.Contains(t, out, want)
		}
		for _, rule := range []string{
			"create certificaterequests.cert-manager.io", "delete certificaterequests.cert-manager.io", "list certificaterequests.cert-manager.io",
			"get configmaps/mtls-ca-bundle", "list services",
		} {
			assert.Contains(t, told, fmt.Sprintf("(you may not %s in namespace %q)", rule, namespace))
		}
	})
}

func importServers(t *testing.T) {
	t.Helper()
	images, err := debimage.Pack(t.Context(), clustertest.Stderr, debimage.Nginx())
	require.NoError(t, err)
	server, err := realnode.PackProgram(t.Context(), faultyImage, "./nodetest/faultyserver")
	require.NoError(t, err)
	require.NoError(t, theNode(t).Import(t.Context(), images[0].Archive, server))
}

// expose makes a Service of the pod's name for it.
func expose(t *testing.T, namespace, name string) {
	t.Helper()
	require.NoError(t, node.Client.Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{{Port: firstPort}}},
	}))
}

// user is somebody with few rights in a namespace, who uses the plugin.
type user struct {
	*testing.T
	namespace, kubeconfig string
}

// userRules are all that verify can use, the first two what it needs.
func userRules() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get"}},
		{APIGroups: []string{""}, Resources: []string{"pods/portforward"}, Verbs: []string{"create"}},
		{APIGroups: []string{""}, Resources: []string{"pods", "services"}, Verbs: []string{"list"}},
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get"}},
		{APIGroups: []string{"cert-manager.io"}, Resources: []string{"certificaterequests"}, Verbs: []string{"get", "list", "create", "delete"}},
	}
}

// newUser makes a user with these rights in the namespace, and no others.
func newUser(t *testing.T, namespace string, rules ...rbacv1.PolicyRule) *user {
	t.Helper()
	name := fmt.Sprintf("%s-%d", namespace, len(rules))
	meta := metav1.ObjectMeta{Namespace: namespace, Name: name}
	require.NoError(t, client.IgnoreAlreadyExists(node.Client.Create(t.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: rules})))
	require.NoError(t, client.IgnoreAlreadyExists(node.Client.Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: name}},
	})))
	kubeconfig, err := node.KubeconfigForUser(name)
	require.NoError(t, err)
	return &user{T: t, namespace: namespace, kubeconfig: kubeconfig}
}

func (u *user) with(t *testing.T) *user {
	t.Helper()
	return &user{T: t, namespace: u.namespace, kubeconfig: u.kubeconfig}
}

// run runs `kubectl mtls verify`.
func (u *user) run(args ...string) (stdout, stderr string, err error) {
	u.Helper()
	var out, errOut bytes.Buffer
	cmd := app.NewCommand("v0", genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errOut})
	cmd.SetArgs(append([]string{"verify", "--kubeconfig", u.kubeconfig, "-n", u.namespace}, args...))
	err = cmd.ExecuteContext(u.Context())
	return out.String(), errOut.String(), err
}

// faults returns the names of what is wrong with a port.
func (u *user) faults(pod string, port int) ([]string, error) {
	u.Helper()
	out, told, err := u.run(pod, strconv.Itoa(port), "--issue", "--timeout=30s", "-o", "json")
	assert.NotContains(u, out+told, "PRIVATE KEY")
	var report struct {
		Findings   []struct{ Fault, Severity, Seen string }
		NotChecked []struct{ Check, Reason string }
	}
	if out == "" {
		return nil, fmt.Errorf("%w\n%s", err, told)
	}
	require.NoError(u, json.Unmarshal([]byte(out), &report), out)
	var faults []string
	failed := false
	for _, f := range report.Findings {
		if f.Fault != "" {
			faults = append(faults, f.Fault)
			u.Log(f.Fault+":", f.Seen)
		}
		failed = failed || f.Severity == "failure"
	}
	for _, n := range report.NotChecked {
		u.Log("not checked:", n.Check, n.Reason)
	}
	assert.Equal(u, failed, err != nil, "the exit code: %v", err)
	return faults, nil
}

// sees asserts what verify says of a port.
func (u *user) sees(pod string, port int, want []string) {
	u.Helper()
	got, err := u.faults(pod, port)
	require.NoError(u, err)
	assert.ElementsMatch(u, want, got)
}

// leftNothing asserts that no request of verify is there any more.
func (u *user) leftNothing() {
	u.Helper()
	var left cmapi.CertificateRequestList
	require.NoError(u, node.Client.List(u.Context(), &left, client.InNamespace(u.namespace), client.MatchingLabels{"app.kubernetes.io/managed-by": "kubectl-mtls-verify"}))
	assert.Empty(u, left.Items)
}

// awaitGood waits until nothing is wrong with the first port: a server needs a moment to listen.
func (u *user) awaitGood(t *testing.T, pod string) {
	t.Helper()
	require.NoError(t, node.WaitFor(patient(t), "verify to find nothing wrong with "+pod, func(context.Context) error {
		faults, err := u.with(t).faults(pod, firstPort)
		if err == nil && len(faults) > 0 {
			err = errors.New(strings.Join(faults, ", "))
		}
		return err
	}))
}
