package config_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"example.io/mtls-injector/config"
	"example.io/mtls-injector/intent"
)

var (
	_ manager.Runnable               = (*config.Watcher)(nil)
	_ manager.LeaderElectionRunnable = (*config.Watcher)(nil)
)

// patience bounds the waiting for what must happen; nothing is concluded from how long
// it took.
const patience, tick = 20 * time.Second, 5 * time.Millisecond

// volume is a folder as the kubelet keeps it for a ConfigMap: config.yaml is a symlink
// through ..data, and an update swaps ..data for a new folder by rename.
type volume struct {
	t      *testing.T
	folder string
}

func newVolume(t *testing.T, content string) volume {
	t.Helper()
	v := volume{t, t.TempDir()}
	v.swap(content)
	require.NoError(t, os.Symlink(filepath.Join("..data", "config.yaml"), v.path()))
	return v
}

func (v volume) path() string { return filepath.Join(v.folder, "config.yaml") }

func (v volume) swap(content string) {
	data, old := filepath.Join(v.folder, "..data"), ""
	if target, err := os.Readlink(data); err == nil {
		old = filepath.Join(v.folder, target)
	}
	fresh, err := os.MkdirTemp(v.folder, "..2026_")
	require.NoError(v.t, err)
	require.NoError(v.t, os.WriteFile(filepath.Join(fresh, "config.yaml"), []byte(content), 0o600))
	require.NoError(v.t, os.Symlink(filepath.Base(fresh), data+"_tmp"))
	require.NoError(v.t, os.Rename(data+"_tmp", data))
	if old != "" {
		require.NoError(v.t, os.RemoveAll(old))
	}
}

// logs is what a watcher logged.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

func (l *logs) logger() logr.Logger { return logr.FromSlogHandler(slog.NewTextHandler(l, nil)) }

// start runs the watcher until the test ends.
func start(t *testing.T, w *config.Watcher) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, patience, tick, what)
}

func withTrustDomain(domain string) string { return header + "trustDomain: " + domain + "\n" }

func TestWatcherFollowsSwaps(t *testing.T) {
	v := newVolume(t, withTrustDomain("one"))
	registry := prometheus.NewRegistry()
	// An hour between readings: what is seen is seen by events.
	w, err := config.NewWatcher(config.WatcherOptions{
		Path: v.path(), Version: "v1.2.3", PollInterval: time.Hour, Registerer: registry,
	})
	require.NoError(t, err)
	assert.Equal(t, "one", w.Current().TrustDomain)
	assert.Equal(t, "v1.2.3", w.Current().Version)
	assert.False(t, w.NeedLeaderElection())

	var mu sync.Mutex
	var told []string
	w.Subscribe(func(d *intent.Defaults) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, d.TrustDomain)
	})
	start(t, w)
	for _, domain := range []string{"two", "three"} {
		v.swap(withTrustDomain(domain))
		eventually(t, domain, func() bool { return w.Current().TrustDomain == domain })
		assert.Equal(t, "v1.2.3", w.Current().Version)
	}
	eventually(t, "both changes told, in order", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(told) == 2 && told[0] == "two" && told[1] == "three"
	})
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP mtls_injector_config_info Always 1; the label is the beginning of the SHA-256 of the configuration file in force, or builtin.
# TYPE mtls_injector_config_info gauge
mtls_injector_config_info{hash="51d8dacdd66e"} 1
# HELP mtls_injector_config_last_reload_successful 1 when the configuration file as it is now is in force, 0 when an older one is because the file is wrong.
# TYPE mtls_injector_config_last_reload_successful gauge
mtls_injector_config_last_reload_successful 1
# HELP mtls_injector_config_reloads_total Readings of a new or changed configuration file by result, the one at the start included.
# TYPE mtls_injector_config_reloads_total counter
mtls_injector_config_reloads_total{result="failure"} 0
mtls_injector_config_reloads_total{result="success"} 3
`), "mtls_injector_config_info", "mtls_injector_config_last_reload_successful", "mtls_injector_config_reloads_total"))
}

func TestWatcherKeepsTheLastGoodOne(t *testing.T) {
	v := newVolume(t, withTrustDomain("good"))
	registry, log := prometheus.NewRegistry(), &logs{}
	w, err := config.NewWatcher(config.WatcherOptions{
		Path: v.path(), PollInterval: tick, Registerer: registry, Log: log.logger(),
	})
	require.NoError(t, err)
	before := w.Current()
	start(t, w)

	v.swap(withTrustDomain("NOT GOOD"))
	failed := "configuration not reloaded, the last good one stays in force"
	eventually(t, "the failure is logged", func() bool { return log.count(failed) == 1 })
	assert.Equal(t, 1, log.count("trustDomain: Invalid value"))
	assert.Same(t, before, w.Current())
	assert.Equal(t, map[string]float64{"success": 1, "failure": 1}, reloads(t, registry))
	assert.Zero(t, gauge(t, registry, "mtls_injector_config_last_reload_successful"))

	v.swap(withTrustDomain("better"))
	eventually(t, "recovered", func() bool { return w.Current().TrustDomain == "better" })
	eventually(t, "success is counted", func() bool { return reloads(t, registry)["success"] == 2 })
	assert.Equal(t, 1, log.count(failed), "the same failure is told once, however often the file is read")
	assert.InDelta(t, 1, gauge(t, registry, "mtls_injector_config_last_reload_successful"), 0)
}

func TestWatcherOutlivesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(path, []byte(withTrustDomain("one")), 0o600))
	log := &logs{}
	w, err := config.NewWatcher(config.WatcherOptions{Path: path, PollInterval: tick, Log: log.logger()})
	require.NoError(t, err)
	start(t, w)

	require.NoError(t, os.Remove(path))
	eventually(t, "the loss is logged", func() bool { return log.count("no such file or directory") == 1 })
	assert.Equal(t, "one", w.Current().TrustDomain)
	require.NoError(t, os.WriteFile(path, []byte(withTrustDomain("two")), 0o600))
	eventually(t, "the new file is read", func() bool { return w.Current().TrustDomain == "two" })
}

func TestWatcherReadsWhereThereAreNoEvents(t *testing.T) {
	// The link leads out of the watched folder, so only reading from time to time helps.
	elsewhere, link := filepath.Join(t.TempDir(), "real.yaml"), filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(elsewhere, []byte(withTrustDomain("one")), 0o600))
	require.NoError(t, os.Symlink(elsewhere, link))
	w, err := config.NewWatcher(config.WatcherOptions{Path: link, PollInterval: tick})
	require.NoError(t, err)
	start(t, w)
	// The first change may be seen by the reading at the start, the second one cannot.
	for _, domain := range []string{"two", "three"} {
		require.NoError(t, os.WriteFile(elsewhere, []byte(withTrustDomain(domain)), 0o600))
		eventually(t, domain, func() bool { return w.Current().TrustDomain == domain })
	}
}

func TestWatcherSeesAChangeBeforeItsStart(t *testing.T) {
	v := newVolume(t, withTrustDomain("one"))
	w, err := config.NewWatcher(config.WatcherOptions{Path: v.path(), PollInterval: time.Hour})
	require.NoError(t, err)
	v.swap(withTrustDomain("two"))
	start(t, w)
	eventually(t, "seen", func() bool { return w.Current().TrustDomain == "two" })
}

func TestWatcherWithoutAFile(t *testing.T) {
	registry := prometheus.NewRegistry()
	w, err := config.NewWatcher(config.WatcherOptions{Version: "v9", Registerer: registry})
	require.NoError(t, err)
	start(t, w)
	want := intent.BuiltinDefaults()
	want.Version = "v9"
	sameDefaults(t, want, w.Current())
	assert.InDelta(t, 1, gauge(t, registry, "mtls_injector_config_info"), 0)
}

func TestNewWatcherRefuses(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.yaml")
	_, err := config.NewWatcher(config.WatcherOptions{Path: missing})
	require.EqualError(t, err, "configuration: open "+missing+": no such file or directory")

	v := newVolume(t, "")
	_, err = config.NewWatcher(config.WatcherOptions{Path: v.path()})
	require.EqualError(t, err, "configuration "+v.path()+
		`: the file is empty; for the defaults write "apiVersion: config.mtls.example.io/v1alpha1\nkind: InjectorConfiguration"`)

	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "mtls_injector_config_info", Help: "taken"}))
	_, err = config.NewWatcher(config.WatcherOptions{Registerer: registry})
	require.ErrorContains(t, err, "configuration metrics: a previously registered descriptor with the same fully-qualified name")
}

// samples returns the values of a metric by its first label's value.
func samples(t *testing.T, registry *prometheus.Registry, name string) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	require.NoError(t, err)
	out := map[string]float64{}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			label := ""
			if len(m.GetLabel()) > 0 {
				label = m.GetLabel()[0].GetValue()
			}
			out[label] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return out
}

func reloads(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	return samples(t, registry, "mtls_injector_config_reloads_total")
}

func gauge(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	for _, value := range samples(t, registry, name) {
		return value
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// The version of the API server is part of the configuration in force, whatever the file
// becomes, and no one who has read it sees it change.
func TestWatcherHasTheVersionOfKubernetes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	write := func(clusterDomain string) {
		require.NoError(t, os.WriteFile(path, []byte(header+"clusterDomain: "+clusterDomain+"\n"), 0o600))
	}
	write("a.example")
	w, err := config.NewWatcher(config.WatcherOptions{Path: path, PollInterval: 10 * time.Millisecond, Log: logr.Discard()})
	require.NoError(t, err)
	told := make(chan *intent.Defaults, 10)
	w.Subscribe(func(d *intent.Defaults) { told <- d })
	old := intent.KubernetesVersion{Major: 1, Minor: 28}
	first := w.Current()
	w.SetKubernetes(old)
	w.SetKubernetes(old)
	assert.Zero(t, first.Kubernetes)
	assert.Same(t, w.Current(), <-told)
	assert.Empty(t, told, "the same is not told twice")
	assert.Equal(t, old, w.Current().Kubernetes)

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Start(ctx) }()
	write("b.example")
	now := <-told
	assert.Equal(t, "b.example", now.ClusterDomain)
	assert.Equal(t, old, now.Kubernetes)
	stop()
	require.NoError(t, <-ended)
}
