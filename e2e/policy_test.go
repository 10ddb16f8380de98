package e2e

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/certs"
	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/csidriver"
	"example.io/mtls-injector/e2e/node"
)

// TestPolicies: what the webhook allows, approver-policy approves: for the CSI driver, for
// companions, and for a driver that asks in the name of the pods.
func TestPolicies(t *testing.T) {
	s := newSigning(t)
	runWebhook(t, s.Cluster, cluster.WebhookOptions{Config: policyFolder + "/injector.yaml"})
	pods := map[string]*corev1.Pod{}
	for file, namespace := range map[string]string{"pods.yaml": "shop", "edge.yaml": "edge", "team.yaml": "team"} {
		for _, object := range s.apply(t, file, namespace) {
			if object.GetKind() != "Pod" {
				continue
			}
			var pod corev1.Pod
			require.NoError(t, s.Client.Get(t.Context(), client.ObjectKeyFromObject(object), &pod))
			pods[pod.Name] = &pod
		}
	}
	t.Run("by the CSI driver", func(t *testing.T) {
		n, err := node.New(s.Cluster, t.TempDir())
		require.NoError(t, err)
		checkPods(t, pods, func(*testing.T, *corev1.Pod) *csidriver.Driver { return n.Driver })
	})
	t.Run("companions", func(t *testing.T) { checkCompanions(t, s) })
	t.Run("another configuration", func(t *testing.T) { checkAnother(t, s) })
	t.Run("by service accounts", func(t *testing.T) {
		s.policies(t, "--use-token-request")
		checkPods(t, pods, func(t *testing.T, pod *corev1.Pod) *csidriver.Driver {
			t.Helper()
			asPod := s.asAccount(t, pod.Namespace, pod.Spec.ServiceAccountName, pod.Namespace)
			return csidriver.New(csidriver.Options{Client: asPod, Root: t.TempDir(), Node: cluster.NodeName})
		})
	})
}

// checkPods has a certificate issued for each pod.
func checkPods(t *testing.T, pods map[string]*corev1.Pod, driver func(*testing.T, *corev1.Pod) *csidriver.Driver) {
	t.Helper()
	of := func(service string) []string {
		return []string{service, service + ".shop", service + ".shop.svc", service + ".shop.svc.cluster.local"}
	}
	type certificate struct {
		uris, names []string
		commonName  string
	}
	for name, want := range map[string]certificate{
		"server": {[]string{"spiffe://corp.example/ns/shop/sa/web"}, of("web"), "web.shop.svc.cluster.local"},
		"client": {[]string{"spiffe://corp.example/ns/shop/sa/default"}, nil, ""},
		"both":   {[]string{"spiffe://corp.example/ns/shop/sa/web"}, of("web"), "web.shop.svc.cluster.local"},
		"db-0.of.stateful": {
			[]string{"spiffe://corp.example/ns/shop/sa/default"},
			append(of("db"), "db-0.of.stateful.db.shop.svc.cluster.local"), "db.shop.svc.cluster.local",
		},
		"gateway": {
			[]string{"spiffe://corp.example/ns/edge/sa/default"},
			[]string{
				"gateway", "gateway.edge", "gateway.edge.svc", "gateway.edge.svc.cluster.local",
				"www.example.com", "shop.api.example.com", "*.api.example.com", "edge.example.net",
			},
			"Edge Gateway",
		},
		"by-hand": {
			[]string{"spiffe://corp.example/ns/edge/sa/default", "https://example.com/home"},
			[]string{"www.example.com"}, "www.example.com",
		},
		"team": {[]string{"spiffe://corp.example/ns/team/sa/default"}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			pod := pods[name]
			require.NotNil(t, pod)
			dir, err := driver(t, pod).Publish(t.Context(), pod, "mtls-certs")
			require.NoError(t, err)
			cert, err := loadCertificate(filepath.Clean(dir))
			require.NoError(t, err)
			var uris []string
			for _, uri := range cert.URIs {
				uris = append(uris, uri.String())
			}
			assert.Equal(t, want.uris, uris)
			assert.Equal(t, want.names, cert.DNSNames)
			assert.Equal(t, want.commonName, cert.Subject.CommonName)
		})
	}
}

// checkCompanions waits for those of all injected pods.
func checkCompanions(t *testing.T, s *signing) {
	t.Helper()
	want := map[string][]string{
		"shop": {"both-mtls-pod", "client-mtls-pod", "db-0.of.stateful-mtls-pod", "server-mtls-pod"},
		"edge": {"gateway-mtls-pod"},
		"team": {"team-mtls-pod"},
	}
	for namespace, names := range want {
		require.NoError(t, s.WaitFor(t.Context(), "the companions in "+namespace, func(ctx context.Context) error {
			var list cmapi.CertificateList
			if err := s.Client.List(ctx, &list, client.InNamespace(namespace), client.MatchingLabels{certs.LabelCertType: certs.CertTypeMTLS}); err != nil {
				return err
			}
			if len(list.Items) != len(names) {
				return errors.New("not all are there")
			}
			return nil
		}))
		for _, name := range names {
			cert, err := s.WaitForCertificate(t.Context(), namespace, name)
			require.NoError(t, err)
			if name == "db-0.of.stateful-mtls-pod" {
				assert.True(t, slices.Contains(cert.Spec.DNSNames, "*.db.shop.svc.cluster.local"), "%v", cert.Spec.DNSNames)
			}
		}
	}
}

// checkAnother applies what another configuration makes: nothing is left of the old one.
func checkAnother(t *testing.T, s *signing) {
	t.Helper()
	driver := s.asDriver(t)
	s.approved(t, honestRequest("shop").create(t, driver))
	s.policies(t, "--config", policyFolder+"/another.yaml")
	require.NoError(t, s.WaitFor(t.Context(), "the old policies to be forgotten", func(context.Context) error {
		if verdict, words := s.decision(t, honestRequest("shop").create(t, driver)); verdict != notApplicable {
			return errors.New(words)
		}
		return nil
	}))
	another := honestRequest("shop")
	another.issuer.Name = "other-ca"
	s.approved(t, another.create(t, driver))
}
