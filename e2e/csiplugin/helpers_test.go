package csiplugin

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/mount-utils"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/csidriver"
)

// bed is a plugin, and a folder that could be a kubelet's.
type bed struct {
	*testing.T
	*Plugin
	root string

	mu   sync.Mutex
	errs []string
}

// newBed starts a plugin whose requests the client answers.
func newBed(t *testing.T, c client.Client, clk clock.Clock, mounter mount.Interface) *bed {
	t.Helper()
	root, err := os.MkdirTemp("", "csi") //nolint:usetesting // a socket's path is short, unlike that of a test's folder
	require.NoError(t, err)
	b := &bed{T: t, root: root}
	b.Plugin, err = New(Options{
		Client: c, NodeName: "node-7", KubeletRoot: root, DataRoot: filepath.Join(root, "data"),
		Mounter: mounter, Clock: clk, OnError: b.note,
	})
	require.NoError(t, err)
	require.NoError(t, b.Start(t.Context()))
	t.Cleanup(func() {
		b.Stop()
		assert.NoError(t, b.Remove())
		assert.NoError(t, os.RemoveAll(root))
	})
	return b
}

func (b *bed) note(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errs = append(b.errs, err.Error())
}

func (b *bed) noted() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.errs
}

// dial connects to one of the plugin's sockets.
func (b *bed) dial(socket string) *grpc.ClientConn {
	b.Helper()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(b, err)
	b.Cleanup(func() { assert.NoError(b, conn.Close()) })
	return conn
}

func (b *bed) target() string { return filepath.Join(b.root, "pods", "11-22", "mount") }

// request is what a kubelet asks for, with the attributes changed.
func (b *bed) request(attributes map[string]string) *csi.NodePublishVolumeRequest {
	full := map[string]string{
		contextEphemeral: "true", contextPodName: "web-0", contextPodNamespace: "shop", contextPodUID: "11-22",
		contextServiceAccount:              "web",
		csidriver.Prefix + "issuer-name":   "ca",
		csidriver.Prefix + "key-algorithm": "ECDSA",
		csidriver.Prefix + "dns-names":     "${POD_NAME}.${POD_NAMESPACE}.svc,${SERVICE_ACCOUNT_NAME},${POD_UID}",
		csidriver.Prefix + "duration":      "3h",
	}
	maps.Copy(full, attributes)
	return &csi.NodePublishVolumeRequest{
		VolumeId: "csi-1", TargetPath: b.target(), Readonly: true, VolumeContext: full,
		VolumeCapability: &csi.VolumeCapability{AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}}},
	}
}

func (b *bed) publish(ctx context.Context, attributes map[string]string) error {
	b.Helper()
	_, err := csi.NewNodeClient(b.dial(b.socket())).NodePublishVolume(ctx, b.request(attributes))
	return err
}

func (b *bed) unpublish() error {
	b.Helper()
	_, err := csi.NewNodeClient(b.dial(b.socket())).NodeUnpublishVolume(b.Context(),
		&csi.NodeUnpublishVolumeRequest{VolumeId: "csi-1", TargetPath: b.target()})
	return err
}

// dataDir is the folder that is mounted.
func (b *bed) dataDir() string { return filepath.Join(b.volumesRoot(), "csi-1", "data") }

func (b *bed) certificate(dir string) string {
	b.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "tls.crt"))
	require.NoError(b, err)
	return string(data)
}
