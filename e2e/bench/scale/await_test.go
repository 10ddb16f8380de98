package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestAwait(t *testing.T) {
	look := func(states ...string) func(context.Context) (string, bool, error) {
		i := -1
		return func(context.Context) (string, bool, error) {
			i = min(i+1, len(states)-1)
			return states[i], states[i] == "done", nil
		}
	}
	for name, tc := range map[string]struct {
		look func(context.Context) (string, bool, error)
		want string
		told []string
		took time.Duration
	}{
		"at once": {look: look("done"), told: []string{"done"}},
		"later": {look: look("1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "done"),
			told: []string{"11", "done"}, took: 12 * time.Second},
		"never": {look: look("1", "2"), want: "waiting for it: nothing has happened for 5m0s: 2",
			told: []string{"2"}, took: 5*time.Minute + 2*time.Second},
		"failing": {look: func(context.Context) (string, bool, error) { return "", false, errors.New("gone") },
			want: "waiting for it: gone"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told []string
				b := &bench{progress: func(line string) { told = append(told, line) }}
				start := time.Now()
				err := b.await(t.Context(), "it", tc.look)
				if tc.want == "" {
					assert.NoError(t, err)
				} else {
					assert.EqualError(t, err, tc.want)
				}
				assert.Equal(t, tc.told, told)
				assert.Equal(t, tc.took, time.Since(start))
			})
		})
	}
}

func TestAwaitIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		looks := 0
		b := &bench{progress: func(string) {}}
		err := b.await(ctx, "it", func(context.Context) (string, bool, error) { looks++; return "", false, nil })
		assert.EqualError(t, err, "waiting for it: context deadline exceeded")
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 3, looks)
	})
}

func TestStretch(t *testing.T) {
	var s stretch
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, step := range []struct {
		n            int
		second, want time.Duration
	}{{0, 0, 0}, {0, 1, 1}, {5, 2, 0}, {5, 4, 2}, {4, 5, 0}, {4, 9, 4}} {
		assert.Equal(t, step.want*time.Second, s.length(step.n, start.Add(step.second*time.Second)))
	}
}
