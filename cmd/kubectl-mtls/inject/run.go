package inject

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"gomodules.xyz/jsonpatch/v2"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/cmd/kubectl-mtls/manifest"
	"example.io/mtls-injector/cmd/kubectl-mtls/offline"
	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

// errNothingPrinted follows the problems on the standard error.
var errNothingPrinted = errors.New("the input is wrong, so nothing was printed")

// Run injects and prints. Its output is all or nothing.
func (o *Options) Run() error {
	docs, errs := o.read()
	for _, err := range errs {
		o.tell("error: %v", err)
	}
	changes, bad := o.plan(docs)
	if bad || len(errs) > 0 {
		return errNothingPrinted
	}
	if o.Output == outputPatch {
		return o.printPatches(changes)
	}
	for i := range changes {
		c := &changes[i]
		if err := c.Object.Patch(c.Path, c.operations); err != nil {
			return fmt.Errorf("%s: %w", c.Object.Document, err)
		}
	}
	if o.Output == outputJSON {
		return manifest.WriteJSON(o.Out, docs)
	}
	return manifest.WriteYAML(o.Out, docs)
}

// change is what has to be done to one pod or template.
type change struct {
	offline.Decision
	operations []jsonpatch.Operation
}

// plan decides about every pod and tells so. bad is true if anything is wrong.
func (o *Options) plan(docs []*manifest.Document) (changes []change, bad bool) {
	decisions, problems := offline.Decide(docs, &o.decide)
	for i := range problems {
		o.tellErrors(problems[i].Object, problems[i].Errors)
	}
	bad = len(problems) > 0
	for i := range decisions {
		d := &decisions[i]
		var patch injector.Result
		var odd []string
		errs := d.Errors
		if d.Intent != nil {
			patch = injector.Patch(d.Pod, d.Intent)
			errs = d.Place(patch.Errors)
			odd = intent.Odd(d.Pod, d.Intent)
		}
		o.tellErrors(d.Object, errs)
		bad = bad || len(errs) > 0
		for _, warning := range slices.Concat(d.Warnings, patch.Warnings, odd) {
			o.tell("warning: %s: %s", place(d.Object), warning)
		}
		if len(errs) == 0 && !o.Quiet {
			o.tell("%s: %s", place(d.Object), outcome(d, &patch))
		}
		if len(patch.Operations) > 0 {
			changes = append(changes, change{Decision: *d, operations: withMetadata(d, patch.Operations)})
		}
	}
	return changes, bad
}

// withMetadata makes the metadata that every pod has and a template need not have.
func withMetadata(d *offline.Decision, operations []jsonpatch.Operation) []jsonpatch.Operation {
	if metadata, err := d.Object.JSON(append(slices.Clip(d.Path), "metadata")...); err == nil && metadata != nil && string(metadata) != "null" {
		return operations
	}
	return append([]jsonpatch.Operation{jsonpatch.NewOperation("add", "/metadata", struct{}{})}, operations...)
}

func outcome(d *offline.Decision, patch *injector.Result) string {
	switch {
	case d.Intent == nil:
		return "left alone: " + d.Skip.Explain()
	case len(patch.Operations) == 0:
		return "left alone: it has everything that role " + string(d.Intent.Role) + " gets"
	default:
		return "injected with role " + string(d.Intent.Role)
	}
}

// place names an object for people.
func place(object *manifest.Object) string {
	if object.Path == "" {
		return fmt.Sprintf("%s: %s", object.Document, object)
	}
	return fmt.Sprintf("%s: %s: %s", object.Document, object.Path, object)
}

// tellErrors tells of errors whose paths begin at the document.
func (o *Options) tellErrors(object *manifest.Object, errs field.ErrorList) {
	for _, err := range errs {
		o.tell("error: %s: %s: %v", object.Document, object, err)
	}
}

// tell writes a line to the standard error; where that fails, nobody can be told.
func (o *Options) tell(format string, arguments ...any) {
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

func (o *Options) printPatches(changes []change) error {
	encoder := json.NewEncoder(o.Out)
	encoder.SetEscapeHTML(false)
	for i := range changes {
		c := &changes[i]
		prefix := jsontext.Pointer("")
		for _, name := range c.Path {
			prefix = prefix.AppendToken(name)
		}
		for j := range c.operations {
			c.operations[j].Path = string(prefix) + c.operations[j].Path
		}
		version := schema.FromAPIVersionAndKind(c.Object.APIVersion, c.Object.Kind)
		if err := encoder.Encode(objectPatch{
			File:     c.Object.Document.Source,
			Document: c.Object.Document.Index,
			Target: target{
				Group: version.Group, Version: version.Version, Kind: version.Kind,
				Namespace: c.Object.Namespace, Name: c.Object.Name,
			},
			Patch: c.operations,
		}); err != nil {
			return err
		}
	}
	return nil
}
