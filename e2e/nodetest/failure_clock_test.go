//go:build node

package nodetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cert-manager/cert-manager/pkg/util/pki"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestClockAhead: the issuer's clock is ahead of the node's, so certificates are not valid yet.
func TestClockAhead(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		skew  time.Duration
		heals bool // by itself, when the time has come
	}{
		"by five minutes": {5 * time.Minute, false},
		"by some seconds": {25 * time.Second, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFailure(t)
			stop := f.runShortIssuer(time.Hour, tc.skew)
			f.create("plain", f.short()...)
			f.create("guarded", f.short()...)
			f.awaitReady("plain")
			assert.Contains(t, f.seen("plain", "app"), "start not valid before ", "it starts with what it cannot use")
			f.awaitEvent("guarded", "Unhealthy: Startup probe failed: ", "the certificate is not valid for another ",
				"the clock of this node is behind that of the issuer; set it")
			f.awaitLog("guarded", agent, "ERROR", "the certificate is not valid for another ")
			if !tc.heals {
				f.checkHeld("guarded")
				stop()
				f.runShortIssuer(time.Hour, 0)
				f.remove("guarded")
				f.create("guarded", f.short()...)
			}
			f.awaitReady("guarded")
			f.checkNeverBad("guarded")
		})
	}
}

// TestClockBehind: the issuer's clock is behind, so certificates are over when they come, or
// nearly. The driver asks for another one each second, so all is well as soon as the clock is.
func TestClockBehind(t *testing.T) {
	t.Parallel()
	f := newFailure(t)
	stop := f.runShortIssuer(2*time.Minute, -5*time.Minute)
	f.create("plain", f.short()...)
	f.create("guarded", f.short()...)
	f.awaitReady("plain")
	assert.Contains(t, f.seen("plain", "app"), "start expired at ")
	f.awaitEvent("guarded", "Unhealthy: Startup probe failed: ", "the certificate expired 3m")
	f.checkHeld("guarded")
	stop()
	f.runShortIssuer(time.Hour, 0)
	f.awaitReady("guarded")
	f.checkNeverBad("guarded")
	f.awaitLog("plain", "app", "now valid until ")
}

// TestClockBehindNearly: a certificate that is nearly over when it comes is taken, as it is
// good; what shows is that there is a new CertificateRequest each second.
func TestClockBehindNearly(t *testing.T) {
	t.Parallel()
	f := newFailure(t)
	stop := f.runShortIssuer(6*time.Minute, -5*time.Minute)
	f.create("guarded", f.short()...)
	f.awaitReady("guarded")
	names := map[string]bool{}
	f.await("five CertificateRequests, one after another", func(ctx context.Context) error {
		for _, request := range f.requests(ctx) {
			names[request.Name] = true
		}
		if len(names) < 5 {
			return fmt.Errorf("%d so far", len(names))
		}
		return nil
	})
	stop()
	f.runShortIssuer(time.Hour, 0)
	f.await("a certificate that lasts", func(ctx context.Context) error {
		requests := f.requests(ctx)
		if len(requests) != 1 || len(requests[0].Status.Certificate) == 0 {
			return fmt.Errorf("there are %d requests, or there is no certificate yet", len(requests))
		}
		leaf, err := pki.DecodeX509CertificateBytes(requests[0].Status.Certificate)
		if err != nil {
			return err
		}
		if left := time.Until(leaf.NotAfter); left < 30*time.Minute {
			return fmt.Errorf("it ends in %s", left)
		}
		return nil
	})
	f.checkNeverBad("guarded")
	require.NoError(t, ready(f.pod(t.Context(), "guarded")))
}
