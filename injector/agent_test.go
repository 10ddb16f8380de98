package injector_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

// edit changes a pod that was injected, as others do between two calls or in Git.
func edit(t *testing.T, raw []byte, change func(*corev1.Pod)) []byte {
	t.Helper()
	pod := strictly(t, raw)
	change(pod)
	return encode(t, pod)
}

func guarded(t *testing.T) (patched []byte, in *intent.Intent) {
	t.Helper()
	raw := readPod(t, "web", map[string]string{"role": "server", "agent": "true", "probes": "tcp"})
	in = resolve(t, defaults(), decode(t, raw))
	result := injector.Patch(decode(t, raw), in)
	require.Empty(t, result.Errors)
	return apply(t, raw, &result), in
}

// What becomes of an agent that is there already.
func TestAgentOfAnEarlierCall(t *testing.T) {
	t.Parallel()
	const reserved = ": Invalid value: \"mtls-agent\": the name is reserved for the agent that is injected: give yours another name"
	always := corev1.ContainerRestartPolicyAlways
	cases := map[string]struct {
		change     func(*corev1.Pod)
		operations []string
		warnings   []string
		errors     []string
	}{
		"as it was": {change: func(*corev1.Pod) {}},
		"another image": {
			change:   func(p *corev1.Pod) { p.Spec.InitContainers[0].Image = "mirror.example.com/agent:v0" },
			warnings: []string{`the agent keeps the image "mirror.example.com/agent:v0", and the configuration has "registry.example.io/mtls-injector:v1.0.0"`},
		},
		"resources of a LimitRange, and more": {change: func(p *corev1.Pod) {
			c := &p.Spec.InitContainers[0]
			c.Resources.Limits, c.TerminationMessagePath = nil, "/dev/termination-log"
			c.Env = append(c.Env, corev1.EnvVar{Name: "X", Value: "y"})
		}},
		"of another pod's manifest": {
			change: func(p *corev1.Pod) {
				p.Spec.InitContainers[0].Command = []string{"/mtls-agent", "run", "--uris=spiffe://else"}
			},
			operations: []string{"replace /spec/initContainers/0"},
		},
		"behind one that was added": {
			change: func(p *corev1.Pod) {
				p.Spec.InitContainers = append([]corev1.Container{{Name: "early", Image: "early"}}, p.Spec.InitContainers...)
			},
			operations: []string{"add /spec/initContainers/0/volumeMounts", "add /spec/initContainers/0/env", "replace /metadata/annotations/mtls.example.io~1status"},
			warnings:   []string{`container "early" stands before mtls-agent and starts without waiting for its files`},
		},
		"that nobody injected": {
			change: func(p *corev1.Pod) { delete(p.Annotations, intent.AnnotationStatus) },
			errors: []string{"spec.initContainers[0].name" + reserved},
		},
		"that is another program": {
			change: func(p *corev1.Pod) { p.Spec.InitContainers[0].Command = []string{"/bin/sh"} },
			errors: []string{"spec.initContainers[0].name" + reserved},
		},
		"that is a container": {
			change: func(p *corev1.Pod) {
				p.Spec.InitContainers = p.Spec.InitContainers[1:]
				p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "mtls-agent", Image: "x", Command: []string{"/mtls-agent"}, RestartPolicy: &always})
			},
			errors: []string{"spec.containers[1].name" + reserved},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			patched, in := guarded(t)
			raw := edit(t, patched, c.change)
			result := injector.Patch(decode(t, raw), in)
			var operations, errors []string
			for _, op := range result.Operations {
				operations = append(operations, op.Operation+" "+op.Path)
			}
			for _, err := range result.Errors {
				errors = append(errors, err.Error())
			}
			assert.Equal(t, c.operations, operations)
			assert.Equal(t, c.warnings, result.Warnings)
			assert.Equal(t, c.errors, errors)
			if len(errors) == 0 {
				strictly(t, apply(t, raw, &result))
				requireNothingToDo(t, apply(t, raw, &result), in)
			}
		})
	}
}

// A pod that nobody asks an agent for keeps a container of that name, and one that was injected
// is none of those that get the files.
func TestNoAgent(t *testing.T) {
	t.Parallel()
	patched, in := guarded(t)
	in.Agent = nil
	raw := edit(t, patched, func(p *corev1.Pod) {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "mtls-agent-2", Image: "x"})
	})
	result := injector.Patch(decode(t, raw), in)
	require.Empty(t, result.Errors)
	pod := strictly(t, apply(t, raw, &result))
	assert.Equal(t, "mtls-agent", pod.Spec.InitContainers[0].Name)
	assert.Len(t, pod.Spec.InitContainers[0].Env, 1, "it is not served")
	assert.NotEmpty(t, pod.Spec.Containers[1].VolumeMounts)
}
