// Package csiplugin makes e2e/csidriver a plugin that a kubelet can use: it speaks CSI over
// a socket, registers itself with the kubelet, and mounts what the driver writes. What it
// does, refuses and answers is what cert-manager's CSI driver (v0.16) does.
package csiplugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
	"k8s.io/mount-utils"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/csidriver"
)

// Options say where a plugin works. Client, NodeName, KubeletRoot and DataRoot are required.
type Options struct {
	// Client creates CertificateRequests, as the driver's own account.
	Client client.Client
	// NodeName is the name of the kubelet's Node.
	NodeName string
	// KubeletRoot is the kubelet's folder, where the sockets are.
	KubeletRoot string
	// DataRoot is the folder where the plugin mounts a tmpfs for its volumes. What is
	// there outlives a restart.
	DataRoot string
	// Mounter mounts; default: the real one, which needs root.
	Mounter mount.Interface
	// Clock drives renewal; default: the real one.
	Clock clock.Clock
	// OnError is told what the plugin can only log. Several goroutines may call it.
	OnError func(error)
}

// Plugin is the driver's container and the registrar beside it, as the pod of its DaemonSet
// on one node. It may be stopped and started again.
type Plugin struct {
	opts       Options
	hazard     atomic.Bool
	publishing atomic.Int32

	mu        sync.Mutex
	driver    *server           // the CSI services
	csi       *csidriver.Driver // what they are made of
	registrar *server
}

// server is a socket that is served, and what ends with it.
type server struct {
	grpc   *grpc.Server
	socket string
	done   sync.WaitGroup
	cancel context.CancelFunc
}

// New returns a plugin that is not started.
func New(opts Options) (*Plugin, error) {
	if opts.Client == nil || opts.NodeName == "" || opts.KubeletRoot == "" || opts.DataRoot == "" {
		return nil, errors.New("a CSI plugin needs a client, a node's name, the kubelet's folder and one for its data")
	}
	if opts.Mounter == nil {
		opts.Mounter = mount.New("")
	}
	if opts.OnError == nil {
		opts.OnError = func(error) {}
	}
	return &Plugin{opts: opts}, nil
}

// Object is the CSIDriver that the driver's chart installs.
func Object() *storagev1.CSIDriver {
	podInfo := true
	return &storagev1.CSIDriver{
		ObjectMeta: metav1.ObjectMeta{Name: csidriver.Name},
		Spec: storagev1.CSIDriverSpec{
			PodInfoOnMount:       &podInfo,
			VolumeLifecycleModes: []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecycleEphemeral},
		},
	}
}

// Start serves whatever is not served. The driver is a new one, that finds the volumes of
// the one before it. It all runs until Stop.
func (p *Plugin) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.driver == nil {
		running, err := p.startDriver(context.WithoutCancel(ctx))
		if err != nil {
			return fmt.Errorf("starting the CSI driver: %w", err)
		}
		p.driver = running
	}
	if p.registrar == nil {
		running := newServer(p.registrationSocket(), func() {})
		registration.RegisterRegistrationServer(running.grpc, &registrar{endpoint: p.socket(), onError: p.opts.OnError})
		if err := running.serve(ctx, p.opts.OnError); err != nil {
			return fmt.Errorf("registering the CSI driver: %w", err)
		}
		p.registrar = running
	}
	return nil
}

// Stop takes the plugin down, as when its pod is deleted: the kubelet forgets the driver.
// What is mounted stays mounted.
func (p *Plugin) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.registrar.stop()
	p.driver.stop()
	p.registrar, p.driver = nil, nil
}

// Crash takes the driver down while it stays registered, as when its container crashes.
func (p *Plugin) Crash() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.driver.stop()
	p.driver = nil
}

// SetHazard turns on a fault that users of the driver have reported (cert-manager/csi-driver
// 636): a call that overlaps another one for its volume is answered with success at once, so
// that containers start with an empty folder. To make a call overlap, the first one for each
// volume is answered with a timeout while the plugin goes on with it, as happens under churn.
func (p *Plugin) SetHazard(on bool) { p.hazard.Store(on) }

// RenewNow has the driver renew a pod's certificates, whose time has not come.
func (p *Plugin) RenewNow(pod types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.csi.RenewNow(pod)
}

// Publishing tells how many mounts the plugin is working on, those that the hazard answered
// early among them.
func (p *Plugin) Publishing() int { return int(p.publishing.Load()) }

// socket is where CSI is spoken.
func (p *Plugin) socket() string {
	return filepath.Join(p.opts.KubeletRoot, "plugins", csidriver.Name, "csi.sock")
}

// registrationSocket is where the kubelet finds new plugins.
func (p *Plugin) registrationSocket() string {
	return filepath.Join(p.opts.KubeletRoot, "plugins_registry", csidriver.Name+"-reg.sock")
}

func (p *Plugin) startDriver(ctx context.Context) (*server, error) {
	if err := p.mountData(); err != nil {
		return nil, err
	}
	driver := csidriver.New(csidriver.Options{
		Client: p.opts.Client, Root: p.volumesRoot(), Node: p.opts.NodeName,
		MaxRequests: 1, Clock: p.opts.Clock, OnError: p.opts.OnError,
	})
	if err := driver.Load(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	running := newServer(p.socket(), cancel)
	csi.RegisterIdentityServer(running.grpc, &identity{})
	csi.RegisterNodeServer(running.grpc, &node{
		driver: driver, name: p.opts.NodeName, mounter: p.opts.Mounter, hazard: &p.hazard, publishing: &p.publishing,
		life: ctx, background: &running.done, onError: p.opts.OnError,
		hit: map[string]bool{}, inFlight: map[string]bool{},
	})
	if err := running.serve(ctx, p.opts.OnError); err != nil {
		cancel()
		return nil, err
	}
	running.done.Go(func() { driver.Manage(ctx) })
	p.csi = driver
	return running, nil
}

// volumesRoot is where the tmpfs is.
func (p *Plugin) volumesRoot() string { return filepath.Join(p.opts.DataRoot, "inmemfs") }

// mountData mounts the tmpfs, unless an earlier driver has.
func (p *Plugin) mountData() error {
	root := p.volumesRoot()
	if err := os.MkdirAll(root, 0o750); err != nil {
		return fmt.Errorf("making the folder of the volumes: %w", err)
	}
	mounted, err := p.opts.Mounter.IsMountPoint(root)
	if err != nil {
		return fmt.Errorf("looking at %s: %w", root, err)
	}
	if mounted {
		return nil
	}
	if err := p.opts.Mounter.Mount("tmpfs", root, "tmpfs", []string{"mode=0750"}); err != nil {
		return fmt.Errorf("mounting a tmpfs: %w", err)
	}
	return nil
}

// Remove unmounts the tmpfs of a plugin that is stopped.
func (p *Plugin) Remove() error {
	return mount.CleanupMountPoint(p.volumesRoot(), p.opts.Mounter, true)
}

func newServer(socket string, cancel context.CancelFunc) *server {
	return &server{grpc: grpc.NewServer(grpc.WaitForHandlers(true)), socket: socket, cancel: cancel}
}

// serve begins to listen. A socket that a dead one left is removed.
func (s *server) serve(ctx context.Context, onError func(error)) error {
	if err := os.MkdirAll(filepath.Dir(s.socket), 0o750); err != nil {
		return fmt.Errorf("making the socket's folder: %w", err)
	}
	if err := os.Remove(s.socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing an old socket: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", s.socket)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	s.done.Go(func() {
		if err := s.grpc.Serve(listener); err != nil {
			onError(fmt.Errorf("serving %s: %w", s.socket, err))
		}
	})
	return nil
}

// stop ends calls under way; the socket is gone with the listener.
func (s *server) stop() {
	if s == nil {
		return
	}
	s.cancel()
	s.grpc.Stop()
	s.done.Wait()
}
