package injector

import (
	"strconv"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/intent"
)

// patch is the state of one [Patch]: what is wanted, and what that has come to so far.
//
// The API server waits for us, and most calls are for pods of usual size. So the wanted
// things live in arrays of this one allocation, and short texts share one buffer.
type patch struct {
	pod  *intent.Pod
	in   *intent.Intent
	path folders

	// served are the containers that get the files.
	served []target
	// volumes and mounts are what the pod and each served container must have.
	volumes []volume
	mounts  []mount

	// before is what the pod had of its own, for [Undo].
	before Before

	ops      []jsonpatch.Operation
	warnings []string
	errors   field.ErrorList

	text strings.Builder
	room struct {
		served     [8]target
		volumes    [2]volume
		mounts     [maxMounts]mount
		attributes [maxAttributes]attribute
		variables  [variableCount]variable
		status     [768]byte
	}
}

// target is a container that gets the files.
type target struct {
	*intent.Container
	// path is the container's JSON pointer.
	path string
	// list is the name of the list in which it stands, and index its place there.
	list  string
	index int
}

// The lists of the pod's containers.
const (
	initContainers = "initContainers"
	containers     = "containers"
)

func newPatch(pod *intent.Pod, in *intent.Intent) *patch {
	p := &patch{pod: pod, in: in, path: foldersOf(in)}
	p.text.Grow(1024)
	p.served, p.volumes, p.mounts = p.room.served[:0], p.room.volumes[:0], p.room.mounts[:0]
	p.serve(initContainers, pod.Spec.InitContainers)
	p.serve(containers, pod.Spec.Containers)
	if len(p.served) == 0 {
		p.errors = append(p.errors, nothingSelected(pod, &in.Containers))
	}
	return p
}

func (p *patch) serve(list string, all []intent.Container) {
	for i := range all {
		if !all[i].IsAgent() && p.in.Containers.Includes(all[i].Name) {
			path := p.join("/spec/", list, "/", strconv.Itoa(i))
			p.served = append(p.served, target{Container: &all[i], path: path, list: list, index: i})
		}
	}
}

func nothingSelected(pod *intent.Pod, selection *intent.Selection) *field.Error {
	var names []string
	for _, list := range [][]intent.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			names = append(names, list[i].Name)
		}
	}
	detail := "every container is left out by " + intent.Prefix + "exclude-containers or the configuration: name those that get the files in " +
		intent.Prefix + "containers"
	if len(selection.Only) > 0 {
		detail = "no container has a name of " + intent.Prefix + "containers: " + strings.Join(selection.Only, ", ")
	}
	return field.Invalid(field.NewPath("spec", containers), strings.Join(names, ", "), detail)
}

// field returns the container's path for an error.
func (t *target) field() *field.Path { return field.NewPath("spec", t.list).Index(t.index) }

// quoted names the container in a warning.
func (t *target) quoted() string { return "container " + strconv.Quote(t.Name) }

func (p *patch) add(path string, value any) { p.operation("add", path, value) }

func (p *patch) operation(op, path string, value any) {
	if p.ops == nil {
		// Two volumes, label, status, grace period, agent and its view of processes; a hook
		// and a probe a container.
		p.ops = make([]jsonpatch.Operation, 0, 7+len(p.served)*(len(p.mounts)+len(p.in.Env)+7))
	}
	p.ops = append(p.ops, jsonpatch.Operation{Operation: op, Path: path, Value: value})
}

func (p *patch) warn(text string) { p.warnings = append(p.warnings, text) }

func (p *patch) refuse(err *field.Error) { p.errors = append(p.errors, err) }

// join concatenates in the shared buffer.
func (p *patch) join(parts ...string) string {
	start := p.text.Len()
	for _, part := range parts {
		p.text.WriteString(part)
	}
	return p.text.String()[start:]
}

// joinList is join with commas between the items.
func joinList[T ~string](p *patch, items []T) string {
	start := p.text.Len()
	for i, item := range items {
		if i > 0 {
			p.text.WriteByte(',')
		}
		p.text.WriteString(string(item))
	}
	return p.text.String()[start:]
}

// digits formats in the shared buffer.
func (p *patch) digits(n int64) string {
	var scratch [20]byte
	start := p.text.Len()
	p.text.Write(strconv.AppendInt(scratch[:0], n, 10))
	return p.text.String()[start:]
}
