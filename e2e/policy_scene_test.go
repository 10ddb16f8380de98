package e2e

// What the tests of policies share: a cluster in which the real approver-policy decides what
// is signed, by the policies that `kubectl mtls policy` prints.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/demo/authority"
	"example.io/mtls-injector/e2e/internal/binaries"
)

const policyFolder = "testdata/policy"

// pluginBinary builds the kubectl plugin once for all tests.
var pluginBinary = sync.OnceValues(func() (string, error) {
	product, err := binaries.EnsureProduct(context.Background(), clustertest.Stderr)
	if err != nil {
		return "", err
	}
	return product.Plugin, nil
})

// signing is a cluster with these namespaces: shop and other, which are opted in; edge, to
// which names are granted; team, which may use another issuer; plain, which is not opted in.
type signing struct {
	*cluster.Cluster
}

// newSigning returns the one such cluster of all tests, which is made for the first of them.
// The policies are those for a CSI driver that asks by itself.
func newSigning(t *testing.T) *signing {
	t.Helper()
	c, err := signingCluster()
	require.NoError(t, err)
	s := &signing{Cluster: c}
	s.policies(t)
	return s
}

var signingCluster = sync.OnceValues(func() (*cluster.Cluster, error) {
	ctx := context.Background()
	c, err := cluster.Start(ctx, cluster.Options{DisableApprover: true, Progress: clustertest.Stderr})
	if err != nil {
		return nil, err
	}
	c.StopWith(shared)
	return c, errors.Join(c.RunApproverPolicy(ctx), makeIssuers(ctx, c), makeNamespaces(ctx, c))
})

func makeIssuers(ctx context.Context, c *cluster.Cluster) error {
	ca, err := authority.New("policy CA")
	if err != nil {
		return err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "cert-manager", Name: "policy-ca"},
		Type:       corev1.SecretTypeTLS,
		Data:       map[string][]byte{corev1.TLSCertKey: ca.CA.Cert, corev1.TLSPrivateKeyKey: ca.CA.Key},
	}
	manifest, err := os.ReadFile(policyFolder + "/issuers.yaml")
	if err := errors.Join(err, c.Client.Create(ctx, secret)); err != nil {
		return err
	}
	issuers, err := c.Apply(ctx, manifest, "")
	for _, issuer := range issuers {
		err = errors.Join(err, c.WaitForIssuer(ctx, "", issuer.GetName()))
	}
	return err
}

func makeNamespaces(ctx context.Context, c *cluster.Cluster) error {
	rights, err := os.ReadFile(policyFolder + "/rights.yaml")
	if err != nil {
		return err
	}
	for name, labels := range map[string]map[string]string{
		"shop":  {cluster.EnabledLabel: "true"},
		"other": {cluster.EnabledLabel: "true"},
		"edge":  {cluster.EnabledLabel: "true", "tier": "edge"},
		"team":  {cluster.EnabledLabel: "true", "team": "a"},
		"plain": {"tier": "edge", "team": "a"},
	} {
		if _, err := c.CreateNamespace(ctx, name, labels, nil); err != nil {
			return err
		}
		if _, err := c.Apply(ctx, rights, name); err != nil {
			return err
		}
	}
	return nil
}

func (s *signing) apply(t *testing.T, file, namespace string) []*unstructured.Unstructured {
	t.Helper()
	return clustertest.Apply(t, s.Cluster, policyFolder+"/"+file, namespace)
}

// policies applies what the plugin prints in the way that its help shows, and waits until
// approver-policy goes by it.
func (s *signing) policies(t *testing.T, arguments ...string) {
	t.Helper()
	plugin, err := pluginBinary()
	require.NoError(t, err)
	flags := append([]string{"policy", "-q", "--config", policyFolder + "/injector.yaml"}, arguments...)
	render := exec.CommandContext(t.Context(), plugin, flags...)
	printed, err := render.Output()
	require.NoError(t, err)
	apply := exec.CommandContext(t.Context(), s.Kubectl, "--kubeconfig", s.Kubeconfig, "apply", "-f", "-", "--prune",
		"-l", "app.kubernetes.io/managed-by=mtls-injector,app.kubernetes.io/component=signing-policy",
		"--prune-allowlist=policy.cert-manager.io/v1alpha1/CertificateRequestPolicy")
	apply.Stdin = bytes.NewReader(printed)
	out, err := apply.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, s.WaitFor(t.Context(), "the policies to be in force", s.inForce))
}

func (s *signing) inForce(ctx context.Context) error {
	list := &unstructured.UnstructuredList{}
	list.SetAPIVersion("policy.cert-manager.io/v1alpha1")
	list.SetKind("CertificateRequestPolicyList")
	if err := s.Client.List(ctx, list); err != nil {
		return err
	}
	if len(list.Items) == 0 {
		return errors.New("there are none")
	}
	for i := range list.Items {
		var policy struct {
			Status struct {
				Conditions []metav1.Condition `json:"conditions"`
			} `json:"status"`
		}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(list.Items[i].Object, &policy); err != nil {
			return err
		}
		ready := meta.FindStatusCondition(policy.Status.Conditions, "Ready")
		if ready == nil || ready.Status != metav1.ConditionTrue || ready.ObservedGeneration != list.Items[i].GetGeneration() {
			return fmt.Errorf("%s is not ready: %v", list.Items[i].GetName(), ready)
		}
	}
	return nil
}

// as returns the client of somebody.
func (s *signing) as(t *testing.T, config *rest.Config, err error) client.Client {
	t.Helper()
	require.NoError(t, err)
	c, err := client.New(config, client.Options{Scheme: s.Scheme})
	require.NoError(t, err)
	return c
}

// asDriver returns the client of cert-manager's CSI driver.
func (s *signing) asDriver(t *testing.T) client.Client {
	t.Helper()
	config, err := s.CSIDriverConfig()
	return s.as(t, config, err)
}

// asAccount returns the client of a service account that may make requests in a namespace.
func (s *signing) asAccount(t *testing.T, namespace, name, in string) client.Client {
	t.Helper()
	s.bind(t, "request-certificates", in, namespace, name)
	config, err := s.ConfigForServiceAccount(namespace, name)
	return s.as(t, config, err)
}

// bind gives a Role to a service account.
func (s *signing) bind(t *testing.T, role, in, namespace, account string) {
	t.Helper()
	require.NoError(t, s.Client.Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: in, GenerateName: role + "-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: account}},
	}))
}

// decision waits for what approver-policy says of a request: its verdict (Approved, Denied,
// or the reason of its Event, where there is no verdict) and its words.
func (s *signing) decision(t *testing.T, cr *cmapi.CertificateRequest) (verdict, words string) {
	t.Helper()
	require.NoError(t, s.WaitFor(t.Context(), "a decision on "+cr.Name, func(ctx context.Context) error {
		if err := s.Client.Get(ctx, client.ObjectKeyFromObject(cr), cr); err != nil {
			return err
		}
		for _, c := range cr.Status.Conditions {
			if (c.Type == cmapi.CertificateRequestConditionApproved || c.Type == cmapi.CertificateRequestConditionDenied) && c.Status == cmmeta.ConditionTrue {
				assert.Equal(t, "policy.cert-manager.io", c.Reason, "nobody else decides")
				verdict, words = string(c.Type), c.Message
				return nil
			}
		}
		var events eventsv1.EventList
		if err := s.Client.List(ctx, &events, client.InNamespace(cr.Namespace)); err != nil {
			return err
		}
		for i := range events.Items {
			if e := &events.Items[i]; e.Regarding.UID == cr.UID && e.ReportingController == "policy.cert-manager.io" && e.Reason != "Approved" && e.Reason != "Denied" {
				verdict, words = e.Reason, e.Note
				return nil
			}
		}
		return errors.New("there is none yet")
	}))
	return verdict, words
}
