package binaries

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
)

// Node holds the paths of what a real node runs.
type Node struct {
	// Kubelet, Proxy and Scheduler are Kubernetes's, of the control plane's version.
	Kubelet, Proxy, Scheduler string
	// Containerd is the daemon, Ctr its command line, Shim what stands between it and runc.
	Containerd, Ctr, Shim string
	// CNI is the folder of the network's plugins: ptp, host-local, loopback.
	CNI string
	// Debian has runc and iptables.
	Debian *Packages
}

// EnsureNode returns the programs of a node. What is of Go is built once per version into
// the user's cache folder, in some three minutes; the rest are Debian's packages, downloaded
// and unpacked there.
func EnsureNode(ctx context.Context, progress Progress) (*Node, error) {
	n := &Node{}
	for _, ensure := range []func(context.Context, Progress) error{n.ensureKubernetes, n.ensureContainerd, n.ensureCNI, n.ensureDebian} {
		if err := ensure(ctx, progress); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func (n *Node) ensureKubernetes(ctx context.Context, progress Progress) error {
	b, module, version, err := kubernetesBuilder(ctx, progress)
	if err != nil {
		return err
	}
	const pkg = "k8s.io/kubernetes/cmd/"
	flags := versionFlags(version)
	return b.ensure(ctx, []target{
		{name: "kubelet", module: module, pkg: pkg + "kubelet", flags: flags, hint: "80 seconds", path: &n.Kubelet},
		{name: "kube-proxy", module: module, pkg: pkg + "kube-proxy", flags: flags, path: &n.Proxy},
		{name: "kube-scheduler", module: module, pkg: pkg + "kube-scheduler", flags: flags, path: &n.Scheduler},
	})
}

func (n *Node) ensureContainerd(ctx context.Context, progress Progress) error {
	const name = "github.com/containerd/containerd/v2"
	b, module, version, err := toolBuilder(ctx, progress, "containerd", name)
	if err != nil {
		return err
	}
	flags := fmt.Sprintf("-s -w -X %[1]s/version.Version=%[2]s -X %[1]s/version.Package=%[1]s", name, version)
	// The drivers left out need headers of libraries, or a machine that is set up for them.
	const tags = "no_btrfs,no_devmapper,no_zfs,no_aufs"
	return b.ensure(ctx, []target{
		{name: "containerd", module: module, pkg: name + "/cmd/containerd", flags: flags, tags: tags, hint: "2 minutes", path: &n.Containerd},
		{name: "containerd-shim-runc-v2", module: module, pkg: name + "/cmd/containerd-shim-runc-v2", flags: flags, tags: tags, path: &n.Shim},
		{name: "ctr", module: module, pkg: name + "/cmd/ctr", flags: flags, tags: tags, path: &n.Ctr},
	})
}

func (n *Node) ensureCNI(ctx context.Context, progress Progress) error {
	const name = "github.com/containernetworking/plugins"
	b, module, _, err := toolBuilder(ctx, progress, "cni", name)
	if err != nil {
		return err
	}
	n.CNI = b.dir
	var path string
	var targets []target
	for _, plugin := range []string{"ipam/host-local", "main/loopback", "main/ptp"} {
		targets = append(targets, target{name: filepath.Base(plugin), module: module, pkg: name + "/plugins/" + plugin, flags: "-s -w", path: &path})
	}
	return b.ensure(ctx, targets)
}

// toolBuilder returns a builder for the programs of the module that tools/<tool> pins, into
// a folder of that version, with the folder to build in and the version.
func toolBuilder(ctx context.Context, progress Progress, tool, name string) (b *builder, module, version string, err error) {
	if b, err = newBuilder(ctx, progress); err != nil {
		return nil, "", "", err
	}
	module = filepath.Join(b.module, "tools", tool)
	if version, err = b.moduleVersion(ctx, module, name); err != nil {
		return nil, "", "", err
	}
	b.dir = filepath.Join(b.dir, fmt.Sprintf("%s-%s-%s-%s-%s", tool, version, runtime.Version(), runtime.GOOS, runtime.GOARCH))
	return b, module, version, nil
}
