package inject

import (
	"errors"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"example.io/mtls-injector/cmd/kubectl-mtls/files"
	"example.io/mtls-injector/cmd/kubectl-mtls/manifest"
	"example.io/mtls-injector/cmd/kubectl-mtls/offline"
	"example.io/mtls-injector/cmd/kubectl-mtls/steps"
	"example.io/mtls-injector/injector"
)

// UninjectOptions of the command `kubectl mtls uninject`.
type UninjectOptions struct {
	files.Options
	printer
}

const uninjectLong = `Take out of pods and pod templates what inject, or the webhook, put in, and print the result. It is the way back of
inject: with manifests that nobody has changed in between, both together change nothing. No cluster is asked, and no
configuration is needed: the annotation mtls.example.io/status tells what was injected, and what stood there before.

The annotations that ask for an injection stay: the webhook would inject the pods again. To opt a workload out, set its
mtls.example.io/role to none, too.

What the pod had of its own is never touched, even where it is just what would have been injected. What was injected and
changed by hand since stays as well, with a warning that tells what it was. What the removal leaves empty goes, too.

Of a pod that was copied from a cluster, what the API server has added stays: only what mtls-injector did is undone.`

const uninjectExamples = `  # Take it out of the manifests again
  kubectl mtls uninject -f injected.yaml > plain.yaml

  # See what would be taken out
  kubectl mtls uninject -f injected.yaml --diff

  # Inject anew, with another configuration
  kubectl mtls uninject -f injected.yaml | kubectl mtls inject -f - --config injector.yaml`

// NewUninjectCommand returns the command `kubectl mtls uninject`.
func NewUninjectCommand(streams genericiooptions.IOStreams) *cobra.Command {
	o := &UninjectOptions{printer: printer{Output: outputYAML, IOStreams: streams}}
	cmd := &cobra.Command{
		Use:     "uninject -f FILE",
		Short:   "Take out of manifests what was injected",
		Long:    uninjectLong,
		Example: uninjectExamples,
		Args:    cobra.NoArgs,
		RunE:    steps.Of(o),
	}
	o.AddFlags(cmd, "take it out of")
	o.addFlags(cmd)
	return cmd
}

// Complete has nothing to do.
func (o *UninjectOptions) Complete() error { return nil }

// Validate checks the flags.
func (o *UninjectOptions) Validate() error {
	var errs []error
	if len(o.Filenames) == 0 {
		errs = append(errs, errors.New("must specify with -f where to take it out"))
	}
	return errors.Join(append(errs, o.validate())...)
}

// Run takes it out and prints. Its output is all or nothing.
func (o *UninjectOptions) Run() error { return o.rewrite(&o.Options, o.plan) }

// plan looks at every pod and tells so. bad is true if anything is wrong.
func (o *UninjectOptions) plan(docs []*manifest.Document) (changes []change, bad bool) {
	found := offline.Find(docs)
	for i := range found {
		f := &found[i]
		if f.Error != nil {
			o.tellErrors(f.Object, field.ErrorList{f.Error})
			bad = true
			continue
		}
		result := injector.Unpatch(f.Pod)
		for _, warning := range result.Warnings {
			o.tell("warning: %s: %s", f.Object.Place(), warning)
		}
		outcome := "left alone: it was not injected"
		if len(result.Operations) > 0 {
			outcome = "taken out"
			changes = append(changes, change{object: f.Object, path: f.Path, operations: result.Operations, prune: true})
		}
		if !o.Quiet {
			o.tell("%s: %s", f.Object.Place(), outcome)
		}
	}
	return changes, bad
}
