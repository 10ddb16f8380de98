package csiplugin

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
	"k8s.io/mount-utils"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"example.io/mtls-injector/e2e/csidriver"
	"example.io/mtls-injector/e2e/csidriver/csidrivertest"
)

const soon = 30 * time.Second

func TestSaysWhatItIs(t *testing.T) {
	b := newBed(t, csidrivertest.Client(t, csidrivertest.Sign(t)), clock.RealClock{}, mount.NewFakeMounter(nil))
	conn := b.dial(b.socket())
	info, err := csi.NewIdentityClient(conn).GetPluginInfo(t.Context(), &csi.GetPluginInfoRequest{})
	require.NoError(t, err)
	assert.Equal(t, "csi.cert-manager.io", info.GetName())
	assert.Equal(t, "v0.16.0", info.GetVendorVersion())
	_, err = csi.NewIdentityClient(conn).Probe(t.Context(), &csi.ProbeRequest{})
	require.NoError(t, err)
	plugin, err := csi.NewIdentityClient(conn).GetPluginCapabilities(t.Context(), &csi.GetPluginCapabilitiesRequest{})
	require.NoError(t, err)
	assert.Len(t, plugin.GetCapabilities(), 1)
	node, err := csi.NewNodeClient(conn).NodeGetInfo(t.Context(), &csi.NodeGetInfoRequest{})
	require.NoError(t, err)
	assert.Equal(t, "node-7", node.GetNodeId())
	can, err := csi.NewNodeClient(conn).NodeGetCapabilities(t.Context(), &csi.NodeGetCapabilitiesRequest{})
	require.NoError(t, err)
	require.Len(t, can.GetCapabilities(), 1)
	assert.Equal(t, csi.NodeServiceCapability_RPC_VOLUME_MOUNT_GROUP, can.GetCapabilities()[0].GetRpc().GetType())
}

func TestRegisters(t *testing.T) {
	b := newBed(t, csidrivertest.Client(t, csidrivertest.Sign(t)), clock.RealClock{}, mount.NewFakeMounter(nil))
	kubelet := registration.NewRegistrationClient(b.dial(b.registrationSocket()))
	info, err := kubelet.GetInfo(t.Context(), &registration.InfoRequest{})
	require.NoError(t, err)
	assert.Equal(t, "CSIPlugin", info.GetType())
	assert.Equal(t, csidriver.Name, info.GetName())
	assert.Equal(t, b.socket(), info.GetEndpoint())
	assert.Equal(t, []string{"1.0.0"}, info.GetSupportedVersions())
	for _, status := range []*registration.RegistrationStatus{{PluginRegistered: true}, {Error: "not liked"}} {
		_, err = kubelet.NotifyRegistrationStatus(t.Context(), status)
		require.NoError(t, err)
	}
	assert.Equal(t, []string{"the kubelet did not register the CSI driver: not liked"}, b.noted())
	assert.True(t, *Object().Spec.PodInfoOnMount)
}

func TestPublishes(t *testing.T) {
	mounter := mount.NewFakeMounter(nil)
	c := csidrivertest.Client(t, csidrivertest.Sign(t))
	b := newBed(t, c, clock.RealClock{}, mounter)
	require.NoError(t, b.publish(t.Context(), map[string]string{"example.com/team": "blue"}))
	leaf, err := pki.DecodeX509CertificateBytes([]byte(b.certificate(b.dataDir())))
	require.NoError(t, err)
	assert.Equal(t, []string{"web-0.shop.svc", "web", "11-22"}, leaf.DNSNames)
	require.Len(t, mounter.MountPoints, 2)
	assert.Equal(t, "tmpfs", mounter.MountPoints[0].Type)
	assert.Equal(t, b.target(), mounter.MountPoints[1].Path)
	assert.Equal(t, b.dataDir(), mounter.MountPoints[1].Device)
	assert.Equal(t, []string{"bind", "ro"}, mounter.MountPoints[1].Opts)

	var requests cmapi.CertificateRequestList
	require.NoError(t, c.List(t.Context(), &requests))
	require.Len(t, requests.Items, 1)
	request := requests.Items[0]
	assert.Equal(t, "shop", request.Namespace)
	assert.Equal(t, map[string]string{"example.com/team": "blue"}, request.Annotations)
	assert.Equal(t, "web-0", request.OwnerReferences[0].Name)

	require.NoError(t, b.publish(t.Context(), nil), "again")
	assert.Len(t, mounter.MountPoints, 2)
	require.NoError(t, b.unpublish())
	require.NoError(t, b.unpublish(), "twice is no error")
	assert.Len(t, mounter.MountPoints, 1)
	assert.NoDirExists(t, b.target())
	assert.NoDirExists(t, b.dataDir())
}

func TestRefuses(t *testing.T) {
	pending := func(*cmapi.CertificateRequest) error { return nil }
	cases := map[string]struct {
		answer csidrivertest.Answer
		change func(*csi.NodePublishVolumeRequest)
		want   string
	}{
		"writable": {
			change: func(r *csi.NodePublishVolumeRequest) { r.Readonly = false },
			want:   "code = InvalidArgument desc = pod.spec.volumes[].csi.readOnly must be set to 'true'",
		},
		"not ephemeral": {
			change: func(r *csi.NodePublishVolumeRequest) { delete(r.VolumeContext, contextEphemeral) },
			want:   "code = Unknown desc = only ephemeral volume types are supported",
		},
		"no information on the pod": {
			change: func(r *csi.NodePublishVolumeRequest) { delete(r.VolumeContext, contextPodUID) },
			want:   "the pod has no UID",
		},
		"an attribute": {
			change: func(r *csi.NodePublishVolumeRequest) { r.VolumeContext[csidriver.Prefix+"duration"] = "90d" },
			want:   "desc = generating certificate signing request: volumeAttributes[csi.cert-manager.io/duration]: Invalid value: ",
		},
		"not created": {
			answer: func(*cmapi.CertificateRequest) error { return errors.New("forbidden") },
			change: func(*csi.NodePublishVolumeRequest) {},
			want:   "code = Unknown desc = submitting request: forbidden",
		},
		"denied": {
			answer: func(cr *cmapi.CertificateRequest) error {
				cr.Status.Conditions = []cmapi.CertificateRequestCondition{
					csidrivertest.Condition(cmapi.CertificateRequestConditionDenied, "policy", "not yours"),
				}
				return nil
			},
			change: func(*csi.NodePublishVolumeRequest) {},
			want:   "has been denied by the approval plugin: not yours",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.answer == nil {
				tc.answer = pending
			}
			mounter := mount.NewFakeMounter(nil)
			b := newBed(t, csidrivertest.Client(t, tc.answer), clock.RealClock{}, mounter)
			request := b.request(nil)
			tc.change(request)
			_, err := csi.NewNodeClient(b.dial(b.socket())).NodePublishVolume(t.Context(), request)
			require.ErrorContains(t, err, tc.want)
			assert.NoDirExists(t, b.dataDir(), "nothing is left")
			assert.Len(t, mounter.MountPoints, 1)
		})
	}
}

func TestComesBack(t *testing.T) {
	clk := clocktesting.NewFakeClock(time.Now())
	b := newBed(t, csidrivertest.Client(t, csidrivertest.Sign(t)), clk, mount.NewFakeMounter(nil))
	require.NoError(t, b.publish(t.Context(), nil))
	first := b.certificate(b.dataDir())

	b.Crash()
	assert.NoFileExists(t, b.socket())
	assert.FileExists(t, b.registrationSocket(), "the registrar is another container")
	require.ErrorContains(t, b.publish(t.Context(), nil), "code = Unavailable")
	b.Stop()
	assert.NoFileExists(t, b.registrationSocket())
	assert.Equal(t, first, b.certificate(b.dataDir()), "the files stay")

	clk.Step(2*time.Hour + time.Minute) // it is time to renew, but nobody does
	require.NoError(t, b.Start(t.Context()))
	require.NoError(t, b.Start(t.Context()), "it runs already")
	require.Eventually(t, func() bool { return b.certificate(b.dataDir()) != first }, soon, 10*time.Millisecond)
	require.NoError(t, b.publish(t.Context(), nil))
	require.NoError(t, b.unpublish())
	assert.Empty(t, b.noted())
}

func TestHazard(t *testing.T) {
	cases := map[string]struct {
		refused bool
		noted   []string
	}{
		"the first call succeeds in the end": {},
		"the first call fails in the end":    {refused: true, noted: []string{"publishing volume csi-1: submitting request: forbidden"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			signing, sign := make(chan struct{}), csidrivertest.Sign(t)
			mounter := mount.NewFakeMounter(nil)
			b := newBed(t, csidrivertest.Client(t, func(cr *cmapi.CertificateRequest) error {
				<-signing
				if tc.refused {
					return errors.New("forbidden")
				}
				return sign(cr)
			}), clock.RealClock{}, mounter)
			b.SetHazard(true)
			require.ErrorContains(t, b.publish(t.Context(), nil), "code = DeadlineExceeded desc = context deadline exceeded")
			require.Eventually(t, func() bool { return exists(b.dataDir()) }, soon, 10*time.Millisecond)
			require.NoError(t, b.publish(t.Context(), nil), "an early success")
			assert.Equal(t, b.target(), mounter.MountPoints[1].Path)
			entries, err := os.ReadDir(b.dataDir())
			require.NoError(t, err)
			assert.Empty(t, entries, "of an empty folder")

			close(signing)
			file := filepath.Join(b.dataDir(), "tls.crt")
			require.Eventually(t, func() bool { return exists(file) != tc.refused && exists(b.dataDir()) != tc.refused }, soon, 10*time.Millisecond)
			require.Eventually(t, func() bool { return len(b.noted()) == len(tc.noted) }, soon, 10*time.Millisecond)
			assert.Equal(t, tc.noted, b.noted())
			require.NoError(t, b.unpublish())
		})
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestNewNeedsItsOptions(t *testing.T) {
	_, err := New(Options{NodeName: "node-7"})
	require.EqualError(t, err, "a CSI plugin needs a client, a node's name, the kubelet's folder and one for its data")
}
