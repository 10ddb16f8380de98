package agent

// Seeing that files have been replaced. Whoever writes them swaps the symlink ..data in the
// folder, so the folders are watched and not the files.

import (
	"context"
	"log/slog"
	"time"

	"github.com/fsnotify/fsnotify"
)

// watch tells when files may have changed.
type watch struct {
	folders []string
	// poll bounds how late a change is seen whose event is lost. quiet is how long after
	// the first event of a swap it is told.
	poll, quiet time.Duration
	log         *slog.Logger
}

// start returns a channel that has a moment for each time that files may have changed: that
// of the first event, or of the look from time to time. The first comes at once. It ends
// with the context.
func (w watch) start(ctx context.Context) <-chan time.Time {
	changes := make(chan time.Time)
	go func() {
		watcher, err := fsnotify.NewWatcher()
		if err != nil {
			w.log.Warn("cannot watch folders, looking from time to time instead", "error", err, "interval", w.poll.String())
			watcher = &fsnotify.Watcher{} // its channels are nil: no events
		} else {
			defer func() { _ = watcher.Close() }() // nothing is lost by it
		}
		w.run(ctx, watcher, changes)
	}()
	return changes
}

// run watches until the context ends.
func (w watch) run(ctx context.Context, watcher *fsnotify.Watcher, changes chan<- time.Time) {
	poll := time.NewTicker(w.poll)
	defer poll.Stop()
	tell := func(at time.Time) {
		select {
		case changes <- at:
		case <-ctx.Done():
		}
	}
	w.add(watcher)
	tell(time.Now())
	var seen time.Time // of the first event that has not been told
	var settled <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
			w.add(watcher)
			tell(time.Now())
		case <-watcher.Events:
			if settled == nil {
				seen, settled = time.Now(), time.After(w.quiet)
			}
		case <-settled:
			settled = nil
			tell(seen)
		case err := <-watcher.Errors:
			w.log.Warn("watching the folders", "error", err)
		}
	}
}

// add watches the folders. Those that are watched stay so, and those that are not there yet
// are tried again.
func (w watch) add(watcher *fsnotify.Watcher) {
	if watcher.Events == nil {
		return
	}
	for _, folder := range w.folders {
		if err := watcher.Add(folder); err != nil {
			w.log.Debug("cannot watch a folder", "folder", folder, "error", err)
		}
	}
}
