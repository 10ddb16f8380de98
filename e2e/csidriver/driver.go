// Package csidriver stands in for cert-manager's CSI driver (csi.cert-manager.io,
// v0.16) on a machine that has no kubelet: for a pod that the API server accepted it
// does all that the driver would, down to the files, and refuses what it refuses.
package csidriver

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/internal/atomicdir"
)

const (
	fileMode = 0o440
	dirMode  = 0o550
	// mountTimeout is how long the driver works on one mount before the kubelet
	// tries again.
	mountTimeout = 60 * time.Second
)

// Options say how a driver works. Client and Root are required.
type Options struct {
	// Client creates CertificateRequests, as the driver's own account.
	Client client.Client
	// Root is the folder that holds the volumes.
	Root string
	// Node is the name of the node that the driver runs on.
	Node string
	// MaxRequests is how many CertificateRequests of a volume are kept, the one to be
	// made among them; the real driver's own default is 1. 0 keeps all.
	MaxRequests int
	// Clock drives renewal; default: the real one.
	Clock clock.Clock
	// OnError is told of renewals that failed, which the driver only logs. It may
	// be called by several goroutines at once.
	OnError func(error)
}

// Driver publishes volumes and renews their certificates.
type Driver struct {
	opts Options
	wake chan struct{} // a volume has come, or its next renewal is another

	mu      sync.Mutex
	volumes map[string]*volume // by id
}

// volume is a published volume. Its lock is held while it is issued.
type volume struct {
	pod    *corev1.Pod
	name   string
	id     string
	target string
	gone   context.Context // ends when nobody wants the volume any more
	leave  context.CancelFunc

	mu       sync.Mutex
	key      crypto.Signer
	next     time.Time     // when to renew
	backoff  time.Duration // what to wait after the last failure
	renewing atomic.Bool
}

// New returns a driver. Nothing is renewed unless Manage runs.
func New(opts Options) *Driver {
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	if opts.OnError == nil {
		opts.OnError = func(error) {}
	}
	return &Driver{opts: opts, wake: make(chan struct{}, 1), volumes: map[string]*volume{}}
}

// Publish issues a certificate for the pod's volume and writes its files. It returns
// their folder. A volume that is published already is left as it is. An attempt
// takes up to a minute: a request that nobody approves or signs is an error then.
func (d *Driver) Publish(ctx context.Context, pod *corev1.Pod, volumeName string) (string, error) {
	dir, err := d.PublishVolume(ctx, Volume{ID: volumeID(pod, volumeName), Pod: pod, Name: volumeName})
	if err != nil {
		return "", fmt.Errorf("volume %s of pod %s: %w", volumeName, client.ObjectKeyFromObject(pod), err)
	}
	return dir, nil
}

// PublishVolume is Publish for a volume whose ID another has given, as the kubelet does.
// Its errors are worded as the driver's are.
func (d *Driver) PublishVolume(ctx context.Context, wanted Volume) (string, error) {
	req, err := Parse(wanted.Pod, wanted.Name)
	if err != nil {
		return "", err
	}
	if wanted.Pod.UID == "" {
		return "", errors.New("the pod has no UID: the driver only sees pods that the API server has accepted")
	}
	v := d.volume(wanted)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.key != nil {
		return d.DataDir(v.id), nil
	}
	if v.gone.Err() != nil {
		return "", errors.New("the volume was unpublished meanwhile")
	}
	if err := d.register(v, req.GID); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, mountTimeout)
	defer cancel()
	if err := d.issue(ctx, v); err != nil {
		return "", err
	}
	d.wakeUp()
	return d.DataDir(v.id), nil
}

// Unpublish removes the volume's files and renews it no more.
func (d *Driver) Unpublish(pod *corev1.Pod, volumeName string) error {
	return d.UnpublishVolume(volumeID(pod, volumeName))
}

// UnpublishVolume does that for a volume of this ID. One that is not there is no error.
func (d *Driver) UnpublishVolume(id string) error {
	d.mu.Lock()
	v, ok := d.volumes[id]
	delete(d.volumes, id)
	d.mu.Unlock()
	if ok {
		v.leave()
		v.mu.Lock()
		defer v.mu.Unlock()
	}
	return atomicdir.Remove(d.dir(id))
}

// volume returns the volume's entry, new or old.
func (d *Driver) volume(wanted Volume) *volume {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, ok := d.volumes[wanted.ID]
	if !ok {
		v = &volume{pod: wanted.Pod.DeepCopy(), name: wanted.Name, id: wanted.ID, target: wanted.Target}
		v.gone, v.leave = context.WithCancel(context.Background())
		d.volumes[wanted.ID] = v
	}
	return v
}

func (d *Driver) wakeUp() {
	select {
	case d.wake <- struct{}{}:
	default: // it is awake already
	}
}

func volumeID(pod *corev1.Pod, name string) string {
	return fmt.Sprintf("csi-%s-%s", pod.UID, name)
}

// labelHash makes a label value of any string.
func labelHash(s string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // never fails
	return fmt.Sprintf("%x", h.Sum64())
}
