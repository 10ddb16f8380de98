package main

import (
	"context"
	"fmt"
	"time"

	"example.io/mtls-injector/e2e/cluster"
)

const (
	pollEvery     = time.Second
	progressEvery = 10 * time.Second
	// patience is how long nothing may happen before the run is given up.
	patience = 5 * time.Minute
	// quietFor is how long the injector must ask for nothing to be at rest, and
	// unrestAtMost how long to wait for that. If it never rests, the figures show it.
	quietFor     = 15 * time.Second
	unrestAtMost = 5 * time.Minute
	// stableFor is how long no companion may be looked at for all to have been.
	stableFor = 10 * time.Second
)

// bench is one run.
type bench struct {
	*options
	cluster  *cluster.Cluster
	progress func(string)
	audit    *auditLog
	tracker  *tracker
	hook     *cluster.Webhook
}

// measure runs everything in order.
func (b *bench) measure(ctx context.Context) (*result, error) {
	b.progress(fmt.Sprintf("creating %s Services in %d namespaces", thousands(b.services), b.namespaces))
	if err := prepare(ctx, b.cluster, b.options); err != nil {
		return nil, err
	}
	if err := b.startInjector(ctx); err != nil {
		return nil, err
	}
	b.tracker = newTracker()
	stop, err := b.tracker.follow(ctx, b.cluster)
	if err != nil {
		return nil, err
	}
	defer stop()
	r := &result{options: b.options, version: b.cluster.Version}
	for _, step := range []func(context.Context, *result) error{b.create, b.rest, b.restart} {
		if err := step(ctx, r); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// startInjector runs it as a Deployment would: with leader election, alone.
func (b *bench) startInjector(ctx context.Context) (err error) {
	b.hook, err = b.cluster.RunWebhook(ctx, cluster.WebhookOptions{
		Binary: b.binary,
		Args:   []string{"--leader-elect=true", "--leader-elect-namespace", electionNamespace, "--drain-delay=0s"},
	})
	return err
}

// create makes the workloads and waits until every companion is Ready and the injector
// has nothing more to do.
func (b *bench) create(ctx context.Context, r *result) (err error) {
	b.progress(fmt.Sprintf("creating %s workloads of %d pods", thousands(b.workloads), b.pods))
	if r.began, err = createWorkloads(ctx, b.cluster.Client, b.options); err != nil {
		return err
	}
	if err := b.awaitReady(ctx); err != nil {
		return err
	}
	r.seen = b.tracker.milestones()
	if err := b.awaitQuiet(ctx, r.began); err != nil {
		return err
	}
	r.creating, err = b.audit.between(r.began, time.Now())
	return err
}

func (b *bench) awaitReady(ctx context.Context) error {
	return b.await(ctx, "the companions", func(context.Context) (string, bool, error) {
		seen := b.tracker.milestones()
		if seen.pods > b.allPods() || seen.companions > b.workloads {
			return "", false, fmt.Errorf("there are %d pods and %d companions", seen.pods, seen.companions)
		}
		_, err := readUsage(b.hook.PID) // fails when the injector has ended
		state := fmt.Sprintf("pods %s of %s, companions %s, Ready %s of %s", thousands(seen.pods), thousands(b.allPods()),
			thousands(seen.companions), thousands(seen.ready), thousands(b.workloads))
		return state, seen.pods == b.allPods() && seen.ready == b.workloads, err
	})
}

// awaitQuiet waits until the injector has stopped asking for anything.
func (b *bench) awaitQuiet(ctx context.Context, began time.Time) error {
	var quiet stretch
	since := time.Now()
	return b.await(ctx, "rest", func(context.Context) (string, bool, error) {
		asked, err := b.audit.between(began, time.Now())
		n := asked.own()
		return fmt.Sprintf("%s requests of the injector so far", thousands(n)),
			quiet.length(n, time.Now()) >= quietFor || time.Since(since) > unrestAtMost, err
	})
}

// rest watches the injector while nothing happens.
func (b *bench) rest(ctx context.Context, r *result) error {
	b.progress(fmt.Sprintf("watching the injector at rest for %s", b.restTime))
	before, err := readUsage(b.hook.PID)
	if err != nil {
		return err
	}
	from := time.Now()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(b.restTime):
	}
	until := time.Now()
	if r.created, err = b.standing(ctx); err != nil {
		return err
	}
	r.cpuAtRest = float64(r.created.cpu-before.cpu) / float64(until.Sub(from))
	r.resting, err = b.audit.between(from, until)
	return err
}

// restart ends the injector and waits until a new one has looked at every companion.
func (b *bench) restart(ctx context.Context, r *result) error {
	b.progress("restarting the injector")
	if err := b.hook.Stop(); err != nil {
		return err
	}
	from := time.Now()
	if err := b.startInjector(ctx); err != nil {
		return err
	}
	var still stretch
	err := b.await(ctx, "the restarted injector", func(ctx context.Context) (string, bool, error) {
		metrics, err := scrape(ctx, b.hook.MetricsURL)
		n := int(metrics[metricReconciles])
		stable := still.length(n, time.Now())
		if stable == 0 {
			r.lookedAt = time.Since(from)
		}
		return fmt.Sprintf("looked at companions %s times", thousands(n)), n >= b.workloads && stable >= stableFor, err
	})
	if err != nil {
		return err
	}
	if r.restarting, err = b.audit.between(from, time.Now()); err != nil {
		return err
	}
	if seen := b.tracker.milestones(); seen.companions != b.workloads || seen.ready != b.workloads {
		return fmt.Errorf("after the restart there are %d companions, and %d are Ready", seen.companions, seen.ready)
	}
	r.restarted, err = b.standing(ctx)
	return err
}

// standing returns what the injector takes now.
func (b *bench) standing(ctx context.Context) (standing, error) {
	u, err := readUsage(b.hook.PID)
	if err != nil {
		return standing{}, err
	}
	metrics, err := scrape(ctx, b.hook.MetricsURL)
	return standing{usage: u, goroutines: int(metrics[metricGoroutines])}, err
}
