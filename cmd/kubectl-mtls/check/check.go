// Package check is the command `kubectl mtls check`: whether all that pods with mutual TLS
// need is there, before and after installing.
//
// table.go lists the checks; site.go is what they look at; the other files have them by
// subject. None of them writes anything: what is created is created as a dry run.
package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/discovery"

	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
	"example.io/mtls-injector/cmd/kubectl-mtls/steps"
)

// Options of the command: first the flags, then what Complete makes of them.
type Options struct {
	*kube.Flags

	Pre    bool
	Only   []string
	Output string

	genericiooptions.IOStreams

	version string
	cluster *kube.Cluster
	server  server
	now     func() time.Time
}

const long = `Check whether all that pods with mutual TLS need is there: Kubernetes, cert-manager and its approver, the CSI driver on
every node, trust-manager, the issuer and the CA bundle, and the injector itself, up to a pod that comes out injected.
What is wrong is told with why it matters and what to do. Each check ends with ok, warning, failure, or not known: what
you may not see, with the rule that would show it.

With --pre only that is checked which must be there before the chart is installed; nothing of ours need be.

Nothing is changed: a Certificate and a pod are created as dry runs on the server, the pod in the namespace of -n if that
is opted in, else in the first one that is.

The exit code is 0 if there is no failure, 2 if there is one, and 1 if nothing could be checked.`

const examples = `  # Before installing
  kubectl mtls check --pre

  # After it
  kubectl mtls check

  # With the eyes of a namespace's user
  kubectl mtls check -n shop

  # Some of the checks, with all that they have found
  kubectl mtls check --only issuer,bundle -o wide

  # What fails, for a script
  kubectl mtls check -o json | jq -r '.checks[] | select(.status == "failure") | .name'`

// NewCommand returns the command. version is the plugin's.
func NewCommand(version string, streams genericiooptions.IOStreams) *cobra.Command {
	o := &Options{Flags: kube.NewFlags(), IOStreams: streams, version: version, now: time.Now}
	cmd := &cobra.Command{
		Use:     "check",
		Short:   "Check whether the cluster has all that is needed",
		Long:    long,
		Example: examples,
		Args:    cobra.NoArgs,
		RunE:    steps.OnCluster(o),
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.Pre, "pre", false, "check what must be there before the injector is installed")
	flags.StringSliceVar(&o.Only, "only", nil, "names of the checks to make; all without it")
	flags.StringVarP(&o.Output, "output", "o", "", "output format: wide, json or yaml; without it, a line for each check")
	o.AddFlags(flags)
	kube.CompleteFlags(cmd, o.Flags, kube.OutputWide, kube.OutputJSON, kube.OutputYAML)
	_ = cmd.RegisterFlagCompletionFunc("only", cobra.FixedCompletions(names(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func names() []string {
	all := make([]string, len(checks))
	for i := range checks {
		all[i] = checks[i].name
	}
	return all
}

// Complete connects.
func (o *Options) Complete([]string) (err error) {
	if o.cluster, err = o.Connect(); err != nil {
		return err
	}
	client, err := discovery.NewDiscoveryClientForConfig(o.cluster.Config)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	o.server = discovered{client}
	return nil
}

// Validate checks the flags.
func (o *Options) Validate() error {
	errs := []error{kube.CheckOutput(o.Output, kube.OutputWide, kube.OutputJSON, kube.OutputYAML)}
	for _, name := range o.Only {
		if lookup(name) == nil {
			errs = append(errs, fmt.Errorf("--only %q: must be of %s", name, strings.Join(names(), ", ")))
		}
	}
	return errors.Join(errs...)
}

func lookup(name string) *check {
	for i := range checks {
		if checks[i].name == name {
			return &checks[i]
		}
	}
	return nil
}

// discovered asks the API server.
type discovered struct{ discovery.DiscoveryInterface }

func (d discovered) Version() (string, error) {
	info, err := d.ServerVersion()
	if err != nil {
		return "", err
	}
	return info.GitVersion, nil
}

func (d discovered) Groups() ([]string, error) {
	list, err := d.ServerGroups()
	if err != nil {
		return nil, err
	}
	var groups []string
	for i := range list.Groups {
		groups = append(groups, list.Groups[i].Name)
	}
	return groups, nil
}

// Run makes the checks and tells what they have found.
func (o *Options) Run(ctx context.Context) error {
	if _, err := o.server.Version(); err != nil {
		return fmt.Errorf("the API server cannot be reached: %w", err)
	}
	r := o.check(ctx)
	if err := o.print(r); err != nil {
		return err
	}
	if r.Failures > 0 {
		return &steps.ExitError{Code: steps.ExitNo}
	}
	return nil
}

func (o *Options) check(ctx context.Context) *Report {
	s := &site{Cluster: o.cluster, server: o.server, version: o.version, now: o.now()}
	s.learn(ctx)
	r := &Report{}
	for i := range checks {
		if c := &checks[i]; o.wants(c) {
			r.add(c, c.run(s, ctx))
		}
	}
	return r
}

func (o *Options) wants(c *check) bool {
	if len(o.Only) > 0 {
		return slices.Contains(o.Only, c.name)
	}
	if o.Pre {
		return c.when&before != 0
	}
	return c.when&after != 0
}
