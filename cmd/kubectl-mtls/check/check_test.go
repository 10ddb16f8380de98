package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"example.io/mtls-injector/cmd/internal/golden"
	"example.io/mtls-injector/cmd/kubectl-mtls/steps"
)

func TestOutput(t *testing.T) {
	for name, set := range map[string]func(*Options){
		"text.txt":  func(*Options) {},
		"wide.txt":  func(o *Options) { o.Output = "wide" },
		"pre.txt":   func(o *Options) { o.Pre = true },
		"one.json":  func(o *Options) { o.Only, o.Output = []string{"csi-driver-nodes"}, "json" },
		"some.yaml": func(o *Options) { o.Only, o.Output = []string{"kubernetes", "issuer"}, "yaml" },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			set(s.Options)
			require.NoError(t, s.Validate())
			require.NoError(t, s.Run(t.Context()))
			golden.Check(t, "testdata/"+name, s.out.String())
		})
	}
}

// All that can be wrong at once, and what is told of it.
func TestAllIsWrong(t *testing.T) {
	s := newStand(t, "injector delete secrets", "injector patch deployments")
	s.server.version, s.server.groups = "v1.27.1-gke.100", []string{"security.openshift.io"}
	s.trust(authority(t, now.AddDate(0, 0, -3)))
	for _, name := range []string{"cert-manager", "trust-manager"} {
		change(s, &appsv1.Deployment{}, client.ObjectKey{Namespace: "cert-manager", Name: name},
			func(d *appsv1.Deployment) { d.Status.AvailableReplicas = 0 })
	}
	change(s, &storagev1.CSINode{}, client.ObjectKey{Name: "b"}, func(n *storagev1.CSINode) { n.Spec.Drivers = nil })
	change(s, &cmapi.ClusterIssuer{}, client.ObjectKey{Name: "mtls-ca"}, func(i *cmapi.ClusterIssuer) {
		i.Status.Conditions[0].Status, i.Status.Conditions[0].Message = "False", "secrets \"mtls-ca\" not found"
	})
	require.NoError(t, s.cluster.Create(t.Context(), &cmapi.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", CreationTimestamp: metav1.Time{Time: now.Add(-time.Hour)}},
	}))
	exit, isExit := errors.AsType[*steps.ExitError](s.Run(t.Context()))
	require.True(t, isExit)
	assert.Equal(t, 2, exit.Code)
	golden.Check(t, "testdata/wrong.txt", s.out.String())
}

func TestWithFewRights(t *testing.T) {
	s := newStand(t, "list nodes", "list deployments", "list deployments -", "get csidrivers", "list namespaces", "list configmaps -", "get configmaps mtls-injector",
		"list mutatingwebhookconfigurations", "create pods", "create certificates", "list certificaterequests", "get clusterissuers")
	require.NoError(t, s.Run(t.Context()))
	golden.Check(t, "testdata/few-rights.txt", s.out.String())
}

// one makes one check, with the answers of the site changed.
func (s *stand) one(name string) (Status, string) {
	s.t.Helper()
	s.Only = []string{name}
	r := s.check(s.t.Context())
	require.Len(s.t, r.Checks, 1)
	var messages []string
	for _, o := range r.Checks[0].Outcomes {
		messages = append(messages, o.Message)
	}
	return r.Checks[0].Status, strings.Join(messages, "\n")
}

func TestKubernetesVersions(t *testing.T) {
	for version, want := range map[string]struct {
		status  Status
		message string
	}{
		"v1.27.9":         {Failure, "v1.27.9 is too old: it must be 1.28.0 or later"},
		"v1.28.2":         {Warning, "v1.28.2 has no native sidecars: agent and reload: signal cannot be used"},
		"v1.29.0+rke2r1":  {OK, "v1.29.0+rke2r1; the preStop hook runs sleep in the container, which must have it"},
		"v1.36.3-gke.100": {OK, "v1.36.3-gke.100"},
		"master":          {Warning, `the version "master" is of no form that is known`},
	} {
		s := newStand(t)
		s.server.version = version
		status, message := s.one("kubernetes")
		assert.Equal(t, want.status, status, version)
		assert.Equal(t, want.message, message)
	}
}

func TestManagedControlPlanes(t *testing.T) {
	for name, tc := range map[string]struct {
		server  said
		host    string
		status  Status
		message string
	}{
		"none":      {said{version: "v1.36.3"}, "https://10.0.0.1:6443", OK, "no managed control plane that is known to close ports"},
		"GKE":       {said{version: "v1.36.3-gke.100"}, "", Warning, "GKE: the control plane of a private cluster reaches the nodes on ports 443 and 10250 only"},
		"EKS":       {said{version: "v1.36.3-eks-1234"}, "", Warning, "EKS: the nodes' security group must let the control plane in on the webhook's port (9443)"},
		"AKS":       {said{version: "v1.36.3"}, "https://shop-dns-1.hcp.westeurope.azmk8s.io:443", OK, "AKS: its control plane reaches pods"},
		"OpenShift": {said{version: "v1.36.3", groups: []string{"apps", "security.openshift.io"}}, "", OK, "OpenShift: its control plane reaches pods"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			s.server, s.cluster.Config = tc.server, &rest.Config{Host: tc.host}
			status, message := s.one("control-plane-ports")
			assert.Equal(t, tc.status, status)
			assert.Contains(t, message, tc.message)
		})
	}
}

func TestNothingIsOptedIn(t *testing.T) {
	s := newStand(t)
	change(s, &corev1.Namespace{}, client.ObjectKey{Name: "shop"}, func(ns *corev1.Namespace) { delete(ns.Labels, "mtls-enabled") })
	status, message := s.one("namespaces")
	assert.Equal(t, Warning, status)
	assert.Equal(t, "no namespace is opted in", message)
	status, message = s.one("injection")
	assert.Equal(t, NotKnown, status)
	assert.Equal(t, "no namespace that is opted in can be seen: name one with -n", message)
}

func TestWhatEndsSoon(t *testing.T) {
	s := newStand(t)
	s.trust(authority(t, now.AddDate(0, 0, 7)))
	status, message := s.one("webhook")
	assert.Equal(t, Warning, status)
	assert.Equal(t, "its caBundle ends in 7d", message)

	for message, end := range map[string]time.Time{
		"Certificate mtls-injector/mtls-injector-webhook expired 24h ago":                   now.AddDate(0, 0, -1),
		"Certificate mtls-injector/mtls-injector-webhook was to be renewed, and ends in 2d": now.AddDate(0, 0, 2),
	} {
		change(s, &cmapi.Certificate{}, client.ObjectKey{Namespace: "mtls-injector", Name: "mtls-injector-webhook"}, func(c *cmapi.Certificate) {
			c.Status.NotAfter, c.Status.RenewalTime = &metav1.Time{Time: end}, &metav1.Time{Time: now.Add(-time.Hour)}
		})
		_, got := s.one("webhook-certificate")
		assert.Equal(t, message, got)
	}
}

func TestVersions(t *testing.T) {
	for name, tc := range map[string]struct {
		chart, image, plugin string
		status               Status
		message              string
	}{
		"together":          {"v0.1.0", "x/mtls-injector:v0.1.3", "v0.1.1", OK, "chart mtls-injector-0.1.0, program v0.1.3, plugin v0.1.1"},
		"another program":   {"v0.1.0", "localhost:5000/i:v0.2.0@sha256:12", "v0.2.0", Warning, "the chart is for v0.1.0, and runs v0.2.0"},
		"another plugin":    {"v0.1.0", "i:v0.1.0", "v1.1.0", Warning, "the injector is v0.1.0, and this plugin v1.1.0"},
		"development build": {"v0.1.0", "localhost:5000/i", "dev", OK, "chart mtls-injector-0.1.0, program , plugin dev"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			s.version = tc.plugin
			change(s, &appsv1.Deployment{}, client.ObjectKey{Namespace: "mtls-injector", Name: "mtls-injector"}, func(d *appsv1.Deployment) {
				d.Labels["app.kubernetes.io/version"], d.Spec.Template.Spec.Containers[0].Image = tc.chart, tc.image
			})
			status, message := s.one("versions")
			assert.Equal(t, tc.status, status)
			assert.Equal(t, tc.message, message)
		})
	}
}

// The rights that are asked for are those that the chart gives, which tests hold to be needed.
func TestRightsAreTheCharts(t *testing.T) {
	text, err := os.ReadFile("../../../e2e/cluster/rbac.yaml")
	require.NoError(t, err)
	var given []string
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		var role rbacv1.ClusterRole
		require.NoError(t, yaml.Unmarshal([]byte(document), &role))
		for _, rule := range role.Rules {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					given = append(given, verb+" "+rule.APIGroups[0]+"/"+resource+" "+strings.Join(rule.ResourceNames, ""))
				}
			}
		}
	}
	var asked []string
	for _, a := range attributesOf("mtls-injector", "mtls-ca-bundle") {
		asked = append(asked, a.Verb+" "+a.Group+"/"+a.Resource+" "+a.Name)
	}
	slices.Sort(given)
	slices.Sort(asked)
	assert.Equal(t, given, asked)
}

func TestTheTable(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range checks {
		assert.False(t, seen[c.name], c.name)
		seen[c.name] = true
		assert.NotEmpty(t, c.about, c.name)
		assert.True(t, strings.HasSuffix(c.why, "."), "%s: %s", c.name, c.why)
		assert.NotZero(t, c.when, c.name)
	}
}

func TestServerCannotBeReached(t *testing.T) {
	s := newStand(t)
	s.server.err = errors.New("connection refused")
	require.EqualError(t, s.Run(context.Background()), "the API server cannot be reached: connection refused")
}

func TestFlags(t *testing.T) {
	s := newStand(t)
	s.Only, s.Output = []string{"issuers"}, "xml"
	require.EqualError(t, s.Validate(), "--output \"xml\": must be wide, json, yaml\n--only \"issuers\": must be of "+strings.Join(names(), ", "))

	var out bytes.Buffer
	cmd := NewCommand("v1", genericiooptions.IOStreams{Out: &out, ErrOut: &out})
	cmd.SetOut(&out)
	cmd.SetArgs([]string{cobra.ShellCompRequestCmd, "--only", ""})
	require.NoError(t, cmd.Execute())
	assert.Contains(t, out.String(), "kubernetes\ninstaller\n")

	out.Reset()
	cmd.SetArgs([]string{"--help"})
	require.NoError(t, cmd.Execute())
	assert.Contains(t, out.String(), "kubectl mtls check --pre")
}

func TestJSONHasAllThatIsTold(t *testing.T) {
	s := newStand(t)
	s.Output = "json"
	require.NoError(t, s.Run(t.Context()))
	var r Report
	require.NoError(t, json.Unmarshal(s.out.Bytes(), &r))
	assert.Equal(t, len(r.Checks), r.OK+r.Warnings+r.Failures+r.NotKnown)
	for _, c := range r.Checks {
		assert.NotEmpty(t, c.Outcomes, c.Name)
	}
}
