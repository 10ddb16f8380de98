package csidriver

import (
	"context"
	"crypto/x509"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A failed renewal is tried again after retryFirst, then after twice that, and so on
// up to retryMost.
const (
	retryFirst = 30 * time.Second
	retryMost  = 5 * time.Minute
	// With no volume there is nothing to wait for but the first.
	idle = time.Hour
)

// Manage renews the certificates of all published volumes until ctx ends. No pod is
// told, restarted or signalled.
func (d *Driver) Manage(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	for ctx.Err() == nil {
		timer := d.opts.Clock.NewTimer(d.renewDue(ctx, &running))
		select {
		case <-ctx.Done():
		case <-d.wake:
		case <-timer.C():
		}
		timer.Stop()
	}
}

// RenewNow makes the certificates of a pod due, for tests that must not wait for their time.
func (d *Driver) RenewNow(pod types.UID) {
	d.mu.Lock()
	var due []*volume
	for _, v := range d.volumes {
		if v.pod.UID == pod {
			due = append(due, v)
		}
	}
	d.mu.Unlock()
	for _, v := range due { // whoever issues one holds its lock for long
		v.mu.Lock()
		if !v.next.IsZero() {
			v.next = d.opts.Clock.Now()
		}
		v.mu.Unlock()
	}
	d.wakeUp()
}

// renewDue begins to renew all volumes that are due, and returns how long nothing else
// is. A renewal that waits, for cert-manager say, holds up no other.
func (d *Driver) renewDue(ctx context.Context, running *sync.WaitGroup) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	earliest := d.opts.Clock.Now().Add(idle)
	for _, v := range d.volumes {
		if v.renewing.Load() || !v.mu.TryLock() {
			continue // who holds it wakes us when it is done
		}
		next := v.next
		v.mu.Unlock()
		switch {
		case next.IsZero(): // to be published for the first time
		case d.opts.Clock.Now().Before(next):
			earliest = earlier(earliest, next)
		default:
			v.renewing.Store(true)
			running.Go(func() {
				d.renew(ctx, v)
				v.renewing.Store(false)
				d.wakeUp()
			})
		}
	}
	return max(0, earliest.Sub(d.opts.Clock.Now()))
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// renew renews the volume, which takes as long as it takes: unlike a mount, a renewal
// waits without end for its request.
func (d *Driver) renew(ctx context.Context, v *volume) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.gone.Err() != nil {
		return
	}
	err := d.issue(ctx, v)
	if err == nil || v.gone.Err() != nil || ctx.Err() != nil {
		return
	}
	v.backoff = min(max(2*v.backoff, retryFirst), retryMost)
	v.next = d.opts.Clock.Now().Add(v.backoff)
	d.opts.OnError(fmt.Errorf("renewing volume %s of pod %s: %w", v.name, client.ObjectKeyFromObject(v.pod), err))
}

// renewAt tells when to renew a certificate.
func renewAt(cert *x509.Certificate, before time.Duration) time.Time {
	lifetime := cert.NotAfter.Sub(cert.NotBefore)
	if before <= 0 || before >= lifetime {
		before = lifetime / 3
	}
	return cert.NotAfter.Add(-before)
}
