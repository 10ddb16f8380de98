package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// way is one of the ways in which the pod is created: in a namespace of its own, whose
// label a webhook or policy selects.
type way struct {
	name, title string
	client      client.Client
	pod         *corev1.Pod
	took        []time.Duration
}

// The names of the ways, which label their namespaces.
const (
	wayNone   = "none"
	wayUsual  = "usual"
	wayOurs   = "ours"
	wayPolicy = "policy"
)

// measure creates the pod so many times each way. Every round begins with another way.
func measure(ctx context.Context, ways []*way, rounds int) error {
	for round := range rounds {
		for i := range ways {
			w := ways[(round+i)%len(ways)]
			start := time.Now()
			if _, err := w.create(ctx); err != nil {
				return err
			}
			w.took = append(w.took, time.Since(start))
		}
	}
	return nil
}

// create asks for the pod without making it, and returns what it would be.
func (w *way) create(ctx context.Context) (*corev1.Pod, error) {
	pod := w.pod.DeepCopy()
	if err := w.client.Create(ctx, pod, client.DryRunAll); err != nil {
		return nil, fmt.Errorf("creating a pod with %s: %w", w.title, err)
	}
	return pod, nil
}

// quantile returns the value that the given part of all is not above.
func quantile(sorted []time.Duration, part float64) time.Duration {
	return sorted[min(int(part*float64(len(sorted))), len(sorted)-1)]
}

// report prints a row for each way, then a line for the target.
func report(out io.Writer, ways []*way) {
	medians := map[string]time.Duration{}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "median\tp90\tp99\tadded at the median\t  way of making the pod")
	for _, w := range ways {
		slices.Sort(w.took)
		medians[w.name] = quantile(w.took, 0.5)
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t  %s\n", milliseconds(medians[w.name]), milliseconds(quantile(w.took, 0.9)),
			milliseconds(quantile(w.took, 0.99)), milliseconds(medians[w.name]-medians[wayNone]), w.title)
	}
	_ = table.Flush()
	added := float64(medians[wayOurs]-medians[wayNone]) / float64(medians[wayPolicy]-medians[wayNone])
	verdict := "ok"
	if added > target {
		verdict = "short"
	}
	_, _ = fmt.Fprintf(out, "\napiserver: added by the injector, in terms of what the policy adds  %.2fx  target at most %.2fx  %s\n", added, target, verdict)
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000)
}
