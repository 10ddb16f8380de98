// Command benchreport reads what `go test -bench` prints, passes it on, and ends with one
// line for each target: name, figure, target, and ok or short.
//
//	go test -bench . ./webhook | benchreport handler
//
// The arguments name the groups of targets to report. It fails if a target is missed, or
// a benchmark that it needs is not there.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// target demands that ours be so much better than another benchmark of the same run.
type target struct {
	group, name string
	// base and ours are names of benchmarks; unit is that of the figures compared.
	base, ours, unit string
	// atLeast is the least quotient of base and ours.
	atLeast float64
}

const (
	nanoseconds = "ns/op"
	allocations = "allocs/op"
)

// targets returns all of them in the order of the report.
func targets() []target {
	return []target{
		{"handler", "injected pod, faster than the usual way", "Handler/injected/usual", "Handler/injected/ours", nanoseconds, 15},
		{"handler", "injected pod, fewer allocations than the usual way", "Handler/injected/usual", "Handler/injected/ours", allocations, 50},
		{"handler", "pass-through pod, faster than the usual way", "Handler/passthrough/usual", "Handler/passthrough/ours", nanoseconds, 9},
		{"https", "injected pods over HTTPS, of an empty handler's rate", "HTTPS/empty", "HTTPS/injected", nanoseconds, 0.4},
		{"https", "pass-through pods over HTTPS, of an empty handler's rate", "HTTPS/empty", "HTTPS/passthrough", nanoseconds, 0.4},
	}
}

func main() {
	if err := run(os.Stdin, os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "benchreport:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer, groups []string) error {
	wanted, err := selectTargets(groups)
	if err != nil {
		return err
	}
	figures, err := read(in, out)
	if err != nil {
		return err
	}
	return report(out, wanted, figures)
}

// selectTargets returns the targets of the groups; every group must have some.
func selectTargets(groups []string) ([]target, error) {
	var wanted []target
	for _, group := range groups {
		before := len(wanted)
		for _, t := range targets() {
			if t.group == group {
				wanted = append(wanted, t)
			}
		}
		if len(wanted) == before {
			return nil, fmt.Errorf("no targets are in group %q", group)
		}
	}
	return wanted, nil
}

// key names a figure: that of one benchmark in one unit.
type key struct{ benchmark, unit string }

// processors is the suffix that the testing package adds to names.
var processors = regexp.MustCompile(`-\d+$`)

// read copies the lines and returns the figures of each benchmark and unit, one a round.
func read(in io.Reader, out io.Writer) (map[key][]float64, error) {
	figures := map[key][]float64{}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if _, err := fmt.Fprintln(out, lines.Text()); err != nil {
			return nil, err
		}
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := processors.ReplaceAllString(strings.TrimPrefix(fields[0], "Benchmark"), "")
		for i := 2; i+1 < len(fields); i += 2 {
			figure, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				break // a line of another kind
			}
			k := key{benchmark: name, unit: fields[i+1]}
			figures[k] = append(figures[k], figure)
		}
	}
	return figures, lines.Err()
}

// figure is the median of the quotients of base and ours in each round. What disturbs the
// machine for a while then spoils the round that it falls into and not the comparison.
func (t *target) figure(figures map[key][]float64) (float64, error) {
	base, ours := figures[key{t.base, t.unit}], figures[key{t.ours, t.unit}]
	if len(base) == 0 || len(ours) == 0 {
		return 0, fmt.Errorf("%s: %s and %s in %s are needed, and not both were measured", t.name, t.base, t.ours, t.unit)
	}
	if len(base) != len(ours) {
		return 0, fmt.Errorf("%s: %s was measured %d times and %s %d times", t.name, t.base, len(base), t.ours, len(ours))
	}
	quotients := make([]float64, len(base))
	for i := range base {
		quotients[i] = base[i] / ours[i]
	}
	slices.Sort(quotients)
	middle := len(quotients) / 2
	if len(quotients)%2 == 0 {
		return (quotients[middle-1] + quotients[middle]) / 2, nil
	}
	return quotients[middle], nil
}

// report prints a line for each target.
func report(out io.Writer, wanted []target, figures map[key][]float64) error {
	missed := 0
	var text strings.Builder
	for i := range wanted {
		t := &wanted[i]
		figure, err := t.figure(figures)
		if err != nil {
			return err
		}
		verdict := "ok"
		if figure < t.atLeast {
			verdict = "short"
			missed++
		}
		fmt.Fprintf(&text, "%-60s %8.2f×  target %6.2f×  %s\n", t.name, figure, t.atLeast, verdict)
	}
	if _, err := fmt.Fprint(out, "\n"+text.String()); err != nil {
		return err
	}
	if missed > 0 {
		return fmt.Errorf("%d of %d targets missed", missed, len(wanted))
	}
	return nil
}
