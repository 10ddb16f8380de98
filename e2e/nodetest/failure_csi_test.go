//go:build node

package nodetest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cert-manager/cert-manager/pkg/util/pki"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/e2e/csiplugin"
)

// TestCSIDriverAway: pods that come while the node has no CSI driver say so, and start when it
// is there. Those that run go on.
func TestCSIDriverAway(t *testing.T) {
	cases := map[string]struct {
		down  func(*csiplugin.Plugin)
		event string
	}{
		"not registered, or not yet": {
			down:  (*csiplugin.Plugin).Stop,
			event: "driver name csi.cert-manager.io not found in the list of registered CSI drivers",
		},
		"crashed": {
			down:  (*csiplugin.Plugin).Crash,
			event: "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: dial unix",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFailure(t)
			f.create("before")
			f.awaitReady("before")
			tc.down(f.Plugin)
			t.Cleanup(func() { require.NoError(t, f.Plugin.Start(context.Background())) })
			if name != "crashed" {
				f.await("the kubelet to forget the driver", func(ctx context.Context) error {
					if has, err := f.csiNodeHas(ctx); has || err != nil {
						return fmt.Errorf("it is in the CSINode (%w)", err)
					}
					return nil
				})
			}
			f.create("plain")
			f.create("guarded")
			for _, pod := range []string{"plain", "guarded"} {
				f.awaitEvent(pod, "FailedMount", `MountVolume.SetUp failed for volume "mtls-certs"`, tc.event)
			}
			f.checkWaits("plain", "ContainerCreating")
			f.checkWaits("guarded", "PodInitializing")

			require.NoError(t, f.Plugin.Start(t.Context()))
			f.awaitReady("plain", "guarded")
			f.checkNeverBad("before", "plain", "guarded")
			assert.Equal(t, 1, strings.Count(f.seen("before", "app"), "\n"), "the running pod's files did not change")
		})
	}
}

// TestRenewalWhileTheDriverIsAway: a certificate whose time comes while the driver is away is
// renewed as soon as it is back, from what it kept on the node.
func TestRenewalWhileTheDriverIsAway(t *testing.T) {
	f := newFailure(t)
	f.runShortIssuer(time.Minute, 0)
	f.create("guarded", f.short()...)
	f.awaitReady("guarded")
	f.Plugin.Stop()
	leaf, err := pki.DecodeX509CertificateBytes(f.requests(t.Context())[0].Status.Certificate)
	require.NoError(t, err)
	due := leaf.NotAfter.Add(-20 * time.Second) // a third of a minute
	t.Cleanup(func() { require.NoError(t, f.Plugin.Start(context.Background())) })
	f.await("the renewal's time", func(context.Context) error {
		if time.Now().Before(due) {
			return fmt.Errorf("it is at %s", due)
		}
		return nil
	})
	require.NoError(t, f.Plugin.Start(t.Context()))
	f.awaitLog("guarded", "app", "now valid until ")
	f.checkNeverBad("guarded")
}
