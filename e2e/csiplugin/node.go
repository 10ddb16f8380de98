package csiplugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/mount-utils"

	"example.io/mtls-injector/e2e/csidriver"
)

// What the kubelet says of a volume and its pod, as podInfoOnMount asks for.
const (
	contextPrefix         = "csi.storage.k8s.io/"
	contextEphemeral      = contextPrefix + "ephemeral"
	contextPodName        = contextPrefix + "pod.name"
	contextPodNamespace   = contextPrefix + "pod.namespace"
	contextPodUID         = contextPrefix + "pod.uid"
	contextServiceAccount = contextPrefix + "serviceAccount.name"
)

// volumeName names the volume in the pod as the driver sees it: it is not told the real name.
const volumeName = "volume"

// mountTimeout is how long one call works on a mount.
const mountTimeout = 60 * time.Second

// node is the CSI node service.
type node struct {
	csi.UnimplementedNodeServer
	driver     *csidriver.Driver
	name       string
	mounter    mount.Interface
	hazard     *atomic.Bool
	publishing *atomic.Int32
	// life ends with the plugin; a call that the hazard answered early goes on in it.
	life       context.Context
	background *sync.WaitGroup
	onError    func(error)

	mu       sync.Mutex
	hit      map[string]bool // volumes whose first call was answered early
	inFlight map[string]bool // those that it is still working on
}

func (n *node) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: n.name}, nil
}

// NodeGetCapabilities says that the pod's fsGroup is to be given to the driver.
func (n *node) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	rpc := &csi.NodeServiceCapability_RPC{Type: csi.NodeServiceCapability_RPC_VOLUME_MOUNT_GROUP}
	capability := &csi.NodeServiceCapability{Type: &csi.NodeServiceCapability_Rpc{Rpc: rpc}}
	return &csi.NodeGetCapabilitiesResponse{Capabilities: []*csi.NodeServiceCapability{capability}}, nil
}

// NodePublishVolume issues a certificate and mounts its folder. When it fails it leaves
// nothing behind, for the kubelet may never call again.
func (n *node) NodePublishVolume(ctx context.Context, req *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	if req.GetVolumeContext()[contextEphemeral] != "true" {
		return nil, errors.New("only ephemeral volume types are supported")
	}
	if !req.GetReadonly() {
		return nil, status.Error(codes.InvalidArgument, "pod.spec.volumes[].csi.readOnly must be set to 'true'")
	}
	early, err := n.hazardous(req)
	if err == nil && !early {
		err = n.publish(ctx, req)
	}
	if err != nil {
		return nil, err
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

// hazardous is the fault, if it is on: a first call times out but goes on, and the next one,
// which finds the volume in hand already, mounts what there is and reports success.
func (n *node) hazardous(req *csi.NodePublishVolumeRequest) (early bool, err error) {
	id := req.GetVolumeId()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.inFlight[id] {
		return true, n.mount(id, req.GetTargetPath())
	}
	if !n.hazard.Load() || n.hit[id] {
		return false, nil
	}
	n.hit[id], n.inFlight[id] = true, true
	n.background.Go(func() {
		if err := n.publish(n.life, req); err != nil {
			n.onError(fmt.Errorf("publishing volume %s: %w", id, err))
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.inFlight, id)
	})
	return false, status.Error(codes.DeadlineExceeded, context.DeadlineExceeded.Error())
}

// publish works on a mount for as long as one call may.
func (n *node) publish(ctx context.Context, req *csi.NodePublishVolumeRequest) error {
	n.publishing.Add(1)
	defer n.publishing.Add(-1)
	ctx, cancel := context.WithTimeout(ctx, mountTimeout)
	defer cancel()
	volume := csidriver.Volume{ID: req.GetVolumeId(), Pod: podOf(req), Name: volumeName, Target: req.GetTargetPath()}
	_, err := n.driver.PublishVolume(ctx, volume)
	if err == nil {
		err = n.mount(volume.ID, volume.Target)
	}
	if err == nil {
		return nil
	}
	// As the driver does: unmounted, if it was, and its files removed; the target stays.
	if mounted, lookErr := n.mounter.IsMountPoint(volume.Target); lookErr == nil && mounted {
		_ = n.mounter.Unmount(volume.Target)
	}
	_ = n.driver.UnpublishVolume(volume.ID)
	return inDriversWords(err)
}

// inDriversWords gives what is wrong with an attribute the driver's path: it knows of no
// other volumes.
func inDriversWords(err error) error {
	text := err.Error()
	plain := strings.ReplaceAll(text, "spec.volumes[0].csi.", "")
	if plain == text {
		return err
	}
	return errors.New("generating certificate signing request: " + plain)
}

// mount mounts the volume's folder at target, unless it is there.
func (n *node) mount(id, target string) error {
	mounted, err := n.mounter.IsMountPoint(target)
	if errors.Is(err, os.ErrNotExist) {
		err = os.MkdirAll(target, 0o440)
	}
	if err != nil {
		return fmt.Errorf("making the mount point: %w", err)
	}
	if mounted {
		return nil
	}
	return n.mounter.Mount(n.driver.DataDir(id), target, "", []string{"bind", "ro"})
}

// NodeUnpublishVolume unmounts and removes the volume. One that is not there is no error.
func (n *node) NodeUnpublishVolume(_ context.Context, req *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if err := mount.CleanupMountPoint(req.GetTargetPath(), n.mounter, true); err != nil {
		return nil, err
	}
	if err := n.driver.UnpublishVolume(req.GetVolumeId()); err != nil {
		return nil, err
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

// podOf is all that the driver knows of the pod.
func podOf(req *csi.NodePublishVolumeRequest) *corev1.Pod {
	attributes := map[string]string{}
	for key, value := range req.GetVolumeContext() {
		if !strings.HasPrefix(key, contextPrefix) {
			attributes[key] = value
		}
	}
	readOnly := req.GetReadonly()
	info := req.GetVolumeContext()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: info[contextPodNamespace], Name: info[contextPodName], UID: types.UID(info[contextPodUID]),
		},
		Spec: corev1.PodSpec{
			ServiceAccountName: info[contextServiceAccount],
			Volumes: []corev1.Volume{{Name: volumeName, VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{
				Driver: csidriver.Name, ReadOnly: &readOnly, VolumeAttributes: attributes,
			}}}},
		},
	}
	if gid, err := strconv.ParseInt(req.GetVolumeCapability().GetMount().GetVolumeMountGroup(), 10, 64); err == nil {
		pod.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: &gid}
	}
	return pod
}
