package realnode

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// PauseImage is that of sandboxes, and for pods that do nothing.
	PauseImage = "example.io/pause:dev"

	containerdSocket = "/run/containerd/containerd.sock"
)

const containerdConfig = `version = 3
root = %[1]q
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt"]

[grpc]
  address = %[2]q

[plugins."io.containerd.cri.v1.images"]
  snapshotter = %[3]q
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = %[4]q

[plugins."io.containerd.cri.v1.runtime"]
  # A machine may not let even root lower the score.
  restrict_oom_score_adj = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = [%[5]q]
    conf_dir = %[6]q
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        SystemdCgroup = false
`

// startContainerd configures and starts containerd, with the image of sandboxes.
func (n *Node) startContainerd(ctx context.Context, _ Options) error {
	n.progress("starting containerd")
	dir := filepath.Join(n.work, "containerd")
	root, cni := filepath.Join(dir, "root"), filepath.Join(dir, "cni")
	if err := os.MkdirAll(root, 0o750); err != nil {
		return fmt.Errorf("making containerd's folder: %w", err)
	}
	if err := writeCNI(cni); err != nil {
		return err
	}
	snapshotter, err := snapshotterFor(dir)
	if err != nil {
		return err
	}
	config := fmt.Appendf(nil, containerdConfig, root, containerdSocket, snapshotter, PauseImage, n.programs.CNI, cni)
	if err := os.WriteFile(n.containerdConfig(), config, 0o600); err != nil {
		return fmt.Errorf("writing containerd's configuration: %w", err)
	}
	n.onStop(n.StopContainerd)
	if err := n.StartContainerd(ctx); err != nil {
		return err
	}
	pause, err := PackProgram(ctx, PauseImage, "./realnode/pause")
	if err != nil {
		return err
	}
	return n.Import(ctx, pause)
}

func (n *Node) containerdConfig() string { return filepath.Join(n.work, "containerd", "config.toml") }

// snapshotterFor tries whether folders can be laid over others here, which they cannot where
// the folder itself is such a one.
func snapshotterFor(dir string) (string, error) {
	var folders []string
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		folder := filepath.Join(dir, "try", name)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return "", fmt.Errorf("trying overlay mounts: %w", err)
		}
		folders = append(folders, folder)
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", folders[0], folders[1], folders[2])
	if err := unix.Mount("overlay", folders[3], "overlay", 0, options); err != nil {
		return "native", nil //nolint:nilerr // slower, and good everywhere
	}
	if err := unix.Unmount(folders[3], 0); err != nil {
		return "", fmt.Errorf("trying overlay mounts: %w", err)
	}
	return "overlayfs", nil
}

// StartContainerd starts containerd again, after StopContainerd.
func (n *Node) StartContainerd(ctx context.Context) error {
	return n.start(ctx, "containerd", n.programs.Containerd, func(ctx context.Context) error {
		return n.ctr(ctx, "version")
	}, "--config", n.containerdConfig())
}

// StopContainerd ends containerd. Containers go on.
func (n *Node) StopContainerd() error { return n.stop("containerd") }

// Import imports images from archives of docker's or OCI's kind. Pods use them with
// imagePullPolicy Never.
func (n *Node) Import(ctx context.Context, archives ...string) error {
	for _, archive := range archives {
		n.progress("importing " + filepath.Base(archive))
		if err := n.ctr(ctx, "-n", "k8s.io", "images", "import", archive); err != nil {
			return err
		}
	}
	return nil
}

// ctr runs containerd's command line.
func (n *Node) ctr(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, n.programs.Ctr, append([]string{"--address", containerdSocket}, args...)...) //nolint:gosec // with arguments of tests
	cmd.Env = n.env()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ctr %s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}
