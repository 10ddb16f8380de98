// Package migrate is the command `kubectl mtls migrate`: a manifest that does by hand what
// mtls-injector does comes in, and one with annotations comes out.
//
// ask.go reads what certificates ask for, plan.go finds what is done by hand in a pod,
// certificate.go and reduce.go make annotations of it, and run.go proves the result: it is
// injected, and must have its files where the program expects them.
package migrate

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"example.io/mtls-injector/cmd/kubectl-mtls/files"
	"example.io/mtls-injector/cmd/kubectl-mtls/offline"
	"example.io/mtls-injector/cmd/kubectl-mtls/steps"
	"example.io/mtls-injector/config"
	"example.io/mtls-injector/intent"
)

// The output formats.
const (
	outputDiff = "diff"
	outputYAML = "yaml"
)

// Options of the command: first the flags, then what Complete makes of them.
type Options struct {
	files.Options

	Output               string
	Namespace            string
	NamespaceAnnotations []string
	ConfigFile           string

	genericiooptions.IOStreams

	defaults    *intent.Defaults
	annotations map[string]string
}

const long = `Propose annotations for manifests that do mutual TLS by hand: Certificates, volumes of their Secrets or of cert-manager's
CSI driver, mounts, environment variables and preStop hooks. What an injection does by itself is taken out, and the rest
stays as it is. The standard error tells, for each workload, what was found and what becomes otherwise.

Nothing is dropped that is not understood. A workload is migrated as a whole or not at all: where something has no
annotation, such as a keystore or a mount by subPath, it is left as it is, with what stands in the way and what to change.
The result is proved before it is printed: it is injected, with the configuration given, and must have its key pair where
the program reads it.

Give all manifests that belong together: the Certificates that make the Secrets, and the Services that select the pods, as
their names need no annotation. A Certificate goes when nothing in the input uses its Secret any more; what else in the
cluster uses it is for you to know.

The exit code is 0 when all that was found could be migrated, 2 when something could not, and 1 when the input is wrong.`

const examples = `  # See what would become of a manifest
  kubectl mtls migrate -f shop.yaml

  # Write it
  kubectl mtls migrate -f shop.yaml -o yaml > shop-annotated.yaml

  # Ask the cluster's injector's configuration, and see what the result gets
  kubectl mtls migrate -f shop.yaml --config injector.yaml -o yaml | kubectl mtls explain -f - --config injector.yaml`

// NewCommand returns the command.
func NewCommand(streams genericiooptions.IOStreams) *cobra.Command {
	o := &Options{Output: outputDiff, IOStreams: streams}
	cmd := &cobra.Command{
		Use:     "migrate -f FILE",
		Short:   "Turn hand-made Certificates, volumes and mounts into annotations",
		Long:    long,
		Example: examples,
		Args:    cobra.NoArgs,
		RunE:    steps.Of(o),
	}
	o.AddFlags(cmd, "migrate")
	flags := cmd.Flags()
	flags.StringVarP(&o.Output, "output", "o", o.Output, "output format: diff or yaml")
	flags.StringVarP(&o.Namespace, "namespace", "n", "", "namespace of objects that name none (default \"default\")")
	flags.StringArrayVar(&o.NamespaceAnnotations, "namespace-annotations", nil,
		"annotation KEY=VALUE of the namespaces, over those of Namespace objects in the input; may be repeated")
	flags.StringVar(&o.ConfigFile, "config", "", "configuration file of the injector; without it, its defaults hold")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{outputDiff, outputYAML}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagFilename("config", files.Extensions()...)
	return cmd
}

// Complete reads the configuration and takes the annotations apart.
func (o *Options) Complete() (err error) {
	if o.defaults, err = config.Load(o.ConfigFile); err != nil {
		return err
	}
	o.annotations, err = offline.ParseAnnotations(o.NamespaceAnnotations)
	return err
}

// Validate checks the flags.
func (o *Options) Validate() error {
	var errs []error
	if len(o.Filenames) == 0 {
		errs = append(errs, errors.New("must specify what to migrate with -f"))
	}
	if !slices.Contains([]string{outputDiff, outputYAML}, o.Output) {
		errs = append(errs, fmt.Errorf("--output %q: must be diff or yaml", o.Output))
	}
	if o.Namespace != "" && len(validation.IsDNS1123Label(o.Namespace)) > 0 {
		errs = append(errs, fmt.Errorf("--namespace %q: must be the name of a namespace", o.Namespace))
	}
	return errors.Join(append(errs, offline.CheckAnnotations(o.annotations)...)...)
}
