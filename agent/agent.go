// Package agent is the optional native sidecar of a pod. Before the pod's own containers
// start it sees to it that their files are there and right; later it has a program reload
// when they are replaced, and tells Prometheus when they end. It needs no rights, no token
// and no capability, and little memory.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Reloader has a program read its files again.
type Reloader interface {
	// Reload returns when the program was told.
	Reload(ctx context.Context) error
	// RanBefore says whether the program ran before the agent did: the agent was started
	// again, and files may have been replaced meanwhile.
	RanBefore(ctx context.Context) bool
	// String says what is done.
	String() string
}

// Options configure [Run].
type Options struct {
	Files Files
	// Reloader is nil if nothing is to be reloaded.
	Reloader Reloader
	// MetricsAddress is where metrics are served, such as ":9469"; empty for nowhere.
	MetricsAddress string
	// StartTimeout is how long is waited for files that are right.
	StartTimeout time.Duration
	// Version of the program.
	Version string
	Log     *slog.Logger

	// Intervals; all have defaults.
	Intervals Intervals
}

// Intervals are those of looking and trying. The zero value of each means its default.
type Intervals struct {
	// Start (1 s) and Poll (30 s) are how often is looked, events or not, before and after
	// the files were right for the first time.
	Start, Poll time.Duration
	// Quiet (100 ms) is waited after the first event of a change for its others.
	Quiet time.Duration
	// Retry (200 ms) is waited before a second attempt to reload, and doubled each time.
	Retry time.Duration
}

func (i Intervals) complete() Intervals {
	set := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	set(&i.Start, time.Second)
	set(&i.Poll, 30*time.Second)
	set(&i.Quiet, 100*time.Millisecond)
	set(&i.Retry, 200*time.Millisecond)
	return i
}

// run is one run of the agent.
type run struct {
	opts    Options
	metrics *metrics
	// told is the outcome of the last check, so that each is logged once only.
	told string
	// applied is the fingerprint of what the program has read.
	applied string
}

// Run guards the start, and watches until the context ends. After the start nothing that
// becomes of the files ends it. Its errors are for the termination message.
func Run(ctx context.Context, opts Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	opts.Intervals = opts.Intervals.complete()
	r := &run{opts: opts, metrics: &metrics{version: opts.Version}}
	if opts.MetricsAddress != "" {
		stopped, err := r.metrics.serve(ctx, opts.MetricsAddress, opts.Log)
		if err != nil {
			return err
		}
		defer func() { cancel(); <-stopped }()
	}
	fingerprint, err := r.guardStart(ctx)
	if err != nil || ctx.Err() != nil {
		return err
	}
	r.follow(ctx, fingerprint)
	return nil
}

// guardStart waits for files that are right, and returns their fingerprint.
func (r *run) guardStart(ctx context.Context) (string, error) {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	timeout := time.NewTimer(r.opts.StartTimeout)
	defer timeout.Stop()
	changes := r.watch(r.opts.Intervals.Start).start(watching)
	for late := false; ; {
		select {
		case <-ctx.Done():
			return "", nil
		case <-timeout.C:
			late = true
		case <-changes:
		}
		report := r.check()
		if len(report.Problems) == 0 {
			return report.Fingerprint, nil
		}
		if late {
			return "", fmt.Errorf("the files were not right within %s:\n%w", r.opts.StartTimeout, report.Err())
		}
	}
}

func (r *run) watch(poll time.Duration) watch {
	return watch{folders: r.opts.Files.folders(), poll: poll, quiet: r.opts.Intervals.Quiet, log: r.opts.Log}
}

// follow has the program reload whenever the files have become others that are right.
// ready is the fingerprint of those that it starts with.
func (r *run) follow(ctx context.Context, ready string) {
	if r.opts.Reloader == nil || !r.opts.Reloader.RanBefore(ctx) {
		r.applied = ready
	}
	changes := r.watch(r.opts.Intervals.Poll).start(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case seen := <-changes:
			if report := r.check(); len(report.Problems) == 0 && report.Fingerprint != r.applied {
				r.reload(ctx, report.Fingerprint, seen)
			}
		}
	}
}

// check checks the files, counts, and logs what is new.
func (r *run) check() Report {
	report := r.opts.Files.Check(time.Now())
	r.metrics.checked(report)
	outcome := fmt.Sprintf("%s %d", report.Fingerprint, len(report.Problems))
	if outcome == r.told {
		return report
	}
	r.told = outcome
	if len(report.Problems) > 0 {
		r.opts.Log.Error("the files are not right", "problems", report.Problems)
	} else {
		r.opts.Log.Info("the files are right", "notAfter", report.NotAfter)
	}
	return report
}

// reload tries several times. What fails in all of them is tried again at the next look.
func (r *run) reload(ctx context.Context, fingerprint string, seen time.Time) {
	if r.opts.Reloader == nil {
		r.applied = fingerprint
		return
	}
	const attempts = 5
	log := r.opts.Log.With("reload", r.opts.Reloader.String())
	wait := r.opts.Intervals.Retry
	for attempt := 1; ; attempt++ {
		err := r.opts.Reloader.Reload(ctx)
		if err == nil {
			r.applied = fingerprint
			r.metrics.succeeded(seen)
			log.Info("reloaded", "attempt", attempt, "after", time.Since(seen).Round(time.Millisecond).String())
			return
		}
		if ctx.Err() != nil {
			return
		}
		log.Warn("the reload failed", "attempt", attempt, "error", err.Error())
		if attempt == attempts || errors.Is(err, errNotCaught) {
			break
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
			wait *= 2
		}
		// Never for files that have become bad meanwhile; others bring their own event.
		if again := r.check(); again.Fingerprint != fingerprint || len(again.Problems) > 0 {
			return
		}
	}
	r.metrics.gaveUp()
	log.Error("the program has not been told of the new files, trying again later", "interval", r.opts.Intervals.Poll.String())
}
