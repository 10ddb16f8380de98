package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/cmd/kubectl-mtls/check"
	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/page"
)

// checked makes checks and returns what they have found. Only a failure, or that nothing
// could be checked, is an exit code.
func checked(t *testing.T, shell *page.Shell, flags string) *check.Report {
	t.Helper()
	r, err := tryCheck(t.Context(), shell, flags)
	require.NoError(t, err)
	return r
}

func tryCheck(ctx context.Context, shell *page.Shell, flags string) (*check.Report, error) {
	out, err := shell.Run(ctx, "kubectl mtls check -o json "+flags+" || test $? = 2")
	if err != nil {
		return nil, err
	}
	var r check.Report
	return &r, json.Unmarshal([]byte(out), &r)
}

// found returns an error until a check ends so, with a message like this.
func found(r *check.Report, name string, status check.Status, message string) error {
	for _, result := range r.Checks {
		if result.Name != name {
			continue
		}
		for _, o := range result.Outcomes {
			if result.Status == status && regexp.MustCompile(message).MatchString(o.Message) {
				return nil
			}
		}
		return fmt.Errorf("%s is %s: %+v", name, result.Status, result.Outcomes)
	}
	return fmt.Errorf("there is no %s", name)
}

func TestCheck(t *testing.T) {
	r := checked(t, admin(t), "-n early")
	for _, result := range r.Checks {
		assert.Equal(t, check.OK, result.Status, "%s: %+v", result.Name, result.Outcomes)
	}
	assert.Len(t, r.Checks, 21)
	require.NoError(t, found(r, "injection", check.OK, `in namespace early: pod comes out injected: role server, issuer ClusterIssuer/mtls-ca`))
	require.NoError(t, found(r, "rights", check.OK, `system:serviceaccount:mtls-injector:mtls-injector has all \d+`))
	out, err := admin(t).Run(t.Context(), "kubectl mtls check -n early")
	require.NoError(t, err)
	assert.Contains(t, out, "\n21 ok, 0 warnings, 0 failures, 0 not known\n")
}

// broken is a component that is broken on purpose.
type broken struct {
	name string
	// smash breaks it and mend brings it back; both are commands.
	smash, mend string
	// keep is what is brought back as it was, as kubectl names it, in place of mend.
	keep string
	// check is the one that is to find it, with what it says.
	check   string
	status  check.Status
	message string
	remedy  string
}

const policyCRD = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: certificaterequestpolicies.policy.cert-manager.io, annotations: {api-approved.kubernetes.io: "unapproved, a test"}}
spec:
  group: policy.cert-manager.io
  names: {kind: CertificateRequestPolicy, plural: certificaterequestpolicies, singular: certificaterequestpolicy, listKind: CertificateRequestPolicyList}
  scope: Cluster
  versions: [{name: v1alpha1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`

const openShiftCRD = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: securitycontextconstraints.security.openshift.io}
spec:
  group: security.openshift.io
  names: {kind: SecurityContextConstraints, plural: securitycontextconstraints, singular: securitycontextconstraint, listKind: SecurityContextConstraintsList}
  scope: Cluster
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`

const deadWebhook = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: cert-manager-webhook}
webhooks:
  - name: webhook.cert-manager.io
    clientConfig: {url: "https://127.0.0.1:1/validate"}
    rules: [{apiGroups: [cert-manager.io], apiVersions: [v1], operations: [CREATE], resources: [certificates]}]
    admissionReviewVersions: [v1]
    sideEffects: None
`

func here(manifest string) string { return "kubectl apply -f - <<'E'\n" + manifest + "E\n" }

const scale = "kubectl -n %s scale deployment %s --replicas=%d"

// ruins are all the components, each broken in turn.
var ruins = []broken{
	{name: "no CSI driver", smash: "kubectl delete csidriver csi.cert-manager.io", mend: `kubectl apply -f "$PLATFORM"`,
		check: "csi-driver", status: check.Failure, message: "there is no CSIDriver csi.cert-manager.io", remedy: "install it"},
	{name: "CSI driver not on the node", smash: "kubectl delete csinode node-1", mend: `kubectl apply -f "$PLATFORM"`,
		check: "csi-driver-nodes", status: check.Failure, message: "not registered on 1 of 1 nodes: node-1", remedy: "kubectl get pods -A"},
	{name: "cert-manager down", smash: fmt.Sprintf(scale, "cert-manager", "cert-manager", 0), mend: fmt.Sprintf(scale, "cert-manager", "cert-manager", 1),
		check: "cert-manager", status: check.Failure, message: "controller: none of its pods is available", remedy: "describe deployment cert-manager"},
	{name: "cert-manager's CA injector down", smash: fmt.Sprintf(scale, "cert-manager", "cert-manager-cainjector", 0),
		mend:  fmt.Sprintf(scale, "cert-manager", "cert-manager-cainjector", 1),
		check: "cert-manager", status: check.Failure, message: "CA injector: none of its pods is available"},
	{name: "cert-manager's webhook dead", smash: here(deadWebhook), mend: "kubectl delete validatingwebhookconfiguration cert-manager-webhook",
		check: "cert-manager-webhook", status: check.Failure, message: "it does not answer: .*failed calling webhook", remedy: "cmctl check api"},
	{name: "two approvers", smash: here(policyCRD), mend: "kubectl delete crd certificaterequestpolicies.policy.cert-manager.io",
		check: "approver", status: check.Failure, message: "both on", remedy: "disableAutoApproval"},
	{name: "no approver", smash: approverArgs(`"--controllers=*,-certificaterequests-approver"`), mend: approverArgs(""),
		check: "approver", status: check.Failure, message: "nobody approves", remedy: "install approver-policy"},
	{name: "no policies", smash: here(policyCRD) + approverArgs(`"--controllers=*,-certificaterequests-approver"`),
		mend:  "kubectl delete crd certificaterequestpolicies.policy.cert-manager.io; " + approverArgs(""),
		check: "approver", status: check.Warning, message: "has no policy", remedy: "kubectl mtls policy"},
	{name: "OpenShift without the label", smash: here(openShiftCRD), mend: "kubectl delete crd securitycontextconstraints.security.openshift.io",
		check: "openshift", status: check.Failure, message: "lacks the label", remedy: "kubectl label csidriver"},
	{name: "trust-manager down", smash: fmt.Sprintf(scale, "cert-manager", "trust-manager", 0), mend: fmt.Sprintf(scale, "cert-manager", "trust-manager", 1),
		check: "trust-manager", status: check.Failure, message: "none of its pods is available"},
	{name: "bundle not synced", keep: "/Bundle.v1alpha1.trust.cert-manager.io/mtls-ca-bundle", smash: `kubectl patch bundle mtls-ca-bundle --type=json -p '[{"op":"add","path":"/spec/sources/-","value":{"secret":{"name":"gone","key":"ca.crt"}}}]'`,
		check: "bundle", status: check.Failure, message: "Bundle mtls-ca-bundle is not synced: .*gone", remedy: "kubectl describe bundle"},
	{name: "bundle in no namespace", keep: "/Bundle.v1alpha1.trust.cert-manager.io/mtls-ca-bundle", smash: `kubectl patch bundle mtls-ca-bundle --type=merge -p '{"spec":{"target":{"namespaceSelector":{"matchLabels":{"mtls-enabled":null,"no":"one"}}}}}'`,
		check: "bundle-namespaces", status: check.Failure, message: "ConfigMap mtls-ca-bundle in namespace early is missing", remedy: "namespaceSelector"},
	{name: "issuer not ready", keep: "/ClusterIssuer.v1.cert-manager.io/mtls-ca", smash: `kubectl patch clusterissuer mtls-ca --type=merge -p '{"spec":{"ca":{"secretName":"gone"}}}'`,
		check: "issuer", status: check.Failure, message: "ClusterIssuer/mtls-ca is not ready: .*gone", remedy: "kubectl describe clusterissuer mtls-ca"},
	{name: "no issuer", keep: "/ClusterIssuer.v1.cert-manager.io/mtls-ca", smash: "kubectl delete clusterissuer mtls-ca",
		check: "issuer", status: check.Failure, message: "there is no ClusterIssuer/mtls-ca"},
	{name: "allowed issuer missing", keep: configuration, smash: configure(`allowedIssuers: [{namespaceSelector: {}, kind: ClusterIssuer, name: gone}]`),
		check: "allowed-issuers", status: check.Warning, message: "there is no ClusterIssuer/gone"},
	{name: "configuration wrong", keep: configuration, smash: configure(`nonsense: 1`),
		check: "injector", status: check.Failure, message: "nonsense: Forbidden", remedy: "kubectl mtls version"},
	{name: "one replica", smash: fmt.Sprintf(scale, "mtls-injector", "mtls-injector", 1), mend: fmt.Sprintf(scale, "mtls-injector", "mtls-injector", 2),
		check: "injector", status: check.Warning, message: "it has one pod"},
	{name: "injector down", smash: fmt.Sprintf(scale, "mtls-injector", "mtls-injector", 0), mend: fmt.Sprintf(scale, "mtls-injector", "mtls-injector", 2),
		check: "injection", status: check.Failure, message: "the webhook cannot be reached: .*failed calling webhook"},
	{name: "not registered", keep: registration, smash: "kubectl delete mutatingwebhookconfiguration mtls-injector",
		check: "webhook", status: check.Failure, message: "no MutatingWebhookConfiguration", remedy: "install"},
	{name: "not called", keep: registration, smash: "kubectl delete mutatingwebhookconfiguration mtls-injector",
		check: "injection", status: check.Failure, message: "comes out as it went in"},
	{name: "no caBundle", keep: registration, smash: unregister(`{"op":"remove","path":"/webhooks/0/clientConfig/caBundle"}`),
		check: "webhook", status: check.Failure, message: "has no caBundle", remedy: "injector"},
	{name: "wrong caBundle", keep: registration, smash: unregister(`{"op":"replace","path":"/webhooks/0/clientConfig/caBundle","value":"'"$(kubectl -n kube-system get configmap kube-root-ca.crt -o 'jsonpath={.data.ca\.crt}' | base64 -w0)"'"}`),
		check: "injection", status: check.Failure, message: "does not trust the webhook's certificate: .*x509"},
	{name: "fails open", keep: registration, smash: unregister(`{"op":"replace","path":"/webhooks/0/failurePolicy","value":"Ignore"}`),
		check: "webhook", status: check.Warning, message: "failurePolicy is Ignore", remedy: "failurePolicy=Fail"},
	{name: "no certificate", keep: "mtls-injector/Certificate.v1.cert-manager.io/mtls-injector-webhook", smash: "kubectl -n mtls-injector delete certificate mtls-injector-webhook",
		check: "webhook-certificate", status: check.Failure, message: "there is no Certificate mtls-injector/mtls-injector-webhook"},
	{name: "opted in and excluded", smash: "kubectl label namespace kube-system mtls-enabled=true", mend: "kubectl label namespace kube-system mtls-enabled-",
		check: "webhook", status: check.Warning, message: "opted in, and never injected: kube-system"},
	{name: "no rights", keep: "/ClusterRoleBinding.v1.rbac.authorization.k8s.io/mtls-injector", smash: "kubectl delete clusterrolebinding mtls-injector",
		check: "rights", status: check.Failure, message: "system:serviceaccount:mtls-injector:mtls-injector may not .*and \\d+ more"},
	{name: "another version", smash: "kubectl -n mtls-injector label deployment mtls-injector --overwrite app.kubernetes.io/version=v9.1.0",
		mend:  "kubectl -n mtls-injector label deployment mtls-injector --overwrite app.kubernetes.io/version=v0.1.0",
		check: "versions", status: check.Warning, message: "the chart is for v9.1.0, and runs v0.1.0"},
}

// approverArgs gives cert-manager's controller arguments.
func approverArgs(args string) string {
	return `kubectl -n cert-manager patch deployment cert-manager -p '{"spec":{"template":{"spec":{"containers":[{"name":"cert-manager","args":[` + args + `]}]}}}}'`
}

const (
	configuration = "mtls-injector/ConfigMap.v1./mtls-injector"
	registration  = "/MutatingWebhookConfiguration.v1.admissionregistration.k8s.io/mtls-injector"
)

// configure replaces the injector's configuration.
func configure(field string) string {
	return `kubectl -n mtls-injector patch configmap mtls-injector --type=merge -p '{"data":{"config.yaml":"` +
		`apiVersion: config.mtls.example.io/v1alpha1\nkind: InjectorConfiguration\n` + field + `\n"}}'`
}

// unregister changes the webhook's registration, with the CA injector's hands off it.
func unregister(change string) string {
	return `kubectl patch mutatingwebhookconfiguration mtls-injector --type=json -p '[` +
		`{"op":"remove","path":"/metadata/annotations/cert-manager.io~1inject-ca-from"},` + change + `]'`
}

// kept reads an object, NAMESPACE/KIND.VERSION.GROUP/NAME, and returns what brings it back.
func kept(t *testing.T, what string) (restore func() error) {
	t.Helper()
	parts := strings.Split(what, "/")
	gvk, _ := schema.ParseKindArg(parts[1])
	require.NotNil(t, gvk, what)
	before := &unstructured.Unstructured{}
	before.SetGroupVersionKind(*gvk)
	key := client.ObjectKey{Namespace: parts[0], Name: parts[2]}
	require.NoError(t, stage.Client.Get(t.Context(), key, before))
	return func() error {
		ctx := context.Background()
		now := &unstructured.Unstructured{}
		now.SetGroupVersionKind(*gvk)
		before.SetUID("")
		before.SetResourceVersion("")
		before.SetManagedFields(nil)
		err := stage.Client.Get(ctx, key, now)
		if apierrors.IsNotFound(err) {
			return stage.Client.Create(ctx, before)
		}
		if err != nil {
			return err
		}
		before.SetResourceVersion(now.GetResourceVersion())
		return stage.Client.Update(ctx, before)
	}
}

// Each component is broken in turn; the check of its name finds it, and is content again
// afterwards.
func TestEachBroken(t *testing.T) {
	for _, ruin := range ruins {
		t.Run(ruin.name, func(t *testing.T) {
			platform, err := filepath.Abs("testdata/platform.yaml")
			require.NoError(t, err)
			t.Setenv("PLATFORM", platform)
			shell := admin(t)
			restore := func() error {
				_, err := shell.Run(context.Background(), ruin.mend)
				return err
			}
			if ruin.keep != "" {
				restore = kept(t, ruin.keep)
			}
			mend := sync.OnceFunc(func() { assert.NoError(t, restore()) })
			t.Cleanup(mend)
			_, err = shell.Run(t.Context(), ruin.smash)
			require.NoError(t, err)
			only := "-n early --only " + ruin.check
			var last *check.Report
			require.NoError(t, stage.WaitFor(t.Context(), "the check to find it", func(ctx context.Context) (err error) {
				if last, err = tryCheck(ctx, shell, only); err != nil {
					return err
				}
				return found(last, ruin.check, ruin.status, ruin.message)
			}))
			assert.True(t, slices.ContainsFunc(last.Checks[0].Outcomes, func(o check.Outcome) bool {
				return regexp.MustCompile(ruin.message).MatchString(o.Message) && regexp.MustCompile(regexp.QuoteMeta(ruin.remedy)).MatchString(o.Remedy)
			}), "%+v", last.Checks[0].Outcomes)
			mend()
			require.NoError(t, stage.WaitFor(t.Context(), "the check to be content", func(ctx context.Context) error {
				r, err := tryCheck(ctx, shell, only)
				if err != nil {
					return err
				}
				return found(r, ruin.check, check.OK, "")
			}))
		})
	}
}

// A user of the namespace learns what can be seen from there, and which rules would show the
// rest. One that may create pods gets the dry run, too.
func TestCheckWithFewRights(t *testing.T) {
	ns := newNamespace(t, nil, "testdata/workload.yaml")
	awaitOrders(t, ns)
	r := checked(t, user(t, "jane", ns), "-n "+ns)
	assert.Zero(t, r.Failures)
	assert.Positive(t, r.OK)
	require.NoError(t, found(r, "csi-driver-nodes", check.NotKnown, "you may not list nodes"))
	require.NoError(t, found(r, "injection", check.NotKnown, `you may not create pods in namespace "`+ns+`", not even as a dry run`))
	require.NoError(t, found(r, "rights", check.NotKnown, "you may not list deployments.apps in all namespaces"))
	require.NoError(t, found(r, "issuer", check.NotKnown, "the injector's configuration: you may not get configmaps/mtls-injector"))

	shell := user(t, "editor", ns)
	_, err := admin(t).Run(t.Context(), "kubectl -n "+ns+" create rolebinding more --clusterrole=edit --user=editor")
	require.NoError(t, err)
	require.NoError(t, stage.WaitFor(t.Context(), "the right to be heeded", func(ctx context.Context) error {
		r, err := tryCheck(ctx, shell, "-n "+ns)
		if err != nil {
			return err
		}
		return found(r, "injection", check.OK, "in namespace "+ns+": pod comes out injected")
	}))
}

// Before installing, nothing need be there, and what is missing is told.
func TestPre(t *testing.T) {
	bare := clustertest.New(t, cluster.Options{WithoutInjector: true})
	shell := shellOf(t, bare.Kubeconfig)
	r := checked(t, shell, "--pre")
	require.NoError(t, found(r, "kubernetes", check.OK, `^v1\.`))
	require.NoError(t, found(r, "installer", check.OK, "you may create all"))
	require.NoError(t, found(r, "cert-manager-api", check.OK, ""))
	require.NoError(t, found(r, "cert-manager-webhook", check.OK, ""))
	require.NoError(t, found(r, "csi-driver", check.Failure, "there is no CSIDriver"))
	require.NoError(t, found(r, "csi-driver-nodes", check.Failure, "not registered on 1 of 1"))
	require.NoError(t, found(r, "trust-manager", check.Warning, "trust-manager is not installed"))

	_, err := shell.Run(t.Context(), "kubectl delete crd --all")
	require.NoError(t, err)
	r = checked(t, shell, "--pre")
	require.NoError(t, found(r, "cert-manager-api", check.Failure, "does not have Certificate, CertificateRequest, ClusterIssuer, Issuer"))
	require.NoError(t, found(r, "approver", check.NotKnown, "there is no API of cert-manager"))
	r = checked(t, shell, "")
	require.NoError(t, found(r, "injector", check.Failure, "there is no Deployment of the injector"))

	nobody, err := bare.KubeconfigForUser("nobody")
	require.NoError(t, err)
	r = checked(t, shellOf(t, nobody), "--pre")
	assert.Zero(t, r.Failures-1, "the API is missing, and everything else is hidden: %+v", r)
	require.NoError(t, found(r, "installer", check.Warning, "you may not create clusterrolebindings, clusterroles, mutatingwebhookconfigurations"))
}
