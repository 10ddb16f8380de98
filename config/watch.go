package config

// The reload while running. A kubelet updates a mounted ConfigMap by swapping the
// symlink ..data in its folder, so the folder is watched, not the file; and because
// events get lost on some file systems, the file is also read from time to time.

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"example.io/mtls-injector/intent"
)

// WatcherOptions configure a [Watcher].
type WatcherOptions struct {
	// Path of the file; empty for the builtin defaults, which never change.
	Path string
	// Version of the injector, handed on in the defaults.
	Version string
	// PollInterval bounds how late a change is seen when its event is lost; one minute
	// when zero.
	PollInterval time.Duration
	Log          logr.Logger
	// Registerer gets the metrics; none when nil.
	Registerer prometheus.Registerer
}

// Watcher holds the configuration in force and replaces it when the file changes. A
// changed file that is wrong is logged and counted, and the last good one stays. It is a
// Runnable of controller-runtime's manager.
type Watcher struct {
	opts    WatcherOptions
	current atomic.Pointer[intent.Defaults]
	metrics *metrics

	mu          sync.Mutex
	subscribers []func(*intent.Defaults)
	// turn is had by who changes the configuration in force.
	turn sync.Mutex
	// tried is the outcome of the last reading, so that each is told once only.
	tried string
}

// NewWatcher reads the file for the first time. A file that is missing or wrong is an
// error here, for there is no last good one yet.
func NewWatcher(opts WatcherOptions) (*Watcher, error) {
	if opts.PollInterval == 0 {
		opts.PollInterval = time.Minute
	}
	m, err := newMetrics(opts.Registerer)
	if err != nil {
		return nil, fmt.Errorf("configuration metrics: %w", err)
	}
	w := &Watcher{opts: opts, metrics: m}
	if opts.Path == "" {
		w.apply(intent.BuiltinDefaults(), "builtin")
		return w, nil
	}
	if err := w.reload(); err != nil {
		return nil, err
	}
	return w, nil
}

// Current returns the configuration in force, which must not be changed. It costs one
// atomic load; a decision should call it once.
func (w *Watcher) Current() *intent.Defaults { return w.current.Load() }

// Subscribe has f called after each change, one change at a time and off the caller's
// goroutine. f must return soon.
func (w *Watcher) Subscribe(f func(*intent.Defaults)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.subscribers = append(w.subscribers, f)
}

// NeedLeaderElection is false: every replica decides by the current configuration.
func (w *Watcher) NeedLeaderElection() bool { return false }

// Start watches until the context ends. It returns no error: a watch that cannot be had
// leaves the reading from time to time.
func (w *Watcher) Start(ctx context.Context) error {
	if w.opts.Path == "" {
		<-ctx.Done()
		return nil
	}
	poll := time.NewTicker(w.opts.PollInterval)
	defer poll.Stop()
	var events <-chan fsnotify.Event
	var failures <-chan error
	if folder, err := watchFolder(w.opts.Path); err != nil {
		w.opts.Log.Error(err, "cannot watch the configuration's folder, reading it from time to time instead", "interval", w.opts.PollInterval)
	} else {
		defer func() { _ = folder.Close() }()
		events, failures = folder.Events, folder.Errors
	}
	for {
		w.refresh() // the first time for a change since NewWatcher
		select {
		case <-ctx.Done():
			return nil
		case <-poll.C:
		case <-events:
		case err := <-failures:
			w.opts.Log.Error(err, "watching the configuration's folder")
		}
	}
}

func watchFolder(path string) (*fsnotify.Watcher, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	folder := filepath.Dir(path)
	if err := watcher.Add(folder); err != nil {
		return nil, errors.Join(fmt.Errorf("watch %s: %w", folder, err), watcher.Close())
	}
	return watcher, nil
}

// refresh reloads and tells of a failure.
func (w *Watcher) refresh() {
	if err := w.reload(); err != nil {
		w.metrics.failed()
		w.opts.Log.Error(err, "configuration not reloaded, the last good one stays in force", "path", w.opts.Path)
	}
}

// reload puts the file in force unless it is as it was when last read. The same failure
// is returned only once.
func (w *Watcher) reload() error {
	data, err := os.ReadFile(w.opts.Path)
	outcome := hash(data)
	if err != nil {
		outcome = err.Error()
	}
	if outcome == w.tried {
		return nil
	}
	w.tried = outcome
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	defaults, err := Parse(data)
	if err != nil {
		return fmt.Errorf("configuration %s: %w", w.opts.Path, err)
	}
	w.apply(defaults, outcome)
	return nil
}

// SetKubernetes puts the version of the API server into the configuration in force and into
// those to come, and tells the subscribers if it is another one.
func (w *Watcher) SetKubernetes(version intent.KubernetesVersion) {
	w.turn.Lock()
	defer w.turn.Unlock()
	if now := *w.Current(); now.Kubernetes != version {
		now.Kubernetes = version
		w.put(&now)
	}
}

// apply puts the defaults in force.
func (w *Watcher) apply(defaults *intent.Defaults, hash string) {
	if w.opts.Version != "" {
		defaults.Version = w.opts.Version
	}
	w.turn.Lock()
	defer w.turn.Unlock()
	if before := w.Current(); before != nil {
		defaults.Kubernetes = before.Kubernetes
	}
	w.metrics.succeeded(hash)
	w.put(defaults)
	w.opts.Log.Info("configuration in force", "path", w.opts.Path, "hash", hash)
}

// put tells everybody. It is called by one at a time.
func (w *Watcher) put(defaults *intent.Defaults) {
	w.current.Store(defaults)
	w.mu.Lock()
	subscribers := w.subscribers
	w.mu.Unlock()
	for _, f := range subscribers {
		f(defaults)
	}
}

// hash is short and what `sha256sum` begins with.
func hash(data []byte) string {
	const digits = 12
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])[:digits]
}
