// Package node does what a kubelet would do with the volumes and the environment of
// a pod that nothing runs, so that an ordinary process can stand in for one of its
// containers: it reads its files under a folder that takes the place of "/".
package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/csidriver"
	"example.io/mtls-injector/e2e/internal/atomicdir"
)

// Node holds the volumes of pods below one folder.
type Node struct {
	// Client reads Secrets, ConfigMaps and the like, as the kubelet may.
	Client client.Client
	// Driver publishes the CSI volumes.
	Driver *csidriver.Driver
	// Root is the folder for all pods.
	Root string

	mu   sync.Mutex
	pods map[string]*corev1.Pod // those with a mounted container, by UID
	// writing is held while a mounted pod's volumes are written or removed.
	writing sync.Mutex
}

// New returns a node of the cluster that keeps everything below root. Its CSI driver
// has the driver's own permissions, and renews only while its Manage runs.
func New(c *cluster.Cluster, root string) (*Node, error) {
	config, err := c.CSIDriverConfig()
	if err != nil {
		return nil, err
	}
	csi, err := client.New(config, client.Options{Scheme: c.Scheme})
	if err != nil {
		return nil, fmt.Errorf("making the CSI driver's client: %w", err)
	}
	driver := csidriver.New(csidriver.Options{Client: csi, Root: filepath.Join(root, "csi"), Node: cluster.NodeName})
	return &Node{Client: c.Client, Driver: driver, Root: root}, nil
}

// Mount publishes the volumes that the container mounts and returns the folder that
// stands for its "/". A file of the container is that folder plus its path.
//
// A volume is a link: its updates are seen. A subPath is a copy of that moment, as a
// real one is for files that change through ..data.
func (n *Node) Mount(ctx context.Context, pod *corev1.Pod, container string) (string, error) {
	c, err := findContainer(pod, container)
	if err != nil {
		return "", err
	}
	root := filepath.Join(n.podDir(pod), "containers", container)
	if err := os.MkdirAll(root, 0o750); err != nil {
		return "", fmt.Errorf("making the folder of container %s: %w", container, err)
	}
	// A mount within another comes after it.
	mounts := slices.Clone(c.VolumeMounts)
	slices.SortStableFunc(mounts, func(a, b corev1.VolumeMount) int {
		return cmp.Compare(depth(a.MountPath), depth(b.MountPath))
	})
	env, err := n.environment(ctx, pod, c)
	if err != nil {
		return "", err
	}
	for _, mount := range mounts {
		if err := n.mountOne(ctx, pod, root, mount, env); err != nil {
			return "", fmt.Errorf("mounting %s at %s in container %s: %w", mount.Name, mount.MountPath, container, err)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pods == nil {
		n.pods = map[string]*corev1.Pod{}
	}
	n.pods[string(pod.UID)] = pod.DeepCopy()
	return root, nil
}

// Unmount removes all that Mount made for the pod.
func (n *Node) Unmount(pod *corev1.Pod) error {
	n.writing.Lock()
	defer n.writing.Unlock()
	n.mu.Lock()
	delete(n.pods, string(pod.UID))
	n.mu.Unlock()
	var errs []error
	for _, volume := range pod.Spec.Volumes {
		if volume.CSI != nil {
			errs = append(errs, n.Driver.Unpublish(pod, volume.Name))
		}
	}
	return errors.Join(append(errs, atomicdir.Remove(n.podDir(pod)))...)
}

// Sync writes the present content of Secrets, ConfigMaps and projections to the
// volumes of all mounted pods, as the kubelet does now and again.
func (n *Node) Sync(ctx context.Context) error {
	n.mu.Lock()
	pods := make([]*corev1.Pod, 0, len(n.pods))
	for _, pod := range n.pods {
		pods = append(pods, pod)
	}
	n.mu.Unlock()
	var errs []error
	for _, pod := range pods {
		errs = append(errs, n.syncPod(ctx, pod))
	}
	return errors.Join(errs...)
}

// syncPod does that for a pod, unless it has been unmounted by now.
func (n *Node) syncPod(ctx context.Context, pod *corev1.Pod) error {
	n.writing.Lock()
	defer n.writing.Unlock()
	n.mu.Lock()
	_, mounted := n.pods[string(pod.UID)]
	n.mu.Unlock()
	for i := range pod.Spec.Volumes {
		volume := &pod.Spec.Volumes[i]
		if _, err := os.Stat(n.volumeDir(pod, volume.Name)); !mounted || err != nil || volume.CSI != nil {
			continue // not there, or the driver's own affair
		}
		if _, err := n.publish(ctx, pod, volume); err != nil {
			return fmt.Errorf("syncing volume %s of pod %s: %w", volume.Name, client.ObjectKeyFromObject(pod), err)
		}
	}
	return nil
}

// Path is where the container's file is, given what Mount returned.
func Path(root, path string) string { return filepath.Join(root, path) }

func (n *Node) mountOne(ctx context.Context, pod *corev1.Pod, root string, mount corev1.VolumeMount, env variables) error {
	i := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })
	if i < 0 {
		return errors.New("the pod has no such volume")
	}
	source, err := n.publish(ctx, pod, &pod.Spec.Volumes[i])
	if err != nil {
		return err
	}
	target := filepath.Join(root, mount.MountPath)
	if err := mountPoint(root, target); err != nil {
		return err
	}
	subPath := mount.SubPath
	if mount.SubPathExpr != "" {
		subPath = env.expand(mount.SubPathExpr)
	}
	if subPath == "" {
		return link(source, target)
	}
	return copyTree(filepath.Join(source, subPath), target)
}

// mountPoint makes the folder above a mount. Within a volume only a runtime that may
// write there could: ours are read-only, so it must be there already.
func mountPoint(root, target string) error {
	parent := filepath.Dir(target)
	for dir := parent; len(dir) > len(root); dir = filepath.Dir(dir) {
		if info, err := os.Lstat(dir); err == nil && info.Mode()&os.ModeSymlink != 0 {
			return fmt.Errorf("%s is within another volume, which is read-only", strings.TrimPrefix(target, root))
		}
	}
	return os.MkdirAll(parent, 0o750)
}

// link puts a link in place of what an earlier Mount left there.
func link(source, target string) error {
	if err := os.Remove(target); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Symlink(source, target)
}

// copyTree copies a file or folder, following links.
func copyTree(source, target string) error {
	info, err := os.Stat(source)
	if err != nil {
		return fmt.Errorf("finding the subPath: %w", err)
	}
	if info.IsDir() {
		return os.CopyFS(target, os.DirFS(source))
	}
	data, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	if err := os.Remove(target); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.WriteFile(target, data, info.Mode().Perm()) //nolint:gosec // within our own folder
}

func (n *Node) podDir(pod *corev1.Pod) string { return filepath.Join(n.Root, string(pod.UID)) }

func (n *Node) volumeDir(pod *corev1.Pod, name string) string {
	return filepath.Join(n.podDir(pod), "volumes", name)
}

func depth(path string) int { return strings.Count(filepath.Clean(path), "/") }

// findContainer finds a container of any kind.
func findContainer(pod *corev1.Pod, name string) (*corev1.Container, error) {
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i], nil
			}
		}
	}
	return nil, fmt.Errorf("pod %s has no container %s", client.ObjectKeyFromObject(pod), name)
}
