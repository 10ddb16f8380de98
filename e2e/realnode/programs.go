package realnode

// The programs of the node, beside those of the control plane.

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/internal/binaries"
)

// ensurePrograms builds and downloads all that Start starts, while there is a network.
func ensurePrograms(ctx context.Context, progress func(string)) error {
	if _, err := binaries.EnsureControlPlane(ctx, progress); err != nil {
		return err
	}
	if _, err := binaries.EnsureNode(ctx, progress); err != nil {
		return err
	}
	if _, err := binaries.EnsureTrustManager(ctx, progress); err != nil {
		return err
	}
	_, err := binaries.EnsureHelm(ctx, progress)
	return err
}

func (n *Node) bin() string { return filepath.Join(n.work, "bin") }

// linkPrograms makes a folder with the programs under the names by which they look for each
// other. A Debian that has iptables links it to one of the two kinds.
func (n *Node) linkPrograms() error {
	if err := os.Mkdir(n.bin(), 0o750); err != nil {
		return fmt.Errorf("making a folder for programs: %w", err)
	}
	links := map[string]string{
		"containerd-shim-runc-v2": n.programs.Shim,
		"runc":                    filepath.Join(n.programs.Debian.Root, "usr/sbin/runc"),
	}
	kind := n.iptablesKind()
	for _, name := range []string{"iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"} {
		links[name] = filepath.Join(n.programs.Debian.Root, "usr/sbin/xtables-"+kind+"-multi")
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(n.bin(), name)); err != nil {
			return fmt.Errorf("linking %s: %w", name, err)
		}
	}
	return nil
}

// iptablesKind tells which kind the kernel has.
func (n *Node) iptablesKind() string {
	const nft = "nft"
	cmd := exec.Command(filepath.Join(n.programs.Debian.Root, "usr/sbin/xtables-nft-multi"), "iptables", "-t", "nat", "-S") //nolint:gosec,noctx // ends at once
	cmd.Env = n.env()
	if cmd.Run() != nil {
		return "legacy"
	}
	return nft
}

// env is the environment of the node's programs.
func (n *Node) env() []string {
	d := n.programs.Debian
	return []string{
		"PATH=" + n.bin() + ":" + d.Path() + ":" + os.Getenv("PATH") + ":/usr/sbin:/usr/bin:/sbin:/bin",
		"LD_LIBRARY_PATH=" + d.LibraryPath(),
		"XTABLES_LIBDIR=" + d.XtablesPath(),
		"HOME=/root",
		"TMPDIR=" + os.TempDir(),
	}
}

// start starts a program of the node and waits until it is ready.
func (n *Node) start(ctx context.Context, name, path string, ready func(context.Context) error, args ...string) error {
	p, err := n.StartProgram(ctx, cluster.ProgramOptions{Name: name, Path: path, Args: args, Env: n.env(), Ready: ready})
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.running[name] = p
	return nil
}

// stop ends a program of the node, if it runs; kill does so as a crash does.
func (n *Node) stop(name string) error { return n.end(name, (*cluster.Program).Stop) }
func (n *Node) kill(name string) error { return n.end(name, (*cluster.Program).Kill) }

func (n *Node) end(name string, how func(*cluster.Program) error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.running[name]
	delete(n.running, name)
	if p == nil {
		return nil
	}
	return how(p)
}

// startOthers starts the scheduler and kube-proxy.
func (n *Node) startOthers(ctx context.Context, _ Options) error {
	n.progress("starting kube-scheduler and kube-proxy")
	scheduler, err := n.KubeconfigForUser("system:kube-scheduler")
	if err != nil {
		return err
	}
	n.onStop(func() error { return n.stop("kube-scheduler") })
	if err := n.start(ctx, "kube-scheduler", n.programs.Scheduler, atOnce,
		"--kubeconfig="+scheduler, "--authentication-kubeconfig="+scheduler, "--authorization-kubeconfig="+scheduler,
		"--leader-elect=false", "--bind-address="+Address,
	); err != nil {
		return err
	}
	// Without the Node, kube-proxy does not start, and looks for it ever more rarely.
	err = n.WaitFor(ctx, "the kubelet to make the Node", func(ctx context.Context) error {
		return n.Client.Get(ctx, client.ObjectKey{Name: NodeName}, &corev1.Node{})
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, n.Tails(describeLines))
	}
	proxy, err := n.KubeconfigForUser("system:kube-proxy")
	if err != nil {
		return err
	}
	n.onStop(func() error { return n.stop("kube-proxy") })
	return n.start(ctx, "kube-proxy", n.programs.Proxy, func(ctx context.Context) error { return cluster.Get(ctx, "http://"+Address+":10256/livez") },
		"--kubeconfig="+proxy, "--hostname-override="+NodeName, "--bind-address="+Address, "--healthz-bind-address="+Address+":10256",
		"--proxy-mode=iptables", "--cluster-cidr="+podNetwork, "--iptables-min-sync-period=100ms",
		// These are the machine's.
		"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0s", "--conntrack-tcp-timeout-close-wait=0s",
	)
}

// atOnce is for programs whose readiness shows in what they do.
func atOnce(context.Context) error { return nil }
