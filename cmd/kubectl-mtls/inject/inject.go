// Package inject is the command `kubectl mtls inject`: manifests in, injected manifests
// out, without a cluster. It decides with the same code as the webhook.
package inject

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"example.io/mtls-injector/cmd/kubectl-mtls/offline"
	"example.io/mtls-injector/cmd/kubectl-mtls/steps"
	"example.io/mtls-injector/config"
	"example.io/mtls-injector/intent"
)

// The output formats.
const (
	outputYAML  = "yaml"
	outputJSON  = "json"
	outputPatch = "patch"
)

// Options of the command: first the flags, then what Complete makes of them.
type Options struct {
	Filenames            []string
	Recursive            bool
	Output               string
	Namespace            string
	NamespaceAnnotations []string
	ConfigFile           string
	KubernetesVersion    string
	Quiet                bool

	genericiooptions.IOStreams

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
of a kustomize patch, and the JSON patch (RFC 6902).`

const examples = `  # Inject before applying
  kubectl mtls inject -f deployment.yaml | kubectl apply -f -

  # Inject what Helm renders, with the configuration of the cluster's injector
  helm template shop ./chart | kubectl mtls inject -f - --config injector.yaml -n shop

  # Inject a whole folder, for a namespace that makes its pods clients by default
  kubectl mtls inject -R -f manifests/ --namespace-annotations mtls.example.io/role=client

  # Inject for an older cluster, which has neither sleep actions nor native sidecars
  kubectl mtls inject -f deployment.yaml --kubernetes-version 1.28

  # See what would be changed
  kubectl mtls inject -f pod.yaml -o patch | jq .patch`

// NewCommand returns the command. version is written to the status annotation.
func NewCommand(version string, streams genericiooptions.IOStreams) *cobra.Command {
	o := &Options{Output: outputYAML, IOStreams: streams, version: version}
	cmd := &cobra.Command{
		Use:     "inject -f FILE",
		Short:   "Inject manifests without a cluster",
		Long:    long,
		Example: examples,
		Args:    cobra.NoArgs,
		RunE:    steps.Of(o),
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&o.Filenames, "filename", "f", nil, "file or folder to inject, or - for the standard input; may be repeated")
	flags.BoolVarP(&o.Recursive, "recursive", "R", false, "also take the folders in the folders given with -f")
	flags.StringVarP(&o.Output, "output", "o", o.Output, "output format: yaml, json or patch")
	flags.StringVarP(&o.Namespace, "namespace", "n", "", "namespace of objects that name none (default \"default\"); "+
		"if set, objects of other namespaces are an error")
	flags.StringArrayVar(&o.NamespaceAnnotations, "namespace-annotations", nil,
		"annotation KEY=VALUE of the namespaces, over those of Namespace objects in the input; may be repeated")
	flags.StringVar(&o.ConfigFile, "config", "", "configuration file of the injector; without it, its defaults hold")
	flags.StringVar(&o.KubernetesVersion, "kubernetes-version", "", "version of the cluster that the output is for, such as 1.29; without it, the newest")
	flags.BoolVarP(&o.Quiet, "quiet", "q", false, "do not tell what was done to each pod; warnings and errors stay")
	completeValues(cmd)
	return cmd
}

// completeValues tells the shell what flags take. Cobra's errors are for unknown flags.
func completeValues(cmd *cobra.Command) {
	formats := cobra.FixedCompletions([]string{outputYAML, outputJSON, outputPatch}, cobra.ShellCompDirectiveNoFileComp)
	_ = cmd.RegisterFlagCompletionFunc("output", formats)
	_ = cmd.MarkFlagFilename("filename", extensions()...)
	_ = cmd.MarkFlagFilename("config", extensions()...)
}

// Complete reads the configuration and takes the annotations apart.
func (o *Options) Complete() error {
	defaults, err := config.Load(o.ConfigFile)
	if err != nil {
		return err
	}
	defaults.Version = o.version
	if o.KubernetesVersion != "" {
		if defaults.Kubernetes, err = intent.ParseKubernetesVersion(o.KubernetesVersion); err != nil {
			return fmt.Errorf("--kubernetes-version: %w", err)
		}
	}
	annotations := make(map[string]string, len(o.NamespaceAnnotations))
	for _, annotation := range o.NamespaceAnnotations {
		key, value, found := strings.Cut(annotation, "=")
		if !found || key == "" {
			return fmt.Errorf("--namespace-annotations %q: must be KEY=VALUE", annotation)
		}
		annotations[key] = value
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
	if !slices.Contains([]string{outputYAML, outputJSON, outputPatch}, o.Output) {
		errs = append(errs, fmt.Errorf("--output %q: must be yaml, json or patch", o.Output))
	}
	if o.Namespace != "" && len(validation.IsDNS1123Label(o.Namespace)) > 0 {
		errs = append(errs, fmt.Errorf("--namespace %q: must be the name of a namespace", o.Namespace))
	}
	for _, key := range slices.Sorted(maps.Keys(o.decide.NamespaceAnnotations)) {
		if problems := validation.IsQualifiedName(strings.ToLower(key)); len(problems) > 0 {
			errs = append(errs, fmt.Errorf("--namespace-annotations: key %q: %s", key, strings.Join(problems, "; ")))
		}
	}
	return errors.Join(errs...)
}
