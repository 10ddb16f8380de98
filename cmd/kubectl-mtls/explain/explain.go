// Package explain is the command `kubectl mtls explain`: what a pod gets and why, told by the
// code that decides it in the cluster.
//
// report.go makes the report of manifests, cluster.go makes manifests of what is in a
// cluster, text.go prints.
package explain

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"example.io/mtls-injector/cmd/kubectl-mtls/files"
	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
	"example.io/mtls-injector/cmd/kubectl-mtls/offline"
	"example.io/mtls-injector/cmd/kubectl-mtls/steps"
	"example.io/mtls-injector/intent"
)

// Options of the command: first the flags, then what Complete makes of them.
type Options struct {
	*kube.Flags
	files.Options

	NamespaceAnnotations []string
	KubernetesVersion    string
	Output               string

	genericiooptions.IOStreams

	version     string
	names       []string
	annotations map[string]string
}

const long = `Tell what pods get and why: one line for each decision with where it comes from, the changes that an injection makes as
a diff, warnings, and what is refused with what to do about it. It decides with the code of the webhook.

POD is a pod of the namespace, KIND/NAME a workload or any other object with a pod template. Its namespace's annotations
and Services and the injector's configuration are read from the cluster, with your own rights. What you may not read is
told, with the rule (verb, resource, namespace) that would show it, and the answer may be another one then.

Of a pod that was injected it tells what it got then, from its status annotation and its own spec, and what would be
different if it was created now.

With -f, manifests are explained and no cluster is asked: Namespaces and Services are taken from the same input, the
configuration is that of --config, as with inject.

FROM says where a value comes from: an annotation of the pod or its namespace, the configuration, the Services that
select the pod, the pod's own spec, or the default of an empty configuration.

The exit code is 0 when the pods would be injected or left alone, 2 when one would be refused, and 1 when it cannot be
told.`

const examples = `  # What a workload's pods get, and why
  kubectl mtls explain deployment/web

  # What a running pod got, and what it would get now
  kubectl mtls explain web-5d9c7f8b6d-x7k2p -n shop

  # Before applying, without a cluster
  kubectl mtls explain -f deployment.yaml --config injector.yaml

  # One decision, for a script
  kubectl mtls explain deploy/web -o json | jq -r '.pods[].decisions[] | select(.key == "issuer").value'`

// NewCommand returns the command. version is written to the status annotation of the patch.
func NewCommand(version string, streams genericiooptions.IOStreams) *cobra.Command {
	o := &Options{Flags: kube.NewFlags(), IOStreams: streams, version: version}
	cmd := &cobra.Command{
		Use:     "explain (POD | KIND/NAME ... | -f FILE)",
		Short:   "Tell what a pod gets and why",
		Long:    long,
		Example: examples,
		RunE:    steps.OnCluster(o),
	}
	o.Options.AddFlags(cmd, "explain")
	flags := cmd.Flags()
	flags.StringArrayVar(&o.NamespaceAnnotations, "namespace-annotations", nil,
		"with -f: annotation KEY=VALUE of the namespaces, over those of Namespace objects in the input; may be repeated")
	flags.StringVar(&o.KubernetesVersion, "kubernetes-version", "",
		"with -f: version of the cluster that the manifests are for, such as 1.29; without it, the newest")
	flags.StringVarP(&o.Output, "output", "o", "", "output format: json or yaml; without it, text")
	o.Flags.AddFlags(flags)
	kube.CompleteFlags(cmd, o.Flags, kube.OutputJSON, kube.OutputYAML)
	cmd.ValidArgsFunction = o.completeNames
	return cmd
}

// Complete takes the arguments apart.
func (o *Options) Complete(args []string) (err error) {
	o.names = args
	o.annotations, err = offline.ParseAnnotations(o.NamespaceAnnotations)
	return err
}

// Validate checks arguments and flags.
func (o *Options) Validate() error {
	errs := []error{kube.CheckOutput(o.Output, kube.OutputJSON, kube.OutputYAML)}
	switch {
	case len(o.names) == 0 && len(o.Filenames) == 0:
		errs = append(errs, errors.New("must name a POD or KIND/NAME, or manifests with -f"))
	case len(o.names) > 0 && len(o.Filenames) > 0:
		errs = append(errs, errors.New("names are of the cluster and -f is without one: give either"))
	case len(o.names) > 0 && len(o.annotations) > 0:
		errs = append(errs, errors.New("--namespace-annotations goes with -f only: those of the cluster are read"))
	case len(o.names) > 0 && o.KubernetesVersion != "":
		errs = append(errs, errors.New("--kubernetes-version goes with -f only: the cluster is asked for its version"))
	}
	return errors.Join(append(errs, offline.CheckAnnotations(o.annotations)...)...)
}

// Run makes the report and prints it.
func (o *Options) Run(ctx context.Context) error {
	look := o.online
	if len(o.Filenames) > 0 {
		look = o.offline
	}
	report, errs := look(ctx)
	for _, err := range errs {
		_, _ = fmt.Fprintf(o.ErrOut, "error: %v\n", err)
	}
	if report != nil {
		if err := o.print(report); err != nil {
			return err
		}
	}
	if len(errs) > 0 {
		return errors.New("not everything could be explained")
	}
	return refused(report)
}

// refused ends the command with a no if a pod would be refused.
func refused(report *Report) error {
	count := 0
	for i := range report.Pods {
		if report.Pods[i].Outcome == OutcomeRefused {
			count++
		}
	}
	if count == 0 {
		return nil
	}
	return &steps.ExitError{Code: steps.ExitNo, Message: fmt.Sprintf("%d of %d would be refused", count, len(report.Pods))}
}

// offline explains manifests.
func (o *Options) offline(context.Context) (*Report, []error) {
	defaults, err := offline.LoadDefaults(o.ConfigFile, o.version, o.KubernetesVersion)
	if err != nil {
		return nil, []error{err}
	}
	report := &Report{Configuration: "file " + o.ConfigFile}
	if o.ConfigFile == "" {
		report.Configuration = "the built-in defaults; --config names the injector's"
	}
	docs, errs := o.Read(o.In)
	if len(errs) > 0 {
		return nil, errs
	}
	e := explainer{
		options:  offline.Options{Defaults: defaults, Namespace: *o.Namespace, NamespaceAnnotations: o.annotations},
		remedies: remedies(),
		notAsked: func(ns *intent.Namespace) string { return notOptedIn(defaults, ns, false) },
	}
	report.Pods, errs = e.explain(docs)
	if len(report.Pods) == 0 && len(errs) == 0 {
		errs = append(errs, errors.New("there is no pod and no pod template in the input"))
	}
	return report, errs
}
