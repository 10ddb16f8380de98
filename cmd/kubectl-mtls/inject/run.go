package inject

import (
	"errors"
	"slices"

	"gomodules.xyz/jsonpatch/v2"

	"example.io/mtls-injector/cmd/kubectl-mtls/files"
	"example.io/mtls-injector/cmd/kubectl-mtls/manifest"
	"example.io/mtls-injector/cmd/kubectl-mtls/offline"
	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

// errNothingPrinted follows the problems on the standard error.
var errNothingPrinted = errors.New("the input is wrong, so nothing was printed")

// Run injects and prints. Its output is all or nothing.
func (o *Options) Run() error { return o.rewrite(&o.Options, o.plan) }

// rewrite reads manifests, has a plan made of them, and prints what comes out if nothing is wrong.
func (p *printer) rewrite(from *files.Options, plan func([]*manifest.Document) ([]change, bool)) error {
	docs, errs := from.Read(p.In)
	for _, err := range errs {
		p.tell("error: %v", err)
	}
	changes, bad := plan(docs)
	if bad || len(errs) > 0 {
		return errNothingPrinted
	}
	return p.print(docs, changes)
}

// change is what has to be done to one pod or template.
type change struct {
	object     *manifest.Object
	path       []string
	operations []jsonpatch.Operation
	// prune takes away what removals leave empty.
	prune bool
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
			o.tell("warning: %s: %s", d.Object.Place(), warning)
		}
		if len(errs) == 0 && !o.Quiet {
			o.tell("%s: %s", d.Object.Place(), outcome(d, &patch))
		}
		if len(patch.Operations) > 0 {
			changes = append(changes, change{object: d.Object, path: d.Path, operations: offline.WithMetadata(d, patch.Operations)})
		}
	}
	return changes, bad
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
