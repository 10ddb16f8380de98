package main

import (
	"context"
	"fmt"
	"time"
)

// await looks again and again until it is done. It reports the state now and then, and
// gives up when the state has not changed for as long as patience lasts.
func (b *bench) await(ctx context.Context, what string, look func(context.Context) (state string, done bool, err error)) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	var last, told string
	changed, toldAt := time.Now(), time.Now()
	for {
		state, done, err := look(ctx)
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		if state != last {
			last, changed = state, time.Now()
		}
		if (done || time.Since(toldAt) >= progressEvery) && state != told {
			b.progress(state)
			told, toldAt = state, time.Now()
		}
		switch {
		case done:
			return nil
		case time.Since(changed) > patience:
			return fmt.Errorf("waiting for %s: nothing has happened for %s: %s", what, patience, state)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

// stretch is a time in which a number stays as it is.
type stretch struct {
	n     int
	since time.Time
}

// length returns for how long the number has been what it is now.
func (s *stretch) length(n int, now time.Time) time.Duration {
	if n != s.n || s.since.IsZero() {
		s.n, s.since = n, now
	}
	return now.Sub(s.since)
}
