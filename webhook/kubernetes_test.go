package webhook_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/version"

	"example.io/mtls-injector/intent"
	"example.io/mtls-injector/webhook"
)

// discovery stands in for an API server that is upgraded.
type discovery struct {
	mu      sync.Mutex
	version string
	err     error
	asked   int
}

func (d *discovery) ServerVersion() (*version.Info, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	if d.err != nil {
		return nil, d.err
	}
	return &version.Info{GitVersion: d.version}, nil
}

func (d *discovery) become(version string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.version, d.err = version, err
}

func (d *discovery) times() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

func TestKubernetesFollowsTheServer(t *testing.T) {
	t.Parallel()
	server := &discovery{err: errors.New("connection refused")}
	told := make(chan intent.KubernetesVersion, 1)
	k := webhook.NewKubernetes(webhook.KubernetesOptions{
		Discovery: server, Tell: func(v intent.KubernetesVersion) { told <- v },
		Interval: time.Millisecond, Retry: time.Millisecond, Log: testr.New(t),
	})
	assert.False(t, k.NeedLeaderElection())
	require.EqualError(t, k.Check(nil), "the version of the API server is not known yet")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- k.Start(ctx) }()

	require.Eventually(t, func() bool { return server.times() > 2 }, 10*time.Second, time.Millisecond, "it is asked again")
	require.EqualError(t, k.Check(nil), "the version of the API server is not known yet")

	become := func(text string, want intent.KubernetesVersion) {
		server.become(text, nil)
		for v := range told {
			if v == want {
				break
			}
		}
		require.NoError(t, k.Check(nil))
	}
	become("v1.29.6-gke.1", intent.KubernetesVersion{Major: 1, Minor: 29})
	become("v1.30.0", intent.KubernetesVersion{Major: 1, Minor: 30})

	for _, wrong := range []struct {
		version string
		err     error
	}{{"", errors.New("away")}, {"unknown", nil}} {
		server.become(wrong.version, wrong.err)
		asked := server.times()
		require.Eventually(t, func() bool {
			select {
			case v := <-told: // from before
				assert.Equal(t, intent.KubernetesVersion{Major: 1, Minor: 30}, v)
			default:
			}
			return server.times() > asked+2
		}, 10*time.Second, time.Millisecond)
		require.NoError(t, k.Check(nil), "what it said before stays")
	}
	stop()
	require.NoError(t, <-ended)
}
