package agent

// Which process is whose. With shareProcessNamespace the agent sees those of the whole pod
// in /proc; the runtime's names for the containers are not there, but the kubelet mounts a
// file of each container into it, the termination log, from a path with its name.

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// process is what is read of a process.
type process struct {
	pid, ppid int
	// comm is the name of the program, cut to 15 bytes by the kernel.
	comm string
	// start is when it started, in clock ticks since the machine did.
	start uint64
	// container is the name of its container, and instance tells the container from those
	// of the same name that ran before; both empty if unknown.
	container, instance string
}

// proc is the file system at /proc.
type proc struct{ fs.FS }

// errNoProcess is of a process that is not there (yet).
var errNoProcess = errors.New("no such process")

// find returns the main process of a container, or, with a name, the topmost of that name in it.
func (p proc) find(container, name string) (process, error) {
	all, err := p.processes()
	if err != nil {
		return process{}, err
	}
	ours := newest(all, container)
	if len(ours) == 0 {
		return process{}, p.explainMissing(all, container)
	}
	if name == "" {
		// What the runtime starts has no parent in the namespace: the main process first,
		// then what probes and `kubectl exec` run.
		for _, candidate := range ours {
			if candidate.ppid == 0 {
				return candidate, nil
			}
		}
		return process{}, fmt.Errorf("container %s has processes, but none that the runtime started: %w", container, errNoProcess)
	}
	named := cut(name)
	for _, candidate := range ours {
		if candidate.comm == named && !hasAncestor(ours, candidate, named) {
			return candidate, nil
		}
	}
	return process{}, fmt.Errorf("container %s has no process %s: it has %s: %w", container, name, names(ours), errNoProcess)
}

// newest returns the processes of the newest instance of the container, oldest first.
func newest(all []process, container string) []process {
	var ours []process
	for _, candidate := range all {
		if candidate.container == container {
			ours = append(ours, candidate)
		}
	}
	instance, started := "", uint64(0)
	seen := map[string]bool{}
	for _, candidate := range ours { // the first of each instance is its oldest
		if !seen[candidate.instance] && candidate.start >= started {
			instance, started = candidate.instance, candidate.start
		}
		seen[candidate.instance] = true
	}
	return slices.DeleteFunc(ours, func(candidate process) bool { return candidate.instance != instance })
}

// explainMissing says why a container has no processes here.
func (p proc) explainMissing(all []process, container string) error {
	var seen []string
	for _, candidate := range all {
		if candidate.container != "" && !slices.Contains(seen, candidate.container) {
			seen = append(seen, candidate.container)
		}
	}
	if len(seen) < 2 {
		return fmt.Errorf("no process of container %s is to be seen: it has not started, or the pod lacks shareProcessNamespace: true: %w", container, errNoProcess)
	}
	return fmt.Errorf("no process of container %s is to be seen, only those of %s: %w", container, strings.Join(seen, ", "), errNoProcess)
}

// hasAncestor says whether one of the processes above has the name.
func hasAncestor(all []process, of process, comm string) bool {
	for range all { // a process has at most as many ancestors, whatever is reused meanwhile
		at := slices.IndexFunc(all, func(p process) bool { return p.pid == of.ppid })
		if at < 0 {
			return false
		}
		if of = all[at]; of.comm == comm {
			return true
		}
	}
	return false
}

// names lists the programs that run, each once.
func names(all []process) string {
	var comms []string
	for _, p := range all {
		if !slices.Contains(comms, p.comm) {
			comms = append(comms, p.comm)
		}
	}
	return listed(comms, "none")
}

// cut cuts a name as the kernel does.
func cut(name string) string { return name[:min(len(name), 15)] }

// processes returns all that can be seen, the oldest first. One that ends meanwhile is left out.
func (p proc) processes() ([]process, error) {
	entries, err := fs.ReadDir(p.FS, ".")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	var all []process
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if one, err := p.process(pid); err == nil {
			all = append(all, one)
		}
	}
	slices.SortFunc(all, func(a, b process) int {
		if a.start != b.start {
			if a.start < b.start {
				return -1
			}
			return 1
		}
		return a.pid - b.pid
	})
	return all, nil
}

func (p proc) process(pid int) (process, error) {
	dir := strconv.Itoa(pid)
	stat, err := fs.ReadFile(p.FS, dir+"/stat")
	if err != nil {
		return process{}, err
	}
	one, err := parseStat(stat)
	if err != nil {
		return process{}, err
	}
	// A kernel thread has no mounts to read.
	if mounts, err := fs.ReadFile(p.FS, dir+"/mountinfo"); err == nil {
		one.container, one.instance = parseMountinfo(mounts)
	}
	return one, nil
}

// parseStat reads /proc/PID/stat (proc_pid_stat(5)). The name stands in brackets and may
// hold anything, brackets too.
func parseStat(stat []byte) (process, error) {
	head, tail := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if head < 0 || tail < head {
		return process{}, errors.New("stat: no name in brackets")
	}
	const ppid, start = 1, 19 // behind the name: fields 4 and 22
	fields := strings.Fields(string(stat[tail+1:]))
	if len(fields) <= start {
		return process{}, errors.New("stat: too few fields")
	}
	one := process{comm: string(stat[head+1 : tail])}
	var err error
	if one.pid, err = strconv.Atoi(strings.TrimSpace(string(stat[:head]))); err != nil {
		return process{}, fmt.Errorf("stat: pid: %w", err)
	}
	if one.ppid, err = strconv.Atoi(fields[ppid]); err != nil {
		return process{}, fmt.Errorf("stat: parent: %w", err)
	}
	if one.start, err = strconv.ParseUint(fields[start], 10, 64); err != nil {
		return process{}, fmt.Errorf("stat: start time: %w", err)
	}
	return one, nil
}

// parseMountinfo looks in /proc/PID/mountinfo (proc_pid_mountinfo(5)) for the termination
// log of a container: its fourth field is a path like
// /var/lib/kubelet/pods/<uid>/containers/<container>/<id>, or the end of it where the
// kubelet's folder is a file system of its own.
func parseMountinfo(mounts []byte) (container, instance string) {
	const root = 3
	source := regexp.MustCompile(`/pods/[^/]+/containers/([a-z0-9-]+)/([0-9a-f]+)$`)
	for line := range bytes.Lines(mounts) {
		fields := strings.Fields(string(line))
		if len(fields) <= root {
			continue
		}
		// A file that has been removed is marked, and still tells where it was.
		if found := source.FindStringSubmatch(strings.TrimSuffix(fields[root], "//deleted")); found != nil {
			return found[1], found[2]
		}
	}
	return "", ""
}
