package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/tap"
)

const crashFolder = "testdata/crash"

// patience bounds every wait in a story. While no injector runs, pods are refused, and
// the controllers that make them wait longer after each failure.
const patience = 3 * time.Minute

// story is something that happens to a workload and its companion. However often the
// controller crashes in it, it must end in the same way.
type story struct {
	// begin makes what is there before; nil for nothing.
	begin func(*stage)
	// act is what the controller has to follow.
	act func(*stage)
	// settle waits for the end, and check looks at it when the controller has stopped.
	// Between them, again makes the controller look at the end once more; nil where it
	// has nothing to look at.
	settle, again, check func(*stage)
	// told are the reasons of the Events that are written in an undisturbed run. A
	// controller that starts after a crash need not make up for them.
	told []string
	// writes are the steps of an undisturbed run, but for Events. Another controller may
	// be quicker with those in shared. rewrites are the steps of again.
	writes, shared, rewrites []string
}

// TestCrash ends the controller's process at each thing that it does in each story, just
// before that and just after. The next start must catch up.
func TestCrash(t *testing.T) {
	for name, s := range stories() {
		t.Run(name, func(t *testing.T) {
			var steps []tap.Step
			require.True(t, t.Run("undisturbed", func(t *testing.T) { steps = s.record(t) }))
			for _, step := range steps {
				if slices.Contains(s.shared, step.String()) {
					continue // it need not come
				}
				for _, moment := range []tap.Moment{tap.Before, tap.After} {
					t.Run(fmt.Sprintf("%s %s", moment, step), func(t *testing.T) { s.crashAt(t, step, moment) })
				}
			}
		})
	}
}

// record plays the story undisturbed and returns the controller's steps.
func (s *story) record(t *testing.T) []tap.Step {
	t.Helper()
	g := newStage(t)
	g.play(s)
	s.settle(g)
	g.told(s.told...)
	steps := g.tap.Steps()
	t.Logf("steps: %v", steps)
	writes, events := s.writesAndEvents(steps)
	assert.Equal(t, s.writes, writes)
	assert.Equal(t, len(s.told), events, "Events")

	g.tap.Record(g.namespace)
	s.finish(g, g.first)
	writes, events = s.writesAndEvents(g.tap.Steps())
	assert.Equal(t, s.rewrites, writes, "after the end")
	assert.Zero(t, events, "Events after the end")
	return steps
}

// writesAndEvents tells steps that are Events, which it counts, from the others.
func (s *story) writesAndEvents(steps []tap.Step) (writes []string, events int) {
	for _, step := range steps {
		switch text := step.String(); {
		case strings.HasPrefix(step.Resource, "events"):
			events++
		case !slices.Contains(s.shared, text):
			writes = append(writes, text)
		}
	}
	return writes, events
}

// finish has another look at the end, stops the injector, which writes what it has begun
// to, and checks.
func (s *story) finish(g *stage, injector *cluster.Webhook) {
	g.Helper()
	if s.again != nil {
		s.again(g)
	}
	require.NoError(g, injector.Stop())
	s.check(g)
}

// crashAt plays the story until a step, where the process is killed. Another one, which
// reaches the API server by itself, plays it to its end.
func (s *story) crashAt(t *testing.T, step tap.Step, moment tap.Moment) {
	t.Helper()
	g := newStage(t)
	killed := make(chan error, 1)
	g.crash = func() { g.tap.Break(step, moment, func() { killed <- g.first.Kill() }) }
	g.play(s)
	select {
	case err := <-killed:
		require.NoError(t, err)
	case <-time.After(patience):
		t.Fatalf("it never came to %q, but to %v", step, g.tap.Steps())
	}
	second := runWebhook(t, shared, cluster.WebhookOptions{Name: "crash-next", Unregistered: true, Config: crashFolder + "/injector.yaml"})
	redirect(t, g.first.Name, second)
	s.settle(g)
	s.finish(g, second)
}

// stage is where a story is played: a namespace with an issuer, and an injector that
// reaches the API server through a tap.
type stage struct {
	*testing.T
	namespace string
	tap       *tap.Tap
	first     *cluster.Webhook
	// crash is called when the recording has begun.
	crash func()
	// before are the resource versions of the Secrets that are not the controller's.
	before map[string]string
}

func newStage(t *testing.T) *stage {
	t.Helper()
	g := &stage{T: t, namespace: clustertest.Namespace(t, shared, nil), crash: func() {}}
	g.apply("issuer.yaml")
	require.NoError(t, shared.WaitForIssuer(t.Context(), g.namespace, "crash"))
	var kubeconfig string
	g.tap, kubeconfig = startTap(t)
	g.first = runWebhook(t, shared, cluster.WebhookOptions{Name: "crash", Config: crashFolder + "/injector.yaml", Kubeconfig: kubeconfig})
	// Its rollouts, which do not end, are not to count in other tests.
	t.Cleanup(func() { require.NoError(t, client.IgnoreNotFound(g.deleteWorkload(context.Background()))) })
	return g
}

func (g *stage) deleteWorkload(ctx context.Context) error {
	web := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: "web"}}
	return shared.Client.Delete(ctx, web, client.PropagationPolicy(metav1.DeletePropagationBackground))
}

// startTap starts a tap for the time of the test, and returns it with the kubeconfig of an
// injector that is to go through it.
func startTap(t *testing.T) (tapped *tap.Tap, kubeconfig string) {
	t.Helper()
	config, err := shared.InjectorConfig()
	require.NoError(t, err)
	tapped, err = tap.Start(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tapped.Close()) })
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, tapped.WriteKubeconfig(kubeconfig))
	return tapped, kubeconfig
}

func (g *stage) play(s *story) {
	g.Helper()
	if s.begin != nil {
		s.begin(g)
	}
	g.tap.Record(g.namespace)
	g.crash()
	s.act(g)
}

// apply applies a file of the stories' folder in the stage's namespace.
func (g *stage) apply(file string) {
	g.Helper()
	clustertest.Apply(g.T, shared, filepath.Join(crashFolder, file), g.namespace)
}

// get reads one of the stage's objects.
func (g *stage) get(name string, into client.Object) {
	g.Helper()
	require.NoError(g, shared.Client.Get(g.Context(), client.ObjectKey{Namespace: g.namespace, Name: name}, into))
}

// patiently returns the context of a wait.
func (g *stage) patiently() context.Context {
	ctx, cancel := context.WithTimeout(g.Context(), patience)
	g.Cleanup(cancel)
	return ctx
}

// until waits for a check to succeed.
func (g *stage) until(what string, check func(context.Context) error) {
	g.Helper()
	require.NoError(g, shared.WaitFor(g.patiently(), what, check))
}

// told waits for the controller's Events of these reasons.
func (g *stage) told(reasons ...string) {
	g.Helper()
	g.until(fmt.Sprintf("Events %v", reasons), func(ctx context.Context) error {
		var list eventsv1.EventList
		if err := shared.Client.List(ctx, &list, client.InNamespace(g.namespace)); err != nil {
			return err
		}
		seen := map[string]bool{}
		for i := range list.Items {
			seen[list.Items[i].Reason] = true
		}
		for _, reason := range reasons {
			if !seen[reason] {
				return errors.New("there is none of " + reason)
			}
		}
		return nil
	})
}
