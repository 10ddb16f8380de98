package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// target is one figure and what it may be.
type target struct {
	name           string
	figure, target float64
	// atLeast turns the comparison round.
	atLeast bool
	format  string
}

func (t *target) met() bool {
	if t.atLeast {
		return t.figure >= t.target
	}
	return t.figure <= t.target
}

// result is everything that was measured.
type result struct {
	*options
	version string
	began   time.Time
	took    time.Duration
	done    []happened
	*tally
}

// crashMargin is how long after a crash a failure is put down to it.
const crashMargin = 3 * time.Second

// during returns the failures within the margin after an event of that kind.
func (r *result) during(failures []failure, kind string) (within, without []failure) {
	for _, f := range failures {
		hit := slices.ContainsFunc(r.done, func(h happened) bool {
			return h.kind == kind && !f.at.Before(h.at.Add(-requestTimeout)) && f.at.Before(h.at.Add(crashMargin))
		})
		if hit {
			within = append(within, f)
		} else {
			without = append(without, f)
		}
	}
	return within, without
}

func (r *result) targets() []target {
	crash, rest := r.during(r.admission, kindCrash)
	all := r.created + r.uninjected + len(r.admission) + len(r.apiServer)
	return []target{
		{"pods created, a second", float64(all) / r.took.Seconds(), 0.98 * float64(r.rate), true, "%.1f"},
		{"failed admissions", float64(len(rest)), 0, false, "%.0f"},
		{"failed admissions within 3s of a crash (SIGKILL)", float64(len(crash)), 0, false, "%.0f"},
		{"pods that came out uninjected", float64(r.uninjected), 0, false, "%.0f"},
	}
}

// print writes what happened, and then a line for each target. It fails if one is missed.
func (r *result) print(out io.Writer) error {
	var text strings.Builder
	how := "created"
	if r.dryRun {
		how = "created as dry runs"
	}
	fmt.Fprintf(&text, "%d pods a second %s for %s, %d replicas, Kubernetes %s\n\n", r.rate, how, r.took.Round(time.Second), replicas, r.version)
	for _, h := range r.done {
		fmt.Fprintf(&text, "%6.1f s  %s (took %.1f s)\n", h.at.Sub(r.began).Seconds(), h.name, h.took.Seconds())
	}
	slices.Sort(r.latencies)
	fmt.Fprintf(&text, "\n%d injected; latency of a creation: median %s, 99 %% %s, longest %s\n",
		r.created, percentile(r.latencies, 50), percentile(r.latencies, 99), percentile(r.latencies, 100))
	fmt.Fprintf(&text, "%d creations failed at the API server itself, %d were not begun as %d were under way\n", len(r.apiServer), r.behind, r.atOnce)
	r.printFailures(&text, "admission", r.admission)
	r.printFailures(&text, "API server", r.apiServer)
	text.WriteByte('\n')
	missed := 0
	targets := r.targets()
	for i := range targets {
		t := &targets[i]
		verdict, bound := "ok", "at most"
		if t.atLeast {
			bound = "at least"
		}
		if !t.met() {
			verdict = "short"
			missed++
		}
		fmt.Fprintf(&text, "ha: %-50s %8s  target %s %8s  %s\n", t.name, fmt.Sprintf(t.format, t.figure), bound, fmt.Sprintf(t.format, t.target), verdict)
	}
	if _, err := io.WriteString(out, text.String()); err != nil {
		return fmt.Errorf("printing the report: %w", err)
	}
	if missed > 0 {
		return fmt.Errorf("%d of %d targets missed", missed, len(targets))
	}
	return nil
}

// printFailures prints the different texts of failures, with how often and when first.
func (r *result) printFailures(out io.Writer, of string, failures []failure) {
	type line struct {
		text  string
		first time.Time
		times int
	}
	var lines []line
	for _, f := range failures {
		text := shorten(f.err.Error())
		i := slices.IndexFunc(lines, func(l line) bool { return l.text == text })
		if i < 0 {
			lines = append(lines, line{text: text, first: f.at})
			i = len(lines) - 1
		}
		lines[i].times++
	}
	for _, l := range lines {
		_, _ = fmt.Fprintf(out, "  %s, %d times from %.1f s: %s\n", of, l.times, l.first.Sub(r.began).Seconds(), l.text)
	}
}

// shorten cuts a message, and takes the numbers out that differ from one to the next.
func shorten(text string) string {
	const length = 240
	text = strings.Map(func(c rune) rune {
		if c >= '0' && c <= '9' {
			return '#'
		}
		return c
	}, text)
	if len(text) > length {
		text = text[:length] + "…"
	}
	return text
}

// percentile of sorted values; 0 of none.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)*p/100, len(sorted)-1)].Round(100 * time.Microsecond)
}
