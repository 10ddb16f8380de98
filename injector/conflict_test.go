package injector_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

// podWith is a pod of one container.
func podWith(c intent.Container, volumes ...intent.Volume) *intent.Pod {
	c.Name = "main"
	pod := &intent.Pod{Spec: intent.PodSpec{Containers: []intent.Container{c}, Volumes: volumes}}
	pod.Metadata.Annotations = map[string]string{intent.Prefix + "role": "server"}
	return pod
}

func mounting(mounts ...intent.VolumeMount) *intent.Pod {
	return podWith(intent.Container{VolumeMounts: mounts})
}

func hooked(hook *intent.PreStopHandler) *intent.Pod {
	return podWith(intent.Container{Lifecycle: &intent.Lifecycle{PreStop: hook}})
}

const keepsHook = `container "main" keeps its own preStop hook: it gets no sleep of 10 seconds while endpoints drain`

const ways = ": remove the mount, choose another folder with mtls.example.io/mount-path, or leave the container out with mtls.example.io/exclude-containers"

func TestPatchRefuses(t *testing.T) {
	t.Parallel()
	labelled := podWith(intent.Container{})
	labelled.Metadata.Labels = map[string]string{intent.LabelInjected: "false"}
	twice := mounting(intent.VolumeMount{Name: "data", MountPath: "/etc/tls/ca"})
	twice.Spec.Volumes = []intent.Volume{{Name: "mtls-certs"}}
	twice.Spec.InitContainers = []intent.Container{{Name: "init", VolumeMounts: []intent.VolumeMount{
		{Name: "kept", MountPath: "/srv"}, {Name: "data", MountPath: "etc//tls/ca/"},
	}}}
	cases := map[string]struct {
		pod       *intent.Pod
		selection intent.Selection
		want      []string
	}{
		"label": {pod: labelled, want: []string{
			`metadata.labels[mtls.example.io/injected]: Invalid value: "false": the label is reserved for pods that were injected: remove it`,
		}},
		"mount": {pod: mounting(intent.VolumeMount{Name: "data", MountPath: "/etc/tls/server"}), want: []string{
			`spec.containers[0].volumeMounts[0].mountPath: Invalid value: "/etc/tls/server": volume "data" would hide files that are injected into /etc/tls/server` + ways,
		}},
		"mount below": {pod: mounting(intent.VolumeMount{Name: "data", MountPath: "/etc/tls/server/tls.crt", SubPath: "tls.crt"}), want: []string{
			`spec.containers[0].volumeMounts[0].mountPath: Invalid value: "/etc/tls/server/tls.crt": volume "data" would hide files that are injected into /etc/tls/server` + ways,
		}},
		"mount of ours with subPathExpr": {pod: mounting(intent.VolumeMount{Name: "mtls-ca", MountPath: "/etc/tls/ca", SubPathExpr: "$(X)"}), want: []string{
			`spec.containers[0].volumeMounts[0].mountPath: Invalid value: "/etc/tls/ca": a mount with a subPath never sees renewed files, and /etc/tls/ca is injected` + ways,
		}},
		"mount of ours with subPath": {pod: mounting(intent.VolumeMount{Name: "mtls-ca", MountPath: "/etc/tls/ca", SubPath: "ca.crt"}), want: []string{
			`spec.containers[0].volumeMounts[0].mountPath: Invalid value: "/etc/tls/ca": a mount with a subPath never sees renewed files, and /etc/tls/ca is injected` + ways,
		}},
		"mount of ours below": {pod: mounting(intent.VolumeMount{Name: "mtls-certs", MountPath: "/etc/tls/server/old"}), want: []string{
			`spec.containers[0].volumeMounts[0].mountPath: Invalid value: "/etc/tls/server/old": volume "mtls-certs" would hide files that are injected into /etc/tls/server` + ways,
		}},
		"one of our volumes in the folder of the other": {pod: mounting(intent.VolumeMount{Name: "mtls-ca", MountPath: "/etc/tls/server"}), want: []string{
			`spec.containers[0].volumeMounts[0].mountPath: Invalid value: "/etc/tls/server": volume "mtls-ca" would hide files that are injected into /etc/tls/server` + ways,
		}},
		"volume": {pod: podWith(intent.Container{}, intent.Volume{Name: "data"}, intent.Volume{Name: "mtls-ca"}), want: []string{
			`spec.volumes[1].name: Invalid value: "mtls-ca": the name is reserved for the volume that is injected: give yours another name`,
		}},
		"everything at once": {pod: twice, want: []string{
			`spec.volumes[0].name: Invalid value: "mtls-certs": the name is reserved for the volume that is injected: give yours another name`,
			`spec.initContainers[0].volumeMounts[1].mountPath: Invalid value: "etc//tls/ca/": volume "data" would hide files that are injected into /etc/tls/ca` + ways,
			`spec.containers[0].volumeMounts[0].mountPath: Invalid value: "/etc/tls/ca": volume "data" would hide files that are injected into /etc/tls/ca` + ways,
		}},
		"no container chosen": {pod: podWith(intent.Container{}), selection: intent.Selection{Only: []string{"mian", "other"}}, want: []string{
			`spec.containers: Invalid value: "main": no container has a name of mtls.example.io/containers: mian, other`,
		}},
		"every container excluded": {pod: podWith(intent.Container{}), selection: intent.Selection{Exclude: []string{"main"}}, want: []string{
			`spec.containers: Invalid value: "main": every container is left out by mtls.example.io/exclude-containers or the configuration: name those that get the files in mtls.example.io/containers`,
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := resolve(t, defaults(), podWith(intent.Container{}))
			in.Containers = c.selection
			result := injector.Patch(c.pod, in)
			var got []string
			for _, err := range result.Errors {
				got = append(got, err.Error())
			}
			assert.Equal(t, c.want, got)
			assert.Empty(t, result.Operations, "a pod is never half injected")
		})
	}
}

func TestPatchKeepsAndWarns(t *testing.T) {
	t.Parallel()
	seconds := func(n int64) *int64 { return &n }
	graceful := podWith(intent.Container{})
	graceful.Spec.TerminationGracePeriodSeconds = seconds(10)
	hasty := podWith(intent.Container{})
	hasty.Spec.TerminationGracePeriodSeconds = seconds(0)
	hastyWithHook := hooked(&intent.PreStopHandler{})
	hastyWithHook.Spec.TerminationGracePeriodSeconds = seconds(0)
	cases := map[string]struct {
		pod  *intent.Pod
		want []string
	}{
		"nothing odd":    {pod: podWith(intent.Container{})},
		"a sibling":      {pod: mounting(intent.VolumeMount{Name: "data", MountPath: "/etc/tls/servers"}, intent.VolumeMount{Name: "data", MountPath: "/srv"})},
		"ours elsewhere": {pod: mounting(intent.VolumeMount{Name: "mtls-certs", MountPath: "/srv/tls", SubPath: "tls.crt"})},
		"a parent, once": {pod: mounting(intent.VolumeMount{Name: "data", MountPath: "/"}), want: []string{
			`container "main" mounts volume "data" at /, and /etc/tls/server is injected inside of it: that fails if the volume is read-only and has no such folder`,
		}},
		"a parent of ours": {pod: mounting(intent.VolumeMount{Name: "mtls-certs", MountPath: "/etc/tls"}), want: []string{
			`container "main" mounts volume "mtls-certs" at /etc/tls, and /etc/tls/server is injected inside of it: that fails if the volume is read-only and has no such folder`,
		}},
		"the same variable": {pod: podWith(intent.Container{Env: []intent.EnvVar{{Name: "MTLS_ROLE", Value: "server"}}})},
		"the last of two variables counts": {
			pod:  podWith(intent.Container{Env: []intent.EnvVar{{Name: "MTLS_ROLE", Value: "server"}, {Name: "MTLS_ROLE", Value: "gateway"}}}),
			want: []string{`container "main" keeps its own variable MTLS_ROLE, which would be "server"`},
		},
		"a hook":          {pod: hooked(&intent.PreStopHandler{}), want: []string{keepsHook}},
		"a longer sleep":  {pod: hooked(&intent.PreStopHandler{Sleep: &corev1.SleepAction{Seconds: 11}}), want: []string{keepsHook}},
		"a sleep by exec": {pod: hooked(&intent.PreStopHandler{Exec: &corev1.ExecAction{Command: []string{"sleep", "10"}}}), want: []string{keepsHook}},
		"the same sleep":  {pod: hooked(&intent.PreStopHandler{Sleep: &corev1.SleepAction{Seconds: 10}})},
		"time enough":     {pod: graceful},
		"no time": {pod: hasty, want: []string{
			`terminationGracePeriodSeconds is raised from 0 to 10, for the preStop hook sleeps 10 seconds of it`,
		}},
		"no time for a hook of the user's": {pod: hastyWithHook, want: []string{keepsHook}},
		"HTTPS probes": {
			pod: podWith(intent.Container{
				LivenessProbe:  &intent.Probe{HTTPGet: &intent.HTTPGetAction{Scheme: "HTTPS"}},
				ReadinessProbe: &intent.Probe{HTTPGet: &intent.HTTPGetAction{Scheme: "HTTP"}},
				StartupProbe:   &intent.Probe{HTTPGet: &intent.HTTPGetAction{Scheme: "HTTPS"}},
			}),
			want: []string{`HTTPS probes present no client certificate and fail where one is required (main.livenessProbe, main.startupProbe): mtls.example.io/probes: tcp turns them into tcpSocket`},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := resolve(t, defaults(), podWith(intent.Container{}))
			result := injector.Patch(c.pod, in)
			require.Empty(t, result.Errors)
			assert.Equal(t, c.want, result.Warnings)
			assert.NotEmpty(t, result.Operations)
		})
	}
}

// TestPatchKeepsExecHooks is for servers that know no sleep action.
func TestPatchKeepsExecHooks(t *testing.T) {
	t.Parallel()
	in := resolve(t, defaults(), podWith(intent.Container{}))
	in.PreStop.Method = intent.PreStopExec
	for want, command := range map[string][]string{"": {"sleep", "10"}, keepsHook: {"sleep", "9"}} {
		result := injector.Patch(hooked(&intent.PreStopHandler{Exec: &corev1.ExecAction{Command: command}}), in)
		assert.Equal(t, want, strings.Join(result.Warnings, "\n"))
	}
}

// TestPatchIsSmall pins that empty lists and objects are replaced as a whole, as missing
// ones are, for each operation costs the API server time.
func TestPatchIsSmall(t *testing.T) {
	t.Parallel()
	absent := decode(t, []byte(`{"metadata":{},"spec":{"containers":[{"name":"main"}]}}`))
	empty := decode(t, []byte(`{"metadata":{"labels":{},"annotations":{}},"spec":{"volumes":[],"containers":[{"name":"main","env":[],"volumeMounts":[],"lifecycle":null}]}}`))
	in := resolve(t, defaults(), podWith(intent.Container{}))
	want := injector.Patch(absent, in)
	assert.Len(t, want.Operations, 6)
	assert.Equal(t, want, injector.Patch(empty, in))
}

// TestPatchLeavesClientProbes pins that only servers can require a client certificate.
func TestPatchLeavesClientProbes(t *testing.T) {
	t.Parallel()
	pod := podWith(intent.Container{LivenessProbe: &intent.Probe{HTTPGet: &intent.HTTPGetAction{Scheme: "HTTPS"}}})
	pod.Metadata.Annotations[intent.Prefix+"role"] = "client"
	result := injector.Patch(pod, resolve(t, defaults(), pod))
	assert.Empty(t, result.Warnings)
	assert.Empty(t, result.Errors)
}
