package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const measured = `goos: linux
pkg: example.io/mtls-injector/webhook
BenchmarkHandler/injected/usual-2         	     100	  9000000 ns/op	   5.10 MB/s	  900000 B/op	    5500 allocs/op
BenchmarkHandler/injected/usual-2         	     100	  1600000 ns/op	   5.10 MB/s	  900000 B/op	    5500 allocs/op
BenchmarkHandler/injected/usual-2         	     100	  1500000 ns/op	   5.10 MB/s	  900000 B/op	    5500 allocs/op
BenchmarkHandler/injected/ours-2          	   10000	   100000 ns/op	   90.1 MB/s	   20000 B/op	     100 allocs/op
BenchmarkHandler/injected/ours-2          	   10000	   100000 ns/op	   90.1 MB/s	   20000 B/op	     100 allocs/op
BenchmarkHandler/injected/ours-2          	   10000	   100000 ns/op	   90.1 MB/s	   20000 B/op	     100 allocs/op
BenchmarkHandler/passthrough/usual-2      	     100	   900000 ns/op	   5.10 MB/s	  900000 B/op	    5500 allocs/op
BenchmarkHandler/passthrough/ours-2       	   10000	   100000 ns/op	   90.1 MB/s	   20000 B/op	      50 allocs/op
PASS
ok  	example.io/mtls-injector/webhook	1.2s
`

func TestRun(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(strings.NewReader(measured), &out, []string{"handler"}))
	assert.Equal(t, measured+`
injected pod, faster than the usual way                         16.00×  target  15.00×  ok
injected pod, fewer allocations than the usual way              55.00×  target  50.00×  ok
pass-through pod, faster than the usual way                      9.00×  target   9.00×  ok
`, out.String())
}

func TestMissedTargetsAreAnError(t *testing.T) {
	slow := strings.ReplaceAll(measured, "   100000 ns/op", "   200000 ns/op")
	var out bytes.Buffer
	require.EqualError(t, run(strings.NewReader(slow), &out, []string{"handler"}), "2 of 3 targets missed")
	assert.Contains(t, out.String(), "8.00×  target  15.00×  short\n")
	assert.Contains(t, out.String(), "55.00×  target  50.00×  ok\n")
}

func TestFigureIsTheMedianOfTheRounds(t *testing.T) {
	ways := target{base: "base", ours: "ours", unit: nanoseconds}
	for name, c := range map[string]struct {
		base, ours []float64
		want       float64
	}{
		"one round":   {[]float64{6}, []float64{3}, 2},
		"two rounds":  {[]float64{6, 8}, []float64{3, 2}, 3},
		"one is slow": {[]float64{6, 6, 60}, []float64{3, 30, 30}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			figure, err := ways.figure(map[key][]float64{{"base", nanoseconds}: c.base, {"ours", nanoseconds}: c.ours})
			require.NoError(t, err)
			assert.InDelta(t, c.want, figure, 1e-9)
		})
	}
}

func TestNoGroupsNoTargets(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(strings.NewReader(measured), &out, nil))
	assert.Equal(t, measured+"\n", out.String())
}

func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		input, group string
		want         string
	}{
		"unknown group":     {measured, "speed", `no targets are in group "speed"`},
		"nothing measured":  {"", "handler", "injected pod, faster than the usual way: Handler/injected/usual and Handler/injected/ours in ns/op are needed, and not both were measured"},
		"one of two":        {strings.ReplaceAll(measured, "passthrough/ours", "passthrough/other"), "handler", "pass-through pod, faster than the usual way: Handler/passthrough/usual and Handler/passthrough/ours in ns/op are needed, and not both were measured"},
		"without -benchmem": {strings.ReplaceAll(measured, "allocs/op", ""), "handler", "injected pod, fewer allocations than the usual way: Handler/injected/usual and Handler/injected/ours in allocs/op are needed, and not both were measured"},
		"rounds differ":     {measured + "BenchmarkHandler/passthrough/ours-2 1 7 ns/op 3 allocs/op\n", "handler", "pass-through pod, faster than the usual way: Handler/passthrough/usual was measured 1 times and Handler/passthrough/ours 2 times"},
		"endless line":      {strings.Repeat("x", 1<<17), "handler", "bufio.Scanner: token too long"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			require.EqualError(t, run(strings.NewReader(c.input), &out, []string{c.group}), c.want)
		})
	}
	require.EqualError(t, run(iotest.ErrReader(errors.New("gone")), &bytes.Buffer{}, nil), "gone")
	require.EqualError(t, run(strings.NewReader(measured), full{}, nil), "disk full")
	require.EqualError(t, report(full{}, nil, nil), "disk full")
}

func TestLinesOfOtherKinds(t *testing.T) {
	figures, err := read(strings.NewReader("BenchmarkA\nBenchmarkB 1 fast ns/op\nBenchmarkC 7 5 ns/op 1.50 extra/op\nBenchmark-and-more-8 1 2 ns/op\n"), &bytes.Buffer{})
	require.NoError(t, err)
	assert.Equal(t, map[key][]float64{{"C", "ns/op"}: {5}, {"C", "extra/op"}: {1.5}, {"-and-more", "ns/op"}: {2}}, figures)
}

func TestEveryGroupIsComplete(t *testing.T) {
	for _, target := range targets() {
		assert.NotEmpty(t, target.name)
		assert.Positive(t, target.atLeast, target.name)
		assert.NotEqual(t, target.base, target.ours, target.name)
		assert.Contains(t, []string{nanoseconds, allocations}, target.unit, target.name)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }
