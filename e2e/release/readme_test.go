package release_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"regexp"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	certutil "k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/node"
	"example.io/mtls-injector/e2e/release"
)

// TestREADME does what the README says, command by command and nothing else, and sees what it
// promises.
func TestREADME(t *testing.T) {
	t.Cleanup(func() { cleanUp(t) })
	run := pageOf(t, "README.md")

	assert.Contains(t, run("install"), "Succeeded", "helm test")
	run("opt-in")
	shop := runWorkloads(t, "shop")
	require.NoError(t, stage.WaitFor(t.Context(), "an injected pod that runs, and the companion", func(context.Context) error {
		look := run("look")
		for _, want := range []string{`(?m)^orders-\S+ +1/1 +Running`, `(?m)^orders-mtls +True +orders-mtls`} {
			if !regexp.MustCompile(want).MatchString(look) {
				return fmt.Errorf("there is no %s in\n%s", want, look)
			}
		}
		return nil
	}))
	assert.Regexp(t, `(?m)^shop +Deployment/orders +server +1/1 +0 +ready `, run("explain"), "as the README shows it")
	run("offline")
	assert.Contains(t, run("dashboard"), "mtls-injector-dashboard")

	assert.Equal(t, []string{"CN=mtls-ca-a"}, shop.signers(t))
	run("rotate")
	assert.Equal(t, []string{"CN=mtls-ca-b"}, shop.signers(t), "the pod's certificate is the new root's")
	var bundle corev1.ConfigMap
	require.NoError(t, stage.WaitFor(t.Context(), "the old root to leave the bundle", func(ctx context.Context) error {
		if err := stage.Client.Get(ctx, client.ObjectKey{Namespace: "shop", Name: "mtls-ca-bundle"}, &bundle); err != nil {
			return err
		}
		if subjects := subjectsOf(t, []byte(bundle.Data["ca.crt"])); !slices.Equal(subjects, []string{"CN=mtls-ca-b"}) {
			return fmt.Errorf("there is %v", subjects)
		}
		return nil
	}))
	run("uninstall")
	assert.False(t, isInjected(create(t, server("shop"))), "pods start as they are")
	_, err := stage.Helm.Run(t.Context(), "status", release.Name, "-n", release.Namespace)
	require.Error(t, err)
}

// workloads are the pods of a namespace that run.
type workloads struct {
	namespace string

	mu    sync.Mutex
	roots map[string]string // where the container's "/" is, by pod
}

// runWorkloads runs the pods of a namespace as far as their rollout depends on it: their
// volumes are mounted, with certificates that are really signed, and they are Ready. What
// their containers would do is no matter here.
func runWorkloads(t *testing.T, namespace string) *workloads {
	t.Helper()
	w := &workloads{namespace: namespace, roots: map[string]string{}}
	n, err := node.New(stage.Cluster, t.TempDir())
	require.NoError(t, err)
	kubelet := &node.Kubelet{
		Node: n, Namespace: namespace, Start: w.start,
		OnError: func(error) {}, // a volume that is not there yet
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- kubelet.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return w
}

func (w *workloads) start(_ context.Context, c *node.Container) (node.Process, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.roots[c.Pod.Name] = c.Root
	return nothing{}, nil
}

// signers returns who signed the server certificates of the pods that are not on their way
// out, each once.
func (w *workloads) signers(t *testing.T) []string {
	t.Helper()
	var pods corev1.PodList
	require.NoError(t, stage.Client.List(t.Context(), &pods, client.InNamespace(w.namespace)))
	var signers []string
	for i := range pods.Items {
		if pods.Items[i].DeletionTimestamp != nil {
			continue
		}
		w.mu.Lock()
		root, ok := w.roots[pods.Items[i].Name]
		w.mu.Unlock()
		require.True(t, ok, "%s runs", pods.Items[i].Name)
		chain, err := os.ReadFile(node.Path(root, "/etc/tls/server/tls.crt"))
		require.NoError(t, err)
		cert, err := x509.ParseCertificate(leaf(t, chain))
		require.NoError(t, err)
		signers = append(signers, cert.Issuer.String())
	}
	slices.Sort(signers)
	return slices.Compact(signers)
}

// subjectsOf returns the subjects of certificates in PEM.
func subjectsOf(t *testing.T, bundle []byte) []string {
	t.Helper()
	certs, err := certutil.ParseCertsPEM(bundle)
	require.NoError(t, err)
	subjects := make([]string, len(certs))
	for i, cert := range certs {
		subjects[i] = cert.Subject.String()
	}
	return subjects
}

// nothing is a process that does nothing.
type nothing struct{}

func (nothing) Address() string { return "127.0.0.1:0" }
func (nothing) Stop() error     { return nil }
