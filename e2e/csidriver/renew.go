package csidriver

import (
	"context"
	"crypto/x509"
	"fmt"
	"sync"
	"time"

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
	for ctx.Err() == nil {
		timer := d.opts.Clock.NewTimer(d.renewDue(ctx))
		select {
		case <-ctx.Done():
		case <-d.wake:
		case <-timer.C():
		}
		timer.Stop()
	}
}

// renewDue renews all volumes that are due, and returns how long nothing else is.
func (d *Driver) renewDue(ctx context.Context) time.Duration {
	d.mu.Lock()
	volumes := make([]*volume, 0, len(d.volumes))
	for _, v := range d.volumes {
		volumes = append(volumes, v)
	}
	d.mu.Unlock()

	var (
		running  sync.WaitGroup
		mu       sync.Mutex
		earliest = d.opts.Clock.Now().Add(idle)
	)
	for _, v := range volumes {
		running.Go(func() {
			next := d.renew(ctx, v)
			mu.Lock()
			defer mu.Unlock()
			if !next.IsZero() && next.Before(earliest) {
				earliest = next
			}
		})
	}
	running.Wait()
	return max(0, earliest.Sub(d.opts.Clock.Now()))
}

// renew renews the volume if it is due and returns when it is next.
func (d *Driver) renew(ctx context.Context, v *volume) time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	// A volume without a key is still being published for the first time.
	if v.unwanted || v.key == nil || d.opts.Clock.Now().Before(v.next) {
		return v.next
	}
	ctx, cancel := context.WithTimeout(ctx, mountTimeout)
	defer cancel()
	if err := d.issue(ctx, v); err != nil {
		v.backoff = min(max(2*v.backoff, retryFirst), retryMost)
		v.next = d.opts.Clock.Now().Add(v.backoff)
		d.opts.OnError(fmt.Errorf("renewing volume %s of pod %s: %w", v.name, client.ObjectKeyFromObject(v.pod), err))
	}
	return v.next
}

// renewAt tells when to renew a certificate.
func renewAt(cert *x509.Certificate, before time.Duration) time.Time {
	lifetime := cert.NotAfter.Sub(cert.NotBefore)
	if before <= 0 || before >= lifetime {
		before = lifetime / 3
	}
	return cert.NotAfter.Add(-before)
}
