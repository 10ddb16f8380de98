//go:build node

package nodetest

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/e2e/demo/authority"
)

// TestCertManagerDown: cert-manager is away while certificates are due. They stay valid for
// the last third of their lives, new pods wait and say for what, and all heals by itself.
// With LONG=1 it is away for ten minutes.
func TestCertManagerDown(t *testing.T) {
	lifetime, outage, renew := 2*time.Minute, time.Minute, []string(nil)
	if os.Getenv("LONG") != "" {
		// Due after two minutes, as most of its life is set aside for such times.
		lifetime, outage, renew = 15*time.Minute, 10*time.Minute, []string{"renew-before=13m"}
	}
	f := newFailure(t)
	f.runShortIssuer(lifetime, 0)
	f.create("plain", f.short(renew...)...)
	f.create("guarded", f.short(renew...)...)
	f.awaitReady("plain", "guarded")
	require.NoError(t, f.StopCertManager())
	t.Cleanup(func() { require.NoError(t, f.StartCertManager(context.Background())) })
	away := time.Now()

	f.create("late", f.short()...)
	f.awaitEvent("late", "FailedMount", `MountVolume.SetUp failed for volume "mtls-certs"`,
		"rpc error: code = Unknown desc = waiting for request: request has not yet been approved by approval plugin")
	f.checkWaits("late", "ContainerCreating")
	require.NoError(t, f.WaitFor(within(f.T, lifetime+outage), "renewals that wait, and the end of the outage", func(ctx context.Context) error {
		waiting := 0
		for _, request := range f.requests(ctx) {
			if len(request.Status.Conditions) == 0 {
				waiting++
			}
		}
		if left := outage - time.Since(away); waiting < 2 || left > 0 {
			return fmt.Errorf("%d requests wait, there are %s left", waiting, left)
		}
		return nil
	}))
	require.NoError(t, f.StartCertManager(t.Context()))
	f.awaitReady("late")
	for _, pod := range []string{"plain", "guarded"} {
		f.awaitLog(pod, "app", "now valid until ")
	}
	f.checkNeverBad("plain", "guarded", "late")
}

// TestIssuerDeleted: without its issuer a pod that runs goes on, and a new one waits and says
// for what, until the issuer is there again.
func TestIssuerDeleted(t *testing.T) {
	t.Parallel()
	f := newFailure(t)
	issuer := f.giveIssuer()
	f.create("before", ownIssuer()...)
	f.awaitReady("before")
	require.NoError(t, f.Client.Delete(t.Context(), issuer))
	f.create("guarded", ownIssuer()...)
	f.awaitEvent("guarded", "FailedMount", `MountVolume.SetUp failed for volume "mtls-certs"`,
		`waiting for request: request pending: Referenced "Issuer" not found: issuer.cert-manager.io "own" not found`)
	f.checkWaits("guarded", "PodInitializing")
	f.giveIssuer()
	f.awaitReady("guarded")
	f.checkNeverBad("before", "guarded")
}

// TestIssuerAwayForTooLong: a certificate that nobody renews is valid to its end; then the
// agent says so, and all is well again when the issuer is, without a restart.
func TestIssuerAwayForTooLong(t *testing.T) {
	t.Parallel()
	f := newFailure(t)
	stop := f.runShortIssuer(45*time.Second, 0)
	f.create("guarded", f.short()...)
	f.awaitReady("guarded")
	stop()
	f.awaitLog("guarded", "app", "now expired at ")
	f.awaitLog("guarded", agent, "ERROR", "the certificate expired", "look at why it is not renewed: the pod's CertificateRequests, and the issuer")
	waiting := f.requests(t.Context())
	require.Len(t, waiting, 1)
	assert.True(t, apiutil.CertificateRequestIsApproved(&waiting[0]))
	assert.Empty(t, apiutil.CertificateRequestReadyReason(&waiting[0]), "kubectl get certificaterequests shows it approved and not ready")
	f.awaitMetric("guarded", "mtls_agent_files_valid 0")

	f.runShortIssuer(time.Hour, 0)
	f.awaitLines("guarded", agent, 2, "INFO", "the files are right")
	f.awaitMetric("guarded", "mtls_agent_files_valid 1")
	require.NoError(t, ready(f.pod(t.Context(), "guarded")))
	for _, status := range f.pod(t.Context(), "guarded").Status.InitContainerStatuses {
		assert.Zero(t, status.RestartCount, status.Name)
	}
}

// TestBundleMissing: without the ConfigMap of the CA certificates a pod waits and says so.
func TestBundleMissing(t *testing.T) {
	t.Parallel()
	f := newFailure(t)
	f.create("plain", "ca-bundle=late")
	f.create("guarded", "ca-bundle=late")
	for _, pod := range []string{"plain", "guarded"} {
		f.awaitEvent(pod, "FailedMount", `MountVolume.SetUp failed for volume "mtls-ca" : configmap "late" not found`)
	}
	f.checkWaits("plain", "ContainerCreating")
	f.checkWaits("guarded", "PodInitializing")
	f.giveBundle("late", f.caPair().Cert)
	f.awaitReady("plain", "guarded")
	f.checkNeverBad("plain", "guarded")
}

// TestBundleOfAnotherCA: the agent holds a pod whose bundle lacks the CA that signs, and says
// which that is. The pod starts when the bundle is mended.
func TestBundleOfAnotherCA(t *testing.T) {
	t.Parallel()
	f := newFailure(t)
	other, err := authority.New("Another CA")
	require.NoError(t, err)
	f.giveBundle("corp", other.CA.Cert)
	f.create("guarded", "ca-bundle=corp")
	f.awaitEvent("guarded", "Unhealthy: Startup probe failed: ", `the certificate was signed by "CN=mtls-ca-a", which is not in the bundle`,
		`that has "CN=Another CA"`, "add the issuer's CA to the bundle")
	f.checkHeld("guarded")
	f.giveBundle("corp", append(f.caPair().Cert, other.CA.Cert...))
	f.awaitReady("guarded")
	f.checkNeverBad("guarded")
}
