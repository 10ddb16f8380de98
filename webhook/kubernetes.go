package webhook

// Which Kubernetes the webhook is for: older API servers drop what they do not know, or
// refuse the pod that has it.

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/discovery"

	"example.io/mtls-injector/intent"
)

// KubernetesOptions say what a [Kubernetes] asks, and whom it tells.
type KubernetesOptions struct {
	// Discovery tells the version of the API server. Every authenticated user may ask for it.
	Discovery discovery.ServerVersionInterface
	// Tell is called with every version that is read, from one goroutine.
	Tell func(intent.KubernetesVersion)
	// Interval between two readings, a minute when zero, and Retry after one that failed,
	// five seconds when zero.
	Interval, Retry time.Duration
	Log             logr.Logger
}

// Kubernetes reads the version of the API server, at the start and then from time to time,
// for that may be upgraded while the webhook runs. It is a Runnable of controller-runtime's
// manager.
type Kubernetes struct {
	opts  KubernetesOptions
	known atomic.Pointer[intent.KubernetesVersion]
}

// NewKubernetes asks nobody yet.
func NewKubernetes(opts KubernetesOptions) *Kubernetes {
	if opts.Interval == 0 {
		opts.Interval = time.Minute
	}
	if opts.Retry == 0 {
		opts.Retry = 5 * time.Second
	}
	return &Kubernetes{opts: opts}
}

// NeedLeaderElection is false: every replica decides about pods.
func (k *Kubernetes) NeedLeaderElection() bool { return false }

// Start reads until the context ends. An API server that cannot be asked is asked again, and
// what it said before stays.
func (k *Kubernetes) Start(ctx context.Context) error {
	for {
		wait := k.opts.Interval
		if err := k.read(); err != nil {
			wait = k.opts.Retry
			k.opts.Log.Error(err, "cannot read the version of the API server, trying again", "after", wait)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

func (k *Kubernetes) read() error {
	info, err := k.opts.Discovery.ServerVersion()
	if err != nil {
		return fmt.Errorf("version of the API server: %w", err)
	}
	// Major and minor are empty in builds without version.
	version, err := intent.ParseKubernetesVersion(info.GitVersion)
	if err != nil {
		return fmt.Errorf("version of the API server: %w", err)
	}
	if before := k.known.Swap(&version); before == nil || *before != version {
		k.opts.Log.Info("version of the API server", "version", info.GitVersion)
	}
	k.opts.Tell(version)
	return nil
}

// Check is a readiness check: no pod may be decided about before the version is known.
func (k *Kubernetes) Check(*http.Request) error {
	return check(func() bool { return k.known.Load() != nil }, "the version of the API server is not known yet")(nil)
}
