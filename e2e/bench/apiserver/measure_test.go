package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func took(milliseconds ...float64) []time.Duration {
	durations := make([]time.Duration, len(milliseconds))
	for i, ms := range milliseconds {
		durations[i] = time.Duration(ms * float64(time.Millisecond))
	}
	return durations
}

func waysThatTook(none, usual, ours, policy []time.Duration) []*way {
	return []*way{
		{name: wayNone, title: "none", took: none},
		{name: wayUsual, title: "usual", took: usual},
		{name: wayOurs, title: "ours", took: ours},
		{name: wayPolicy, title: "policy", took: policy},
	}
}

func TestReport(t *testing.T) {
	var out bytes.Buffer
	report(&out, waysThatTook(took(5, 3, 4), took(12, 10, 11), took(9, 7, 8), took(7, 9, 8)))
	assert.Equal(t, `    median       p90       p99  added at the median  way of making the pod
   4.00 ms   5.00 ms   5.00 ms              0.00 ms  none
  11.00 ms  12.00 ms  12.00 ms              7.00 ms  usual
   8.00 ms   9.00 ms   9.00 ms              4.00 ms  ours
   8.00 ms   9.00 ms   9.00 ms              4.00 ms  policy

apiserver: added by the injector, in terms of what the policy adds  1.00x  target at most 1.25x  ok
`, out.String())
}

func TestReportSaysWhenItIsShort(t *testing.T) {
	for name, tc := range map[string]struct {
		ours float64
		want string
	}{
		"at the target":    {9, "1.25x  target at most 1.25x  ok\n"},
		"beyond":           {9.1, "1.27x  target at most 1.25x  short\n"},
		"less than policy": {6, "0.50x  target at most 1.25x  ok\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			report(&out, waysThatTook(took(4), took(11), took(tc.ours), took(8)))
			assert.Contains(t, out.String(), tc.want)
		})
	}
}

func TestQuantile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for part, want := range map[float64]time.Duration{0: 1, 0.5: 51, 0.9: 91, 0.99: 100, 1: 100} {
		assert.Equal(t, want, quantile(hundred, part))
	}
	assert.Equal(t, time.Duration(7), quantile([]time.Duration{7}, 0.99))
}
