// Package status is the command `kubectl mtls status`: a table of the workloads that are to
// speak mutual TLS, the most urgent first, with what is the matter and what mends it.
//
// rules.go has what can be the matter, in the order of urgency; report.go makes lines of a
// survey; print.go prints them.
package status

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/cli-runtime/pkg/printers"

	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
	"example.io/mtls-injector/cmd/kubectl-mtls/steps"
	"example.io/mtls-injector/cmd/kubectl-mtls/survey"
)

// Options of the command: first the flags, then what Complete makes of them.
type Options struct {
	*kube.Flags

	AllNamespaces bool
	Output        string
	Watch         bool
	Interval      time.Duration
	ExitCode      bool

	genericiooptions.IOStreams

	cluster *kube.Cluster
	now     func() time.Time
}

const long = `Show the workloads that are to speak mutual TLS, the most urgent first: what their pods get today, how the companion
Certificate is and when it ends, and how many pods have it. Below the table stands what is the matter, and the command
that mends it.

INJECTED counts the pods that have what a new pod would get, of all that should. STALE were injected, and would come out
otherwise today: the configuration, an annotation or a Service has changed since. The rest are not injected, for they
are older than the webhook or than their role, or were let through.

Everything is decided by the code of the cluster: the role, the names and the rest are what the webhook would say.

It only reads, with your own rights. What you may not read is left out, and the standard error tells which rule would
show it. The configuration is that of the cluster's injector, where you may read its ConfigMap; --config names a copy.

The exit code is 0 when the table could be made, and 1 when not; with --exit-code it is 2 if there is a failure in it.`

const examples = `  # The workloads of the current namespace
  kubectl mtls status

  # Those of all namespaces, and again whenever something changes
  kubectl mtls status -A --watch

  # All names, SPIFFE IDs and times
  kubectl mtls status -n shop -o wide

  # The pods that are not injected, for a script
  kubectl mtls status -A -o json | jq '.workloads[] | select(.pods.notInjected > 0) | .namespace + "/" + .name'

  # Fail a pipeline
  kubectl mtls status -n shop --exit-code`

const defaultInterval = 5 * time.Second

// NewCommand returns the command.
func NewCommand(streams genericiooptions.IOStreams) *cobra.Command {
	o := &Options{Flags: kube.NewFlags(), IOStreams: streams, Interval: defaultInterval, now: time.Now}
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show the workloads, their certificates and what is the matter",
		Long:    long,
		Example: examples,
		Args:    cobra.NoArgs,
		RunE:    steps.OnCluster(o),
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.AllNamespaces, "all-namespaces", "A", false, "show the workloads of all namespaces")
	flags.StringVarP(&o.Output, "output", "o", "", "output format: wide, json or yaml; without it, a table")
	flags.BoolVarP(&o.Watch, "watch", "w", false, "show it again whenever something has changed, until interrupted")
	flags.DurationVar(&o.Interval, "interval", o.Interval, "how often to look, with --watch")
	flags.BoolVar(&o.ExitCode, "exit-code", false, "end with exit code 2 if anything is a failure")
	o.AddFlags(flags)
	kube.CompleteFlags(cmd, o.Flags, kube.OutputWide, kube.OutputJSON, kube.OutputYAML)
	return cmd
}

// Complete connects.
func (o *Options) Complete([]string) (err error) {
	o.cluster, err = o.Connect()
	return err
}

// Validate checks the flags.
func (o *Options) Validate() error {
	errs := []error{kube.CheckOutput(o.Output, kube.OutputWide, kube.OutputJSON, kube.OutputYAML)}
	if o.Interval <= 0 {
		errs = append(errs, fmt.Errorf("--interval %s: must be more than nothing", o.Interval))
	}
	if o.Watch && o.ExitCode {
		errs = append(errs, errors.New("--exit-code says how it is now: it does not go with --watch"))
	}
	return errors.Join(errs...)
}

// Run shows the status, once or for ever.
func (o *Options) Run(ctx context.Context) error {
	if o.Watch {
		return o.watch(ctx)
	}
	var out bytes.Buffer
	r, err := o.look(ctx, &out)
	if err != nil {
		return err
	}
	if _, err := o.Out.Write(out.Bytes()); err != nil {
		return err
	}
	if err := o.tell(r); err != nil {
		return err
	}
	if o.ExitCode && r.failed() {
		return &steps.ExitError{Code: steps.ExitNo}
	}
	return nil
}

// look makes the report and prints it.
func (o *Options) look(ctx context.Context, out *bytes.Buffer) (*Report, error) {
	namespace := o.cluster.Namespace
	if o.AllNamespaces {
		namespace = ""
	}
	s, err := survey.Take(ctx, o.cluster, namespace)
	if err != nil {
		return nil, errors.Join(err, o.cluster.Gaps.Print(o.ErrOut))
	}
	r := report(ctx, o.cluster, s, o.now())
	if o.Output == kube.OutputJSON || o.Output == kube.OutputYAML {
		return r, kube.Print(out, o.Output, r)
	}
	return r, o.print(out, r)
}

// tell tells what is not in the table.
func (o *Options) tell(r *Report) error {
	if o.Output == kube.OutputJSON || o.Output == kube.OutputYAML {
		return nil // it is in there
	}
	if len(r.Workloads) == 0 {
		where := "in any namespace"
		if !o.AllNamespaces {
			where = "in namespace " + o.cluster.Namespace
		}
		if _, err := fmt.Fprintf(o.ErrOut, "no workload is to speak mutual TLS %s\n", where); err != nil {
			return err
		}
	}
	return o.cluster.Gaps.Print(o.ErrOut)
}

// emptied empties a terminal.
const emptied = "\x1b[H\x1b[2J"

// watch shows it whenever it has changed. What fails is told and tried again: a cluster may
// be away for a while.
func (o *Options) watch(ctx context.Context) error {
	tick := time.NewTicker(o.Interval)
	defer tick.Stop()
	var last, lastErr string
	told := false
	for {
		var out bytes.Buffer
		r, err := o.look(ctx, &out)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			if err.Error() != lastErr {
				_, _ = fmt.Fprintln(o.ErrOut, "error:", err)
			}
			lastErr = err.Error()
		case out.String() != last:
			last, lastErr = out.String(), ""
			if err := o.show(last); err != nil {
				return err
			}
			if !told {
				told = true
				if err := o.tell(r); err != nil {
					return err
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// show shows what has changed: in the place of what was there on a terminal, below it
// elsewhere.
func (o *Options) show(text string) error {
	before := ""
	if printers.AllowsColorOutput(o.Out) {
		before = emptied
	}
	_, err := fmt.Fprint(o.Out, before+text)
	return err
}
