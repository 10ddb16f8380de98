package csidriver

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	clocktesting "k8s.io/utils/clock/testing"

	"example.io/mtls-injector/e2e/csidriver/csidrivertest"
)

// renewals runs what is due to its end, and tells how long nothing else is.
func renewals(t *testing.T, d *Driver) time.Duration {
	t.Helper()
	var running sync.WaitGroup
	d.renewDue(t.Context(), &running)
	running.Wait()
	defer running.Wait() // a fake clock may have passed the new certificate's time, too
	return d.renewDue(t.Context(), &running)
}

func TestRenewalBacksOff(t *testing.T) {
	sign, broken := csidrivertest.Sign(t), false
	clock := clocktesting.NewFakeClock(time.Now())
	var errs []error
	driver := New(Options{
		Root: t.TempDir(), Clock: clock, OnError: func(err error) { errs = append(errs, err) },
		Client: csidrivertest.Client(t, func(cr *cmapi.CertificateRequest) error {
			if broken {
				return errors.New("no API server")
			}
			return sign(cr)
		}),
	})
	pod := testPod(map[string]string{"key-algorithm": "ECDSA", "duration": "3h"})
	_, err := driver.Publish(t.Context(), pod, "tls")
	require.NoError(t, err)
	v := driver.volumes[volumeID(pod, "tls")]
	assert.WithinDuration(t, clock.Now().Add(2*time.Hour), v.next, 5*time.Second, "at a third of the lifetime")
	renewals(t, driver)
	require.Empty(t, errs, "nothing is due")
	before := v.key
	driver.RenewNow(pod.UID)
	renewals(t, driver)
	assert.NotEqual(t, before, v.key, "made due")

	broken = true
	clock.SetTime(v.next)
	for _, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 5 * time.Minute, 5 * time.Minute} {
		assert.Equal(t, want, renewals(t, driver))
		clock.Step(want)
	}
	require.Len(t, errs, 6)
	require.ErrorContains(t, errs[0], "renewing volume tls of pod shop/web-0: submitting request: no API server")

	broken = false
	key := v.key
	renewals(t, driver)
	assert.NotEqual(t, key, v.key, "a new key")
	assert.Zero(t, v.backoff)
}

// A renewal waits for cert-manager as long as it takes, and holds up neither other
// volumes nor the end of its own.
func TestRenewalWaits(t *testing.T) {
	sign, asleep := csidrivertest.Sign(t), false
	clock := clocktesting.NewFakeClock(time.Now())
	driver := New(Options{
		Root: t.TempDir(), Clock: clock, OnError: func(err error) { t.Error(err) },
		Client: csidrivertest.Client(t, func(cr *cmapi.CertificateRequest) error {
			if asleep {
				return nil
			}
			return sign(cr)
		}),
	})
	pod := testPod(map[string]string{"key-algorithm": "ECDSA", "duration": "3h"})
	dir, err := driver.Publish(t.Context(), pod, "tls")
	require.NoError(t, err)

	asleep = true
	clock.Step(2*time.Hour + time.Minute)
	var running sync.WaitGroup
	assert.Equal(t, idle, driver.renewDue(t.Context(), &running))
	assert.Equal(t, idle, driver.renewDue(t.Context(), &running), "it is not begun twice")
	require.NoError(t, driver.Unpublish(pod, "tls"))
	running.Wait()
	assert.NoDirExists(t, dir)
}

// A certificate whose time has come when it comes, as the issuer's clock is behind, is
// asked for again each second.
func TestRenewsWhatIsDueAtOnce(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Now().Add(time.Hour))
	driver := New(Options{Root: t.TempDir(), Clock: clock, Client: csidrivertest.Client(t, csidrivertest.Sign(t))})
	pod := testPod(map[string]string{"key-algorithm": "ECDSA", "duration": "1h"})
	_, err := driver.Publish(t.Context(), pod, "tls")
	require.NoError(t, err)
	assert.Equal(t, time.Second, renewals(t, driver))
	clock.Step(time.Second)
	assert.Equal(t, time.Second, renewals(t, driver))
}

func TestKeepsSoManyRequests(t *testing.T) {
	c := csidrivertest.Client(t, csidrivertest.Sign(t))
	clock := clocktesting.NewFakeClock(time.Now())
	driver := New(Options{Root: t.TempDir(), Clock: clock, Client: c, MaxRequests: 2})
	_, err := driver.Publish(t.Context(), testPod(map[string]string{"key-algorithm": "ECDSA", "duration": "3h"}), "tls")
	require.NoError(t, err)
	for _, want := range []int{2, 2} {
		clock.Step(2*time.Hour + time.Minute)
		renewals(t, driver)
		var list cmapi.CertificateRequestList
		require.NoError(t, c.List(t.Context(), &list))
		assert.Len(t, list.Items, want)
	}
}

func TestLoad(t *testing.T) {
	root, sign := t.TempDir(), csidrivertest.Sign(t)
	clock := clocktesting.NewFakeClock(time.Now())
	opts := Options{Root: root, Clock: clock, Client: csidrivertest.Client(t, sign)}
	published, pending := testPod(map[string]string{"key-algorithm": "ECDSA", "duration": "3h", "reuse-private-key": "true"}), testPod(nil)
	pending.UID = "33-44"
	before := New(opts)
	dir, err := before.PublishVolume(t.Context(), Volume{ID: "csi-1", Pod: published, Name: "tls", Target: "/target"})
	require.NoError(t, err)
	assert.Equal(t, before.DataDir("csi-1"), dir)
	first, err := os.ReadFile(filepath.Join(dir, "tls.crt"))
	require.NoError(t, err)

	opts.Client = csidrivertest.Client(t, func(*cmapi.CertificateRequest) error { return errors.New("no API server") })
	_, err = New(opts).PublishVolume(t.Context(), Volume{ID: "csi-2", Pod: pending, Name: "tls"})
	require.EqualError(t, err, "submitting request: no API server")

	opts.Client = csidrivertest.Client(t, sign)
	after := New(opts)
	require.NoError(t, after.Load())
	assert.Len(t, after.volumes, 1, "one that has no certificate yet is the kubelet's to publish again")
	renewals(t, after)
	data, err := os.ReadFile(filepath.Join(dir, "tls.crt"))
	require.NoError(t, err)
	assert.Equal(t, string(first), string(data), "not due")
	clock.Step(2*time.Hour + time.Minute)
	renewals(t, after)
	data, err = os.ReadFile(filepath.Join(dir, "tls.crt"))
	require.NoError(t, err)
	assert.NotEqual(t, string(first), string(data), "renewed")
	_, err = tls.LoadX509KeyPair(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	require.NoError(t, err)
	assert.Equal(t, before.volumes["csi-1"].key, after.volumes["csi-1"].key, "the same key, as asked")

	require.NoError(t, New(opts).UnpublishVolume("csi-2"), "though it does not know it")
	assert.NoDirExists(t, after.DataDir("csi-2"))
}

func TestLoadFails(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(root, "csi-1"), 0o700))
	driver := New(Options{Root: root})
	require.NoError(t, driver.Load(), "removed half")
	require.NoError(t, os.WriteFile(filepath.Join(root, "csi-1", metadataFile), []byte("{"), 0o600))
	require.ErrorContains(t, driver.Load(), "loading volume csi-1: unexpected end of JSON input")
	require.NoError(t, New(Options{Root: filepath.Join(root, "none")}).Load())
}

func TestRenewAt(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	cert := &x509.Certificate{NotBefore: start, NotAfter: start.Add(9 * time.Hour)}
	cases := map[string]struct{ before, want time.Duration }{
		"by default":             {0, 6 * time.Hour},
		"as asked":               {time.Hour, 8 * time.Hour},
		"longer than its life":   {10 * time.Hour, 6 * time.Hour},
		"exactly its whole life": {9 * time.Hour, 6 * time.Hour},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, tc.want, renewAt(cert, tc.before).Sub(start))
		})
	}
}
