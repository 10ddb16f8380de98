// Package inject is the command `kubectl mtls inject`: manifests in, injected manifests
// out, without a cluster. It decides with the same code as the webhook.
package inject

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"example.io/mtls-injector/cmd/kubectl-mtls/files"
	"example.io/mtls-injector/cmd/kubectl-mtls/offline"
	"example.io/mtls-injector/cmd/kubectl-mtls/steps"
)

// Options of the command: first the flags, then what Complete makes of them.
type Options struct {
	files.Options
	printer
	Namespace            string
	NamespaceAnnotations []string
	ConfigFile           string
	KubernetesVersion    string

	version string
	decide  offline.Options
}

const long = `Write volumes, mounts, environment and hooks into the pods and pod templates of manifests, as the webhook does at
admission, and print the result. No cluster is asked: the annotations of namespaces and the Services that select
pods are taken from the same input, the rest from the injector's configuration file.

Served are Pods, PodTemplates, CronJobs, every kind that keeps a pod template below spec.template (Deployments,
StatefulSets, DaemonSets, ReplicaSets, ReplicationControllers, Jobs, Argo Rollouts and other custom workloads), and lists
of these. Everything else is passed on. Documents keep their order, and those that need no change are printed as they
were read. Changed ones keep the order of their fields and most comments; anchors are written out.

If anything in the input is wrong, every problem goes to the standard error with file, document and field, nothing is
printed, and the exit code is 1. So nothing half injected can be applied. Warnings and one line for each pod or template
go to the standard error, too.

The output can be given to inject again, and to a cluster with the webhook: what is there already stays as it is.

With -o patch, one line of JSON is printed for each object that has to change: its file, document and target in the form
of a kustomize patch, and the JSON patch (RFC 6902). With --diff, what would change is printed as a unified diff; what is
only written another way, such as blank lines, is no difference.`

const examples = `  # Inject before applying
  kubectl mtls inject -f deployment.yaml | kubectl apply -f -

  # Inject what Helm renders, with the configuration of the cluster's injector
  helm template shop ./chart | kubectl mtls inject -f - --config injector.yaml -n shop

  # Inject a whole folder, for a namespace that makes its pods clients by default
  kubectl mtls inject -R -f manifests/ --namespace-annotations mtls.example.io/role=client

  # Inject for an older cluster, which has neither sleep actions nor native sidecars
  kubectl mtls inject -f deployment.yaml --kubernetes-version 1.28

  # See what would be changed
  kubectl mtls inject -f pod.yaml --diff
  kubectl mtls inject -f pod.yaml -o patch | jq .patch`

// NewCommand returns the command. version is written to the status annotation.
func NewCommand(version string, streams genericiooptions.IOStreams) *cobra.Command {
	o := &Options{printer: printer{Output: outputYAML, IOStreams: streams}, version: version}
	cmd := &cobra.Command{
		Use:     "inject -f FILE",
		Short:   "Inject manifests without a cluster",
		Long:    long,
		Example: examples,
		Args:    cobra.NoArgs,
		RunE:    steps.Of(o),
	}
	flags := cmd.Flags()
	o.AddFlags(cmd, "inject")
	flags.StringVarP(&o.Namespace, "namespace", "n", "", "namespace of objects that name none (default \"default\"); "+
		"if set, objects of other namespaces are an error")
	flags.StringArrayVar(&o.NamespaceAnnotations, "namespace-annotations", nil,
		"annotation KEY=VALUE of the namespaces, over those of Namespace objects in the input; may be repeated")
	flags.StringVar(&o.ConfigFile, "config", "", "configuration file of the injector; without it, its defaults hold")
	flags.StringVar(&o.KubernetesVersion, "kubernetes-version", "", "version of the cluster that the output is for, such as 1.29; without it, the newest")
	o.addFlags(cmd)
	_ = cmd.MarkFlagFilename("config", files.Extensions()...) // its error is for unknown flags
	return cmd
}

// Complete reads the configuration and takes the annotations apart.
func (o *Options) Complete() error {
	defaults, err := offline.LoadDefaults(o.ConfigFile, o.version, o.KubernetesVersion)
	if err != nil {
		return err
	}
	annotations, err := offline.ParseAnnotations(o.NamespaceAnnotations)
	if err != nil {
		return err
	}
	o.decide = offline.Options{Defaults: defaults, Namespace: o.Namespace, NamespaceAnnotations: annotations}
	return nil
}

// Validate checks the flags.
func (o *Options) Validate() error {
	var errs []error
	if len(o.Filenames) == 0 {
		errs = append(errs, errors.New("must specify what to inject with -f"))
	}
	if err := o.validate(); err != nil {
		errs = append(errs, err)
	}
	if o.Namespace != "" && len(validation.IsDNS1123Label(o.Namespace)) > 0 {
		errs = append(errs, fmt.Errorf("--namespace %q: must be the name of a namespace", o.Namespace))
	}
	errs = append(errs, offline.CheckAnnotations(o.decide.NamespaceAnnotations)...)
	return errors.Join(errs...)
}
