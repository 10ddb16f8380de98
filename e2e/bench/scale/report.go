package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// The targets.
const (
	writesPerWorkloadAtMost = 2
	memoryAtMost            = 100 // MiB
)

const mebibyte = 1 << 20

// standing is what the injector takes at one time.
type standing struct {
	usage
	goroutines int
}

// result is everything that was measured.
type result struct {
	*options
	version string

	began                         time.Time
	seen                          milestones
	creating, resting, restarting counts
	created, restarted            standing
	// cpuAtRest is a part of one core.
	cpuAtRest float64
	// lookedAt is how long the restarted injector took to look at every companion.
	lookedAt time.Duration
}

// target is one figure and what it may be at most.
type target struct {
	name           string
	figure, atMost float64
	format         string // of a figure with its unit
}

func (r *result) targets() []target {
	return []target{
		{"writes per workload", r.perWorkload(r.creating.of(classWrite)), writesPerWorkloadAtMost, "%.3f"},
		{"writes at a restart", float64(r.restarting.of(classWrite)), 0, "%.0f"},
		{fmt.Sprintf("requests at rest, in %s", r.restTime), float64(r.resting.own()), 0, "%.0f"},
		{fmt.Sprintf("memory (RSS) at %s pods", thousands(r.allPods())), r.memory(), memoryAtMost, "%.1f MiB"},
	}
}

func (r *result) perWorkload(n int) float64 { return float64(n) / float64(r.workloads) }

// memory is the larger one of before and after the restart.
func (r *result) memory() float64 {
	return float64(max(r.created.resident, r.restarted.resident)) / mebibyte
}

// print writes tables of all figures, then a line for each target. It fails if one is missed.
func (r *result) print(out io.Writer) error {
	var text strings.Builder
	fmt.Fprintf(&text, "%s workloads of %d pods, %s Services, %d namespaces; Kubernetes %s\n\n",
		thousands(r.workloads), r.pods, thousands(r.services), r.namespaces, r.version)
	r.printTimes(&text)
	r.printRequests(&text)
	r.printProcess(&text)
	missed := 0
	targets := r.targets()
	for i := range targets {
		t := &targets[i]
		verdict := "ok"
		if t.figure > t.atMost {
			verdict = "short"
			missed++
		}
		fmt.Fprintf(&text, "scale: %-40s %12s  target at most %9s  %s\n", t.name,
			fmt.Sprintf(t.format, t.figure), fmt.Sprintf(t.format, t.atMost), verdict)
	}
	if _, err := io.WriteString(out, text.String()); err != nil {
		return fmt.Errorf("printing the report: %w", err)
	}
	if missed > 0 {
		return fmt.Errorf("%d of %d targets missed", missed, len(targets))
	}
	return nil
}

// table prints rows of cells with a tab before each but the first: numbers, aligned to the
// right, and last what they are. A blank line follows.
func table(out io.Writer, rows ...string) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range rows {
		_, _ = fmt.Fprintln(w, row)
	}
	_ = w.Flush()
	_, _ = fmt.Fprintln(out)
}

func (r *result) printTimes(out io.Writer) {
	row := func(what string, at time.Time) string {
		return fmt.Sprintf("%.1f s\t%.1f s\t  %s", at.Sub(r.began).Seconds(), at.Sub(r.seen.podsSince).Seconds(), what)
	}
	table(out, "from the first Deployment\tfrom the last pod\t  until",
		row("all pods exist", r.seen.podsSince),
		row("all companions exist", r.seen.companionsSince),
		row("all companions are Ready", r.seen.companionsReady))
}

func (r *result) printRequests(out io.Writer) {
	lines := []string{"creating\ta workload\tat rest\trestart\t  requests of the injector"}
	row := func(what string, of func(counts) int) {
		lines = append(lines, fmt.Sprintf("%s\t%.2f\t%s\t%s\t  %s", thousands(of(r.creating)),
			r.perWorkload(of(r.creating)), thousands(of(r.resting)), thousands(of(r.restarting)), what))
	}
	for _, what := range rows(r.creating, r.resting, r.restarting) {
		row(fmt.Sprintf("%s: %s %s", what.class, what.verb, what.resource), func(c counts) int { return c[what] })
	}
	row("all writes", func(c counts) int { return c.of(classWrite) })
	row("all reads", func(c counts) int { return c.of(classRead) })
	row("not counted: watches reopened after the server closed them", func(c counts) int { return c.of(classWatch) })
	row("not counted: leader election and reviews", func(c counts) int { return c.of(classElection, classReview) })
	table(out, lines...)
}

func (r *result) printProcess(out io.Writer) {
	mib := func(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/mebibyte) }
	row := func(what string, s *standing) string {
		return fmt.Sprintf("%s\t%s\t%s\t%d\t  %s", mib(s.resident), mib(s.anonymous), mib(s.peak), s.goroutines, what)
	}
	table(out, "RSS\tanonymous\tpeak RSS\tgoroutines\t  the injector's process",
		row("at rest, after the creation", &r.created), row("after the restart", &r.restarted))
	_, _ = fmt.Fprintf(out, "at rest it takes %.2f %% of one core\n", 100*r.cpuAtRest)
	_, _ = fmt.Fprintf(out, "restarted, it has looked at every companion after %.1f s\n\n", r.lookedAt.Seconds())
}

// thousands writes a number with commas.
func thousands(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
