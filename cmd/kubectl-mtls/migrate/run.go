package migrate

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/cmd/kubectl-mtls/diff"
	"example.io/mtls-injector/cmd/kubectl-mtls/manifest"
	"example.io/mtls-injector/cmd/kubectl-mtls/offline"
	"example.io/mtls-injector/cmd/kubectl-mtls/steps"
	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

// errNothingPrinted follows the problems on the standard error.
var errNothingPrinted = errors.New("the input is wrong, so nothing was printed")

// migration is the state of one run.
type migration struct {
	*Options
	known *known
	docs  []*manifest.Document
	found []offline.Found
	plans []*plan
	// dropped are the documents that go.
	dropped []*manifest.Document
}

// Run migrates and prints.
func (o *Options) Run() error {
	docs, errs := o.Read(o.In)
	m := &migration{Options: o, known: &known{defaults: o.defaults, namespace: o.Namespace}, docs: docs, found: offline.Find(docs)}
	errs = append(errs, m.known.learn(docs)...)
	for i := range m.found {
		if err := m.found[i].Error; err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m.found[i].Object.Place(), err))
		}
	}
	if len(errs) > 0 {
		for _, err := range errs {
			o.tell("error: %v", err)
		}
		return errNothingPrinted
	}
	before, err := diff.Texts(docs)
	if err != nil {
		return err
	}
	if err := m.migrate(); err != nil {
		return err
	}
	m.dropCertificates()
	if err := m.print(before); err != nil {
		return err
	}
	return m.outcome()
}

// tell writes a line to the standard error; where that fails, nobody can be told.
func (o *Options) tell(format string, arguments ...any) {
	_, _ = fmt.Fprintf(o.ErrOut, format+"\n", arguments...)
}

// migrate makes a plan for each pod, proves it, and carries it out.
func (m *migration) migrate() error {
	for i := range m.found {
		p := newPlan(&m.found[i], m.known)
		m.plans = append(m.plans, p)
		if len(p.keys) == 0 {
			m.hint(p)
			continue
		}
		p.decide()
		operations, err := m.prove(i, p)
		if err != nil {
			return fmt.Errorf("%s: %w", p.found.Object.Place(), err)
		}
		if len(p.cannot) == 0 {
			if err := change(p.found, operations); err != nil {
				return fmt.Errorf("%s: %w", p.found.Object.Place(), err)
			}
		}
		m.report(p)
	}
	return nil
}

// prove finds out on copies whether the migrated pod is injected to what it had: first which
// names it gets by itself, then with what is to be taken out. What stands in the way is in
// the plan afterwards.
func (m *migration) prove(i int, p *plan) ([]jsonpatch.Operation, error) {
	p.reduceVolumes()
	in, err := m.tryNames(i, p)
	if err != nil || in == nil {
		return nil, err
	}
	p.decideNames(in)
	p.reduce(in)
	operations := slices.Concat(p.addAnnotations(), p.operations)
	if in, err = m.try(i, p, operations); err != nil || in == nil {
		return nil, err
	}
	p.checkFolders(in)
	return operations, nil
}

// tryNames decides by what names depend on only, so that the rest is found wrong together.
func (m *migration) tryNames(i int, p *plan) (*intent.Intent, error) {
	least := *p
	least.annotations = map[string]string{}
	for _, key := range []string{"role", "delivery", "mount-path", "containers"} {
		if value, found := p.annotations[intent.Prefix+key]; found {
			least.annotations[intent.Prefix+key] = value
		}
	}
	in, err := m.try(i, &least, slices.Concat(least.addAnnotations(), p.operations))
	p.cannot = least.cannot
	return in, err
}

// try makes the changes on a copy and decides about it. The intent is nil if the pod would
// not be injected.
func (m *migration) try(i int, p *plan, operations []jsonpatch.Operation) (*intent.Intent, error) {
	docs, err := copyOf(m.docs)
	if err != nil {
		return nil, err
	}
	if err := change(&offline.Find(docs)[i], operations); err != nil {
		return nil, err
	}
	decisions, problems := offline.Decide(docs, &offline.Options{
		Defaults: m.defaults, Namespace: m.Namespace, NamespaceAnnotations: m.annotations,
	})
	for j := range problems {
		p.refuseAll(problems[j].Errors)
	}
	d := &decisions[i]
	p.refuseAll(d.Errors)
	if d.Intent == nil {
		if d.Skip != "" {
			p.refuse("it would be left alone: " + d.Skip.Explain())
		}
		return nil, nil
	}
	p.refuseAll(d.Place(injector.Patch(d.Pod, d.Intent).Errors))
	return d.Intent, nil
}

func (p *plan) refuseAll(errs field.ErrorList) {
	for _, err := range errs {
		p.refuse(err.Error())
	}
}

// checkFolders holds the injection to what the containers had.
func (p *plan) checkFolders(in *intent.Intent) {
	folders, _ := injector.FoldersOf(in)
	for _, h := range p.keys {
		for container, paths := range h.mounts {
			for _, at := range paths {
				if !slices.Contains(folders, at) || !in.Containers.Includes(container) {
					p.refuse("container " + strconv.Quote(container) + " would not have its key pair at " + at)
				}
			}
		}
	}
}

func change(f *offline.Found, operations []jsonpatch.Operation) error {
	if len(operations) == 0 {
		return nil
	}
	operations = offline.WithMetadata(&offline.Decision{Object: f.Object, Path: f.Path}, operations)
	if err := f.Object.Patch(f.Path, operations); err != nil {
		return err
	}
	_, err := f.Object.Prune(f.Path, operations)
	return err
}

// copyOf reads the documents once more.
func copyOf(docs []*manifest.Document) ([]*manifest.Document, error) {
	var all []*manifest.Document
	for _, d := range docs {
		text, err := d.Text()
		if err != nil {
			return nil, err
		}
		read, errs := manifest.Read(d.Source, []byte(text))
		if len(errs) > 0 {
			return nil, errs[0]
		}
		all = append(all, read...)
	}
	return all, nil
}

// hint tells of Secrets of which nobody knows what is in them.
func (m *migration) hint(p *plan) {
	for i := range p.found.Pod.Spec.Volumes {
		v := &p.found.Pod.Spec.Volumes[i]
		if v.Secret != nil && (strings.Contains(v.Secret.SecretName+v.Name, "tls") || strings.Contains(v.Secret.SecretName+v.Name, "cert")) {
			m.tell("%s: volume %q stays: no Certificate of the input makes Secret %s; give it, too, if there is one",
				p.found.Object.Place(), v.Name, v.Secret.SecretName)
		}
	}
}

// report tells what was found and what is to be done.
func (m *migration) report(p *plan) {
	verdict := "migrated"
	if len(p.cannot) > 0 {
		verdict = "left as it is"
	}
	m.tell("%s: %s", p.found.Object.Place(), verdict)
	for _, key := range sortedKeys(p.annotations) {
		m.tell("  %s: %q", key, p.annotations[key])
	}
	for _, text := range unique(p.cannot) {
		m.tell("  in the way: %s", text)
	}
	for _, text := range unique(p.notes) {
		m.tell("  note: %s", text)
	}
}

func unique(texts []string) []string {
	var out []string
	for _, text := range texts {
		if !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return out
}

// dropCertificates drops those whose Secrets nothing in the input uses any more.
func (m *migration) dropCertificates() {
	for i := range m.known.certificates {
		c := &m.known.certificates[i]
		if !m.wasMounted(c) {
			continue
		}
		switch user := m.userOf(c); {
		case user != "":
			m.tell("%s: stays, for %s uses its Secret %s", c.object.Place(), user, c.Spec.SecretName)
		case c.object.Path != "":
			m.tell("%s: nothing in the input uses its Secret %s any more: take it out of the list", c.object.Place(), c.Spec.SecretName)
		default:
			m.tell("%s: goes, for nothing in the input uses its Secret %s any more", c.object.Place(), c.Spec.SecretName)
			m.dropped = append(m.dropped, c.object.Document)
		}
	}
}

// wasMounted reports whether a pod that was migrated mounted the Secret.
func (m *migration) wasMounted(c *certificate) bool {
	return slices.ContainsFunc(m.plans, func(p *plan) bool {
		return len(p.cannot) == 0 && p.namespace() == c.namespace && slices.Contains(p.secrets, c.Spec.SecretName)
	})
}

// userOf names an object that uses the Secret.
func (m *migration) userOf(c *certificate) string {
	for _, d := range m.docs {
		for _, o := range d.Objects() {
			isItself := o.Kind == c.object.Kind && o.Name == c.Name && o.Group() == c.object.Group()
			if !isItself && m.known.namespaceOf(o) == c.namespace && refers(o, c.Spec.SecretName) {
				return o.String()
			}
		}
	}
	return ""
}

// print prints what has become of the documents.
func (m *migration) print(before []string) error {
	isDropped := func(d *manifest.Document) bool { return slices.Contains(m.dropped, d) }
	if m.Output == outputYAML {
		return manifest.WriteYAML(m.Out, slices.DeleteFunc(slices.Clone(m.docs), isDropped))
	}
	for i, d := range m.docs {
		after, err := d.Text()
		if err != nil {
			return err
		}
		to := d.String() + ", migrated"
		if isDropped(d) {
			after, to = "", "/dev/null"
		}
		text, err := diff.Unified(d.String(), to, before[i], after)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(m.Out, text); err != nil {
			return err
		}
	}
	return nil
}

// outcome is a no where something could not be migrated.
func (m *migration) outcome() error {
	tried, failed := 0, 0
	for _, p := range m.plans {
		if len(p.keys) > 0 {
			tried++
		}
		if len(p.cannot) > 0 {
			failed++
		}
	}
	switch {
	case failed > 0:
		return &steps.ExitError{Code: steps.ExitNo, Message: fmt.Sprintf("%d of %d could not be migrated", failed, tried)}
	case tried == 0:
		m.tell("nothing was found that is done by hand: no volume of a Certificate's Secret, none of the CSI driver")
	}
	return nil
}
