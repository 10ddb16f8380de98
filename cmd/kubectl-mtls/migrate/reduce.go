package migrate

import (
	"slices"
	"strconv"
	"strings"

	"gomodules.xyz/jsonpatch/v2"

	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

func (p *plan) remove(path string) {
	p.operations = append(p.operations, jsonpatch.Operation{Operation: "remove", Path: path})
}

// reduce takes out of the pod what the injection puts in besides volumes: variables and hooks.
func (p *plan) reduce(in *intent.Intent) {
	env := p.profiles(in)
	seconds, hooks := p.hooks(in)
	for _, list := range []struct {
		name string
		all  []intent.Container
	}{{"initContainers", p.found.Pod.Spec.InitContainers}, {"containers", p.found.Pod.Spec.Containers}} {
		for i := range list.all {
			c, at := &list.all[i], "/spec/"+list.name+"/"+strconv.Itoa(i)
			if p.served(c.Name) {
				p.reduceVariables(c, at, env)
			}
			if slices.Contains(hooks, at) {
				p.remove(at + "/lifecycle/preStop")
			}
		}
	}
	if len(hooks) > 0 && seconds != in.PreStop.Seconds {
		p.set("pre-stop-seconds", strconv.FormatInt(seconds, 10))
	}
}

// reduceVolumes takes out the volumes and their mounts.
func (p *plan) reduceVolumes() {
	for i := range p.found.Pod.Spec.InitContainers {
		p.reduceMounts(&p.found.Pod.Spec.InitContainers[i], "/spec/initContainers/"+strconv.Itoa(i))
	}
	for i := range p.found.Pod.Spec.Containers {
		p.reduceMounts(&p.found.Pod.Spec.Containers[i], "/spec/containers/"+strconv.Itoa(i))
	}
	gone := slices.Concat(p.keys, p.cas)
	slices.SortFunc(gone, func(a, b *handmade) int { return b.index - a.index })
	for _, h := range gone {
		p.remove("/spec/volumes/" + strconv.Itoa(h.index))
	}
}

func (p *plan) reduceMounts(c *intent.Container, at string) {
	gone := slices.Concat(p.keys, p.cas)
	for i, mount := range slices.Backward(c.VolumeMounts) {
		if slices.ContainsFunc(gone, func(h *handmade) bool { return h.volume.Name == mount.Name }) {
			p.remove(at + "/volumeMounts/" + strconv.Itoa(i))
		}
	}
}

// reduceVariables takes out the variables of the profiles.
func (p *plan) reduceVariables(c *intent.Container, at string, variables []injector.Variable) {
	for i, have := range slices.Backward(c.Env) {
		if slices.ContainsFunc(variables, func(v injector.Variable) bool { return v.Name == have.Name }) {
			p.remove(at + "/env/" + strconv.Itoa(i))
		}
	}
}

// profiles proposes those sets of variables that all containers with files have by hand, whole
// and with the values that are injected, and returns their variables. Others stay as they are.
func (p *plan) profiles(in *intent.Intent) []injector.Variable {
	chosen := slices.Clone(in.Env)
	var gone []injector.Variable
	for _, row := range injector.Variables() {
		asked := *in
		asked.Env = []intent.EnvProfile{row.Profile}
		variables := injector.VariablesOf(&asked)
		if len(variables) == 0 || variables[0].Name != row.Name || !p.haveAll(variables) {
			continue // once for each profile, at its first variable
		}
		gone = append(gone, variables...)
		if !slices.Contains(chosen, row.Profile) {
			chosen = append(chosen, row.Profile)
		}
	}
	if len(chosen) > len(in.Env) {
		words := make([]string, len(chosen))
		for i := range chosen {
			words[i] = string(chosen[i])
		}
		p.set("env", strings.Join(words, ","))
	}
	return gone
}

// haveAll reports whether every container with files has all of the variables.
func (p *plan) haveAll(variables []injector.Variable) bool {
	some := false
	for _, list := range [][]intent.Container{p.found.Pod.Spec.InitContainers, p.found.Pod.Spec.Containers} {
		for i := range list {
			if !p.served(list[i].Name) {
				continue
			}
			some = true
			for _, v := range variables {
				if !slices.Contains(list[i].Env, intent.EnvVar{Name: v.Name, Value: v.Value}) {
					return false
				}
			}
		}
	}
	return some
}

// hooks returns the containers' paths whose preStop hook only sleeps, and how long, where all
// containers with files sleep as long. Other hooks stay: the injector keeps them.
func (p *plan) hooks(in *intent.Intent) (seconds int64, paths []string) {
	for i := range p.found.Pod.Spec.Containers {
		c := &p.found.Pod.Spec.Containers[i]
		if !p.served(c.Name) {
			continue
		}
		slept, ok := sleeps(c)
		if !ok || seconds != 0 && slept != seconds {
			if len(paths) > 0 || c.Lifecycle != nil && c.Lifecycle.PreStop != nil {
				p.note("the preStop hooks stay as they are: not all containers sleep, and equally long")
			}
			return 0, nil
		}
		seconds, paths = slept, append(paths, "/spec/containers/"+strconv.Itoa(i))
	}
	if in.PreStop.Seconds == 0 && seconds > 0 {
		p.set("pre-stop-seconds", strconv.FormatInt(seconds, 10))
	}
	return seconds, paths
}

// sleeps tells how long a hook sleeps that does nothing else, in one of the forms that people
// write.
func sleeps(c *intent.Container) (int64, bool) {
	if c.Lifecycle == nil || c.Lifecycle.PreStop == nil {
		return 0, false
	}
	hook := c.Lifecycle.PreStop
	if hook.Sleep != nil {
		return hook.Sleep.Seconds, hook.Exec == nil && hook.Sleep.Seconds > 0
	}
	if hook.Exec == nil {
		return 0, false
	}
	command := hook.Exec.Command
	if len(command) == 3 && slices.Contains([]string{"sh", "/bin/sh", "bash", "/bin/bash"}, command[0]) && command[1] == "-c" {
		command = strings.Fields(command[2])
	}
	if len(command) != 2 || command[0] != "sleep" && command[0] != "/bin/sleep" && command[0] != "/usr/bin/sleep" {
		return 0, false
	}
	seconds, err := strconv.ParseInt(strings.TrimSuffix(command[1], "s"), 10, 64)
	return seconds, err == nil && seconds > 0
}

// addAnnotations comes first: nothing before it moves.
func (p *plan) addAnnotations() []jsonpatch.Operation {
	var operations []jsonpatch.Operation
	if len(p.found.Pod.Metadata.Annotations) == 0 {
		operations = append(operations, jsonpatch.Operation{Operation: "add", Path: "/metadata/annotations", Value: struct{}{}})
	}
	for _, key := range sortedKeys(p.annotations) {
		if have, there := p.found.Pod.Metadata.Annotations[key]; there {
			if have != p.annotations[key] {
				p.note("annotation " + key + " stays as it is: " + strconv.Quote(p.annotations[key]) + " was found")
			}
			continue
		}
		path := "/metadata/annotations/" + strings.ReplaceAll(key, "/", "~1")
		operations = append(operations, jsonpatch.Operation{Operation: "add", Path: path, Value: p.annotations[key]})
	}
	return operations
}
