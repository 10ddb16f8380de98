package realnode

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/csiplugin"
	"example.io/mtls-injector/e2e/helm"
	"example.io/mtls-injector/e2e/internal/binaries"
)

// KubeletRoot is the kubelet's folder.
const KubeletRoot = "/var/lib/kubelet"

// Options say how a node differs from the usual one. The zero value is fine.
type Options struct {
	// Progress is told, line by line, what goes on.
	Progress func(line string)
	// LogDir keeps the log files of all programs; by default they go with the node.
	LogDir string
	// Cluster has further options of the control plane.
	Cluster cluster.Options
}

// Node is a running cluster of one node.
type Node struct {
	*cluster.Cluster
	// Clientset has what Client has not: logs and exec.
	Clientset kubernetes.Interface
	// Helm is the real one, talking to this cluster, and Chart the path of our chart.
	Helm  *helm.CLI
	Chart string
	// Plugin is the stand-in of cert-manager's CSI driver, which may be stopped and started.
	Plugin *csiplugin.Plugin
	// LogDir has the log files of all programs.
	LogDir string

	progress func(string)
	programs *binaries.Node
	work     string
	group    string // the name of the cgroup
	kubelet  kubeletFiles

	mu      sync.Mutex
	running map[string]*cluster.Program
	// kubeletSince is when the kubelet was started.
	kubeletSince time.Time
	stops        []func() error // run last to first
}

// Start starts the control plane and the node, and waits until pods can run. Only what Main
// runs can start one, and one at a time.
func Start(ctx context.Context, opts Options) (*Node, error) {
	if os.Getenv(stageVariable) != stageInner {
		return nil, errors.New("a node runs in namespaces of its own only: start it in what realnode.Main runs")
	}
	n := &Node{
		progress: opts.Progress, LogDir: opts.LogDir, running: map[string]*cluster.Program{},
		work: os.Getenv(workVariable), group: os.Getenv(cgroupVariable),
	}
	if n.progress == nil {
		n.progress = func(string) {}
	}
	for _, step := range []func(context.Context, Options) error{
		n.prepare, n.startCluster, n.serveDNS, n.startContainerd, n.startKubelet, n.startOthers, n.startAddons, n.startCSI, n.prepareRelease, n.awaitNode,
	} {
		if err := step(ctx, opts); err != nil {
			return nil, fmt.Errorf("starting the node: %w", errors.Join(err, n.Stop()))
		}
	}
	n.progress("the node is ready")
	return n, nil
}

// prepare finds the programs and makes the folders.
func (n *Node) prepare(ctx context.Context, _ Options) error {
	var err error
	if n.programs, err = binaries.EnsureNode(ctx, n.progress); err != nil {
		return err
	}
	if n.LogDir == "" {
		n.LogDir = filepath.Join(n.work, "logs")
	}
	if n.LogDir, err = filepath.Abs(n.LogDir); err != nil {
		return fmt.Errorf("finding the log folder: %w", err)
	}
	if err := os.MkdirAll(n.LogDir, 0o750); err != nil {
		return fmt.Errorf("making the log folder: %w", err)
	}
	return n.linkPrograms()
}

func (n *Node) startCluster(ctx context.Context, opts Options) error {
	if err := n.makeKubeletFiles(); err != nil {
		return err
	}
	o := opts.Cluster
	o.Progress, o.LogDir, o.Address, o.WithoutInjector = n.progress, n.LogDir, Address, true
	args := map[string][]string{
		"service-cluster-ip-range":        {serviceNetwork},
		"authorization-mode":              {"Node"}, // beside envtest's RBAC
		"enable-admission-plugins":        {"NodeRestriction"},
		"kubelet-client-certificate":      {n.kubelet.clientCert},
		"kubelet-client-key":              {n.kubelet.clientKey},
		"kubelet-preferred-address-types": {"InternalIP"},
		// Otherwise it waits a minute for watches to end when it is to restart.
		"shutdown-watch-termination-grace-period": {"2s"},
	}
	for name, values := range o.ExtraAPIServerArgs {
		args[name] = append(args[name], values...)
	}
	o.ExtraAPIServerArgs = args
	c, err := cluster.Start(ctx, o)
	if err != nil {
		return err
	}
	n.Cluster = c
	n.onStop(c.Stop)
	if n.Clientset, err = kubernetes.NewForConfig(c.Config); err != nil {
		return fmt.Errorf("making the clientset: %w", err)
	}
	return nil
}

// startAddons starts the rest of cert-manager.
func (n *Node) startAddons(ctx context.Context, _ Options) error {
	if err := n.RunCAInjector(ctx); err != nil {
		return err
	}
	return n.RunTrustManager(ctx)
}

// awaitNode waits until the scheduler would give the node a pod.
func (n *Node) awaitNode(ctx context.Context, _ Options) error {
	n.progress("waiting for the node to be ready")
	return n.AwaitReady(ctx)
}

// AwaitReady waits until the kubelet that runs has said that it is ready, and the node takes
// pods.
func (n *Node) AwaitReady(ctx context.Context) error {
	n.mu.Lock()
	since := n.kubeletSince.Truncate(time.Second) // as the API tells times
	n.mu.Unlock()
	err := n.WaitFor(ctx, "the node to be ready", func(ctx context.Context) error {
		var node corev1.Node
		if err := n.Client.Get(ctx, client.ObjectKey{Name: NodeName}, &node); err != nil {
			return err
		}
		if len(node.Spec.Taints) > 0 {
			return fmt.Errorf("it is tainted: %v", node.Spec.Taints)
		}
		for _, condition := range node.Status.Conditions {
			switch {
			case condition.Type != corev1.NodeReady:
			case condition.Status != corev1.ConditionTrue:
				return fmt.Errorf("%s: %s", condition.Reason, condition.Message)
			case condition.LastHeartbeatTime.Time.Before(since):
				return errors.New("the kubelet has said so before it was started again only")
			default:
				return nil
			}
		}
		return errors.New("it does not say that it is")
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, n.Tails(15))
	}
	return nil
}

// Stop ends everything that the node runs. Only the first call does something. What is left
// of the node after it goes with the namespaces.
func (n *Node) Stop() error {
	var errs []error
	for len(n.stops) > 0 {
		last := len(n.stops) - 1
		errs = append(errs, n.stops[last]())
		n.stops = n.stops[:last]
	}
	return errors.Join(errs...)
}

// Keep leaves the node running until the program is told to end, and says how to get in.
func (n *Node) Keep(ctx context.Context) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	pid, err := os.ReadFile(filepath.Join(n.work, pidFile))
	if err != nil {
		n.progress(err.Error())
	}
	n.progress("the node is kept until Ctrl-C; logs are in " + n.LogDir + "; to look:\n" +
		"  nsenter --target " + string(pid) + " --all " + n.Kubectl + " --kubeconfig " + n.Kubeconfig + " get pods -A")
	<-ctx.Done()
}

func (n *Node) onStop(stop func() error) { n.stops = append(n.stops, stop) }
