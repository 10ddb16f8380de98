package status

import (
	"fmt"
	"io"
	"strings"

	"k8s.io/cli-runtime/pkg/printers"

	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
)

// column is one of the table: its head, when it is shown, and what stands in it.
type column struct {
	head string
	show func(o *Options) bool
	cell func(w *Workload) string
}

func always(*Options) bool   { return true }
func wide(o *Options) bool   { return o.Output == kube.OutputWide }
func narrow(o *Options) bool { return !wide(o) }

var columns = [...]column{
	{"NAMESPACE", func(o *Options) bool { return o.AllNamespaces }, func(w *Workload) string { return w.Namespace }},
	{"WORKLOAD", always, func(w *Workload) string { return w.Kind + "/" + w.Name }},
	{"ROLE", always, func(w *Workload) string { return w.Role }},
	{"INJECTED", always, func(w *Workload) string { return fmt.Sprintf("%d/%d", w.Pods.Injected, w.Pods.total()) }},
	{"STALE", always, func(w *Workload) string { return fmt.Sprint(w.Pods.Stale) }},
	{"COMPANION", always, func(w *Workload) string { return companion(w, func(c *Companion) string { return c.State }) }},
	{"EXPIRES", always, func(w *Workload) string { return companion(w, func(c *Companion) string { return c.expires }) }},
	{"ISSUER", always, func(w *Workload) string { return w.Issuer }},
	{"DELIVERY", always, func(w *Workload) string { return w.Delivery }},
	{"RELOAD", always, func(w *Workload) string { return w.Reload }},
	{"NAMES", narrow, func(w *Workload) string { return shortNames(w.DNS) }},
	{"CERTIFICATE", wide, func(w *Workload) string { return companion(w, func(c *Companion) string { return c.Name }) }},
	{"VERSION", wide, func(w *Workload) string { return strings.Join(w.Pods.Versions, ",") }},
	{"SPIFFE ID", wide, func(w *Workload) string { return w.SPIFFE }},
	{"NAMES", wide, func(w *Workload) string { return strings.Join(w.DNS, ",") }},
}

func companion(w *Workload, of func(*Companion) string) string {
	if w.Companion == nil {
		return ""
	}
	return of(w.Companion)
}

// shortNames is the first name, and how many more there are.
func shortNames(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return fmt.Sprintf("%s +%d", names[0], len(names)-1)
}

// print prints the table, and below it what is the matter.
func (o *Options) print(out io.Writer, r *Report) error {
	if len(r.Workloads) == 0 {
		return nil
	}
	table := printers.GetNewTabWriter(out)
	if err := o.row(table, func(c *column) string { return c.head }); err != nil {
		return err
	}
	for i := range r.Workloads {
		err := o.row(table, func(c *column) string {
			if text := c.cell(&r.Workloads[i]); text != "" {
				return text
			}
			return "-"
		})
		if err != nil {
			return err
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for i := range r.Workloads {
		w := &r.Workloads[i]
		for _, f := range w.Findings {
			if _, err := fmt.Fprintf(out, "\n%s: %s/%s in %s: %s\n", f.Severity, w.Kind, w.Name, w.Namespace, f.Message); err != nil {
				return err
			}
			if f.Remedy == "" {
				continue
			}
			if _, err := fmt.Fprintf(out, "    %s\n", f.Remedy); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *Options) row(out io.Writer, text func(*column) string) error {
	var cells []string
	for i := range columns {
		if columns[i].show(o) {
			cells = append(cells, text(&columns[i]))
		}
	}
	_, err := fmt.Fprintln(out, strings.Join(cells, "\t"))
	return err
}
