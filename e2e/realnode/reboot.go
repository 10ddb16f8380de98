package realnode

// What a machine loses when its power goes: processes, mounts, and what is kept in memory. The
// control plane runs elsewhere, so to speak, and goes on.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	mountutils "k8s.io/mount-utils"
)

// RestartPrograms restarts containerd and the kubelet, as an upgrade of a node does.
// Containers go on meanwhile. It returns when the node takes pods again.
func (n *Node) RestartPrograms(ctx context.Context) error {
	if err := errors.Join(n.StopKubelet(), n.StopContainerd()); err != nil {
		return err
	}
	return n.startAgain(ctx)
}

// Reboot does what a loss of power does: the kubelet, containerd, the CSI plugin and all
// containers are killed, and what they had mounted or kept in memory is gone. Then the node
// starts again. It returns when the node takes pods; those that were there are still to start.
func (n *Node) Reboot(ctx context.Context) error {
	n.Plugin.Stop()
	for _, name := range []string{"kubelet", "containerd"} {
		if err := n.kill(name); err != nil {
			return err
		}
	}
	if err := n.killContainers(ctx); err != nil {
		return err
	}
	if err := n.loseMemory(); err != nil {
		return err
	}
	// The last process of a cgroup is gone a moment before the cgroup can be.
	err := n.WaitFor(ctx, "cgroups to go", func(context.Context) error { return removeCgroups(filepath.Join(n.group, "kubepods")) })
	if err != nil {
		return err
	}
	return n.startAgain(ctx)
}

func (n *Node) startAgain(ctx context.Context) error {
	if err := n.StartContainerd(ctx); err != nil {
		return err
	}
	if err := n.StartKubelet(ctx); err != nil {
		return err
	}
	if err := n.Plugin.Start(ctx); err != nil {
		return err
	}
	if err := n.AwaitReady(ctx); err != nil {
		return err
	}
	return n.AwaitCSI(ctx)
}

// killContainers kills every process that is in a cgroup of the node, and every shim.
func (n *Node) killContainers(ctx context.Context) error {
	return n.WaitFor(ctx, "containers to be gone", func(context.Context) error {
		pids, err := n.containerProcesses()
		if err != nil {
			return err
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("killing process %d: %w", pid, err)
			}
		}
		if len(pids) > 0 {
			return fmt.Errorf("%d processes are left", len(pids))
		}
		return nil
	})
}

// containerProcesses returns the processes of containers and the shims above them, without
// those that have ended and are only to be reaped.
func (n *Node) containerProcesses() ([]int, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			return nil, err
		}
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			continue // it has ended
		}
		groups, err := os.ReadFile(filepath.Join(dir, "cgroup"))
		if err != nil {
			continue
		}
		name, state := parseStat(string(stat))
		if state != "Z" && (strings.HasPrefix(name, "containerd-shim") || strings.Contains(string(groups), ":/"+n.group+"/")) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// parseStat returns the name and the state of a process from its /proc/PID/stat.
func parseStat(stat string) (name, state string) {
	_, rest, _ := strings.Cut(stat, "(")
	end := strings.LastIndex(rest, ")")
	if end < 0 {
		return "", ""
	}
	state, _, _ = strings.Cut(strings.TrimSpace(rest[end+1:]), " ")
	return rest[:end], state
}

// loseMemory unmounts what the node's programs have mounted, and removes what they keep in
// /run. The kubelet's own folder is a mount of ours, and stays.
func (n *Node) loseMemory() error {
	mounts, err := mountutils.ParseMountInfo("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("reading the mounts: %w", err)
	}
	for _, m := range slices.Backward(mounts) {
		ours := slices.ContainsFunc([]string{KubeletRoot, filepath.Join(n.work, "kubelet"), "/run/containerd", "/run/netns", filepath.Join(n.work, "csi"), filepath.Join(n.work, "containerd")},
			func(dir string) bool { return strings.HasPrefix(m.MountPoint, dir+"/") })
		if m.MountPoint == filepath.Join(n.work, "csi") {
			ours = true
		}
		if !ours {
			continue
		}
		if err := unix.Unmount(m.MountPoint, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("unmounting %s: %w", m.MountPoint, err)
		}
	}
	return errors.Join(os.RemoveAll("/run/containerd"), os.RemoveAll("/run/netns"))
}
