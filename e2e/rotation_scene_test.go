package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/demo/authority"
	"example.io/mtls-injector/e2e/demo/peer"
	"example.io/mtls-injector/e2e/node"
	"example.io/mtls-injector/e2e/shortissuer"
	"example.io/mtls-injector/intent"
)

const (
	rotationFolder = "testdata/rotation"
	// backdate is for how long a certificate of shortIssuer is valid already when it is
	// signed.
	backdate = 10 * time.Second
)

// shortIssuer is the external issuer of the rotation's namespace.
var shortIssuer = cmmeta.IssuerReference{Name: "short", Kind: "ShortIssuer", Group: "short.example.io"}

// rotation is what TestRotation takes place on.
type rotation struct {
	*testing.T
	*cluster.Cluster
	namespace string
	node      *node.Node
	kubelet   *node.Kubelet
	program   string // the servers'

	mu    sync.Mutex
	roots map[string]string // where the container's "/" is, by pod
}

// newRotation starts all but the workloads. What it starts ends with the test, in the
// opposite order.
func newRotation(t *testing.T) *rotation {
	t.Helper()
	r := &rotation{T: t, Cluster: shared, program: buildPeer(t), roots: map[string]string{}}
	runWebhook(t, shared, cluster.WebhookOptions{Config: rotationFolder + "/injector.yaml"})
	r.namespace = clustertest.Namespace(t, shared, map[string]string{
		intent.Prefix + "issuer":       shortIssuer.Name,
		intent.Prefix + "issuer-kind":  shortIssuer.Kind,
		intent.Prefix + "issuer-group": shortIssuer.Group,
	})
	ca, err := authority.New("Short CA")
	require.NoError(t, err)
	giveBundle(t, r.namespace, ca.CA.Cert)
	r.background(func(ctx context.Context) error {
		return shortissuer.Run(ctx, shared.Config, shortissuer.Options{
			Ref: shortIssuer, CA: ca.CA, Lifetime: time.Minute, Backdate: backdate,
		})
	})
	r.node = newNode(t)
	r.background(func(ctx context.Context) error {
		r.node.Driver.Manage(ctx)
		return nil
	})
	r.kubelet = &node.Kubelet{
		Node: r.node, Namespace: r.namespace, Labels: client.MatchingLabels{"tier": "server"},
		Start: r.start, OnError: r.logOnce(),
	}
	r.background(r.kubelet.Run)
	return r
}

// buildPeer builds the program that stands in for images.
func buildPeer(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "peer")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./cmd/peer").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// giveBundle puts the CA certificates where injected pods look for them.
func giveBundle(t *testing.T, namespace string, certs []byte) {
	t.Helper()
	require.NoError(t, shared.Client.Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "mtls-ca-bundle"},
		Data:       map[string]string{"ca.crt": string(certs)},
	}))
}

// background runs something until the test is over and what was started after it has
// ended.
func (r *rotation) background(run func(context.Context) error) {
	r.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	r.Cleanup(func() {
		cancel()
		require.NoError(r, <-ended)
	})
}

// logOnce returns a function that logs what is new.
func (r *rotation) logOnce() func(error) {
	var said sync.Map
	return func(err error) {
		if _, again := said.LoadOrStore(err.Error(), true); !again {
			r.Log(err)
		}
	}
}

// start starts a server's process, with a log file of its own.
func (r *rotation) start(ctx context.Context, c *node.Container) (node.Process, error) {
	log, err := os.Create(filepath.Join(r.node.Root, c.Pod.Name+".log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the process has its own copy
	r.mu.Lock()
	r.roots[c.Pod.Name] = c.Root
	r.mu.Unlock()
	process, err := peer.Start(ctx, r.program, c.Root, c.Env, c.Args, log)
	if err != nil {
		said, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%w: %s", err, said)
	}
	return process, nil
}

// deploy applies a file of workloads and waits until those servers serve. At the end of the
// test they go, while there is a kubelet to let them.
func (r *rotation) deploy(file string, apps ...string) {
	r.Helper()
	objects := clustertest.Apply(r.T, r.Cluster, file, r.namespace)
	r.Cleanup(func() {
		for _, obj := range objects {
			require.NoError(r, r.Client.Delete(context.Background(), obj, client.PropagationPolicy(metav1.DeletePropagationBackground)))
		}
		require.NoError(r, r.WaitFor(context.Background(), "the pods of "+file+" to go", func(ctx context.Context) error {
			var pods corev1.PodList
			err := r.Client.List(ctx, &pods, client.InNamespace(r.namespace), r.kubelet.Labels)
			if err == nil && len(pods.Items) > 0 {
				err = errors.New("some are left")
			}
			return err
		}))
	})
	for _, app := range apps {
		require.NoError(r, r.WaitFor(r.Context(), app+" to serve", func(context.Context) error {
			if n := len(r.kubelet.Endpoints(labels.Set{"app": app})); n != 2 {
				return errors.New("not by both pods")
			}
			return nil
		}))
	}
}

// caller makes the client's pod and returns what its container would call with.
func (r *rotation) caller() *peer.Client {
	r.Helper()
	clustertest.Apply(r.T, r.Cluster, rotationFolder+"/caller.yaml", r.namespace)
	pods, err := r.WaitForPods(r.Context(), r.namespace, map[string]string{"app": "caller"}, 1)
	require.NoError(r, err)
	r.Cleanup(func() {
		require.NoError(r, r.node.Unmount(&pods[0]))
		require.NoError(r, r.Client.Delete(context.Background(), &pods[0], client.GracePeriodSeconds(0)))
	})
	return mountClient(r.T, r.node, &pods[0])
}

// mountClient publishes the volumes of a client's pod and returns a client that has its
// files and variables, and nothing else.
func mountClient(t *testing.T, n *node.Node, pod *corev1.Pod) *peer.Client {
	t.Helper()
	root, err := n.Mount(t.Context(), pod, pod.Spec.Containers[0].Name)
	require.NoError(t, err)
	env, err := n.Env(t.Context(), pod, pod.Spec.Containers[0].Name)
	require.NoError(t, err)
	return containerClient(pod.Name, root, env)
}

// containerClient returns a client that has the files and variables of a container.
func containerClient(name, root string, env []string) *peer.Client {
	c := peer.RegisterCall(flag.NewFlagSet(name, flag.ContinueOnError), func(name string) string {
		for _, variable := range env {
			if value, ok := strings.CutPrefix(variable, name+"="); ok {
				return value
			}
		}
		return ""
	})
	c.Root = root
	return c
}
