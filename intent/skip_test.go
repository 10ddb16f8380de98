package intent_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"

	"example.io/mtls-injector/intent"
)

func TestSkips(t *testing.T) {
	noEffect := []string{"the pod has annotations under mtls.example.io/ but no role, so they have no effect: set mtls.example.io/role"}
	for name, c := range map[string]struct {
		namespace []string
		pod       []string
		change    func(*intent.Pod)
		want      intent.SkipReason
		warnings  []string
	}{
		"nobody sets anything":            {want: intent.SkipNoRole},
		"namespace without role":          {namespace: []string{"env", "curl"}, want: intent.SkipNoRole},
		"pod without role":                {pod: []string{"env", "curl"}, want: intent.SkipNoRole, warnings: noEffect},
		"pod opts out":                    {namespace: []string{"role", "client"}, pod: []string{"role", "none"}, want: intent.SkipRoleNone},
		"pod opts out of nothing":         {pod: []string{"role", "none"}, want: intent.SkipRoleNone},
		"namespace opts out":              {namespace: []string{"role", "none"}, want: intent.SkipRoleNone},
		"pod opts out of a bad namespace": {namespace: []string{"role", "client", "env", "java", "rol", "x"}, pod: []string{"role", "none"}, want: intent.SkipRoleNone},
		"pod opts out of a bad role":      {namespace: []string{"role", "cleint"}, pod: []string{"role", "none"}, want: intent.SkipRoleNone},
		"Windows by os":                   {pod: []string{"role", "client"}, change: onOS("windows"), want: intent.SkipWindows},
		"Windows by nodeSelector":         {pod: []string{"role", "client"}, change: onNodes("windows"), want: intent.SkipWindows},
		"Windows of a namespace":          {namespace: []string{"role", "both"}, change: onOS("windows"), want: intent.SkipWindows},
		"Windows with bad annotations":    {pod: []string{"role", "client", "env", "java"}, change: onOS("windows"), want: intent.SkipWindows},
		"Windows that opted out":          {pod: []string{"role", "none"}, change: onOS("windows"), want: intent.SkipRoleNone},
		"mirror pod":                      {namespace: []string{"role", "client"}, change: mirror, want: intent.SkipMirrorPod},
		"mirror pod with bad annotations": {namespace: []string{"rol", "client"}, change: mirror, want: intent.SkipMirrorPod},
		"mirror pod without role":         {namespace: []string{"env", "curl"}, change: mirror, want: intent.SkipMirrorPod},
	} {
		t.Run(name, func(t *testing.T) {
			pod := newPod(c.pod...)
			if c.change != nil {
				c.change(pod)
			}
			got := intent.Resolve(intent.BuiltinDefaults(), newNamespace(c.namespace...), pod, nil)
			assert.Equal(t, intent.Result{Skip: c.want, Warnings: c.warnings}, got)
		})
	}
}

func onOS(name corev1.OSName) func(*intent.Pod) {
	return func(pod *intent.Pod) { pod.Spec.OS = &corev1.PodOS{Name: name} }
}

func onNodes(os string) func(*intent.Pod) {
	return func(pod *intent.Pod) { pod.Spec.NodeSelector = map[string]string{"kubernetes.io/os": os} }
}

func mirror(pod *intent.Pod) {
	pod.Metadata.Annotations["kubernetes.io/config.mirror"] = "1f2e"
}

// TestRefusedRatherThanSkipped: who means to opt in or out must not be left in the dark.
func TestRefusedRatherThanSkipped(t *testing.T) {
	for name, c := range map[string]struct {
		namespace, pod []string
		want           string
	}{
		"typo of role on the pod": {
			pod:  []string{"rol", "server"},
			want: `metadata.annotations[mtls.example.io/rol]: Invalid value: "mtls.example.io/rol": unknown annotation; did you mean "mtls.example.io/role"?`,
		},
		"typo of role on the namespace": {
			namespace: []string{"roel", "server"},
			want:      `namespace.metadata.annotations[mtls.example.io/roel]: Invalid value: "mtls.example.io/roel": unknown annotation; did you mean "mtls.example.io/role"?`,
		},
		"bad value on a namespace without role": {
			namespace: []string{"env", "java"},
			want:      `namespace.metadata.annotations[mtls.example.io/env]: Invalid value: "java": item "java": ` + notEnv,
		},
		"bad value on a namespace that opts out": {
			namespace: []string{"role", "none", "env", "java"},
			want:      `namespace.metadata.annotations[mtls.example.io/env]: Invalid value: "java": item "java": ` + notEnv,
		},
		"bad value on a pod without role": {
			pod:  []string{"env", "java"},
			want: `metadata.annotations[mtls.example.io/env]: Invalid value: "java": item "java": ` + notEnv,
		},
		"bad value on a pod that opts out": {
			pod:  []string{"role", "none", "env", "java"},
			want: `metadata.annotations[mtls.example.io/env]: Invalid value: "java": item "java": ` + notEnv,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := intent.Resolve(intent.BuiltinDefaults(), newNamespace(c.namespace...), newPod(c.pod...), nil)
			assert.Equal(t, []string{c.want}, texts(got.Errors))
			assert.Equal(t, intent.Result{Errors: got.Errors}, got, "nothing but errors")
		})
	}
}

func TestLinuxIsServed(t *testing.T) {
	for name, change := range map[string]func(*intent.Pod){
		"os":           onOS("linux"),
		"nodeSelector": onNodes("linux"),
		"os beats a contradicting nodeSelector": func(pod *intent.Pod) {
			onOS("linux")(pod)
			onNodes("windows")(pod)
		},
	} {
		t.Run(name, func(t *testing.T) {
			pod := newPod("role", "client")
			change(pod)
			mustIntent(t, intent.Resolve(intent.BuiltinDefaults(), newNamespace(), pod, nil))
		})
	}
}

func TestEveryReasonIsExplained(t *testing.T) {
	want := map[intent.SkipReason]string{
		intent.SkipNoRole:    "neither the pod nor its namespace has the annotation mtls.example.io/role",
		intent.SkipRoleNone:  `the annotation mtls.example.io/role is "none"`,
		intent.SkipWindows:   "pods on Windows nodes are not served: the cert-manager CSI driver runs on Linux only",
		intent.SkipMirrorPod: "mirror pods show what a kubelet already runs and cannot be changed",
	}
	assert.Equal(t, want, intent.SkipReasons())
	for reason, sentence := range want {
		assert.Equal(t, sentence, reason.Explain())
	}
	assert.Empty(t, intent.SkipReason("unheard-of").Explain())
}
