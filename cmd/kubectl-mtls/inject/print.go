package inject

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
	"gomodules.xyz/jsonpatch/v2"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"example.io/mtls-injector/cmd/kubectl-mtls/diff"
	"example.io/mtls-injector/cmd/kubectl-mtls/manifest"
)

// The output formats.
const (
	outputYAML  = "yaml"
	outputJSON  = "json"
	outputPatch = "patch"
)

func outputs() []string { return []string{outputYAML, outputJSON, outputPatch} }

// printer tells what was done and prints what has become of the documents.
type printer struct {
	Output string
	Diff   bool
	Quiet  bool

	genericiooptions.IOStreams
}

func (o *printer) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&o.Output, "output", "o", o.Output, "output format: yaml, json or patch")
	flags.BoolVar(&o.Diff, "diff", false, "print what would change, as a unified diff of the manifests, in place of the manifests")
	flags.BoolVarP(&o.Quiet, "quiet", "q", false, "do not tell what was done to each pod; warnings and errors stay")
	cmd.MarkFlagsMutuallyExclusive("diff", "output")
	formats := cobra.FixedCompletions(outputs(), cobra.ShellCompDirectiveNoFileComp)
	_ = cmd.RegisterFlagCompletionFunc("output", formats) // its error is for unknown flags
}

// validate checks the output's flags.
func (o *printer) validate() error {
	if !slices.Contains(outputs(), o.Output) {
		return fmt.Errorf("--output %q: must be yaml, json or patch", o.Output)
	}
	return nil
}

// print makes the changes and prints the documents, or what the flags ask for.
func (o *printer) print(docs []*manifest.Document, changes []change) error {
	var before []string
	var err error
	if o.Diff {
		if before, err = diff.Texts(docs); err != nil {
			return err
		}
	}
	for i := range changes {
		if err := changes[i].make(); err != nil {
			return fmt.Errorf("%s: %w", changes[i].object.Document, err)
		}
	}
	switch {
	case o.Diff:
		return diff.Documents(o.Out, docs, before)
	case o.Output == outputPatch:
		return o.printPatches(changes)
	case o.Output == outputJSON:
		return manifest.WriteJSON(o.Out, docs)
	default:
		return manifest.WriteYAML(o.Out, docs)
	}
}

// make changes the document.
func (c *change) make() error {
	if err := c.object.Patch(c.path, c.operations); err != nil || !c.prune {
		return err
	}
	pruned, err := c.object.Prune(c.path, c.operations)
	c.operations = append(c.operations, pruned...)
	return err
}

// tellErrors tells of errors whose paths begin at the document.
func (o *printer) tellErrors(object *manifest.Object, errs field.ErrorList) {
	for _, err := range errs {
		o.tell("error: %s: %s: %v", object.Document, object, err)
	}
}

// tell writes a line to the standard error; where that fails, nobody can be told.
func (o *printer) tell(format string, arguments ...any) {
	_, _ = fmt.Fprintf(o.ErrOut, format+"\n", arguments...)
}

// objectPatch is a line of -o patch.
type objectPatch struct {
	File     string                `json:"file"`
	Document int                   `json:"document"`
	Target   target                `json:"target"`
	Patch    []jsonpatch.Operation `json:"patch"`
}

// target selects an object as the patches of a kustomization do.
type target struct {
	Group     string `json:"group,omitempty"`
	Version   string `json:"version,omitempty"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
}

func (o *printer) printPatches(changes []change) error {
	encoder := json.NewEncoder(o.Out)
	encoder.SetEscapeHTML(false)
	for i := range changes {
		c := &changes[i]
		prefix := jsontext.Pointer("")
		for _, name := range c.path {
			prefix = prefix.AppendToken(name)
		}
		for j := range c.operations {
			c.operations[j].Path = string(prefix) + c.operations[j].Path
		}
		version := schema.FromAPIVersionAndKind(c.object.APIVersion, c.object.Kind)
		if err := encoder.Encode(objectPatch{
			File:     c.object.Document.Source,
			Document: c.object.Document.Index,
			Target: target{
				Group: version.Group, Version: version.Version, Kind: version.Kind,
				Namespace: c.object.Namespace, Name: c.object.Name,
			},
			Patch: c.operations,
		}); err != nil {
			return err
		}
	}
	return nil
}
