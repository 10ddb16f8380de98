package injector

// The way back: what was injected is taken out again, and nothing else.

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"

	"example.io/mtls-injector/intent"
)

// Unpatched is the outcome of [Unpatch].
type Unpatched struct {
	// Injected says that the pod carries the status annotation of an injection. Nothing is
	// taken out of one that does not.
	Injected bool
	// Operations is the patch, in the order in which it must be applied. What becomes empty
	// stays, for it is not known who made it: take it away with it.
	Operations []jsonpatch.Operation
	// Warnings tell what stays though it has the name of what was injected, as somebody has
	// changed it since; each is one sentence.
	Warnings []string
}

// Unpatch returns what must change for the pod to be as it was before [Patch]. It knows its
// own work by the status annotation, so it needs neither configuration nor cluster. What
// was changed by hand since stays, and what the pod had of its own is never touched.
func Unpatch(pod *intent.Pod) Unpatched {
	text, injected := pod.Metadata.Annotations[intent.AnnotationStatus]
	if !injected {
		return Unpatched{Warnings: leftovers(pod)}
	}
	u := unpatch{pod: pod, out: Unpatched{Injected: true}}
	if err := json.Unmarshal([]byte(text), &u.status); err != nil {
		u.out.Warnings = append(u.out.Warnings, "annotation "+intent.AnnotationStatus+
			" is not the injector's, so nothing is taken out: "+err.Error())
		return u.out
	}
	if before := u.status.Undo.Before; before != nil {
		u.before = *before
	}
	in := u.intent()
	u.path = foldersOf(in)
	u.want = (&patch{in: in, path: u.path}).wantedVariables()
	for _, list := range []struct {
		name string
		all  []intent.Container
	}{{initContainers, pod.Spec.InitContainers}, {containers, pod.Spec.Containers}} {
		for i := range list.all {
			if list.all[i].IsAgent() {
				continue
			}
			u.container(&target{
				Container: &list.all[i], path: "/spec/" + list.name + "/" + strconv.Itoa(i), list: list.name, index: i,
			})
		}
	}
	u.agent() // moves the places of the init containers
	u.volumes()
	u.gracePeriod()
	u.metadata()
	return u.out
}

// leftovers warns of volumes that have our names in a pod of which nobody says what was
// injected.
func leftovers(pod *intent.Pod) []string {
	for i := range pod.Spec.Volumes {
		if name := pod.Spec.Volumes[i].Name; name == intent.CertificateVolume || name == intent.BundleVolume {
			return []string{"volume " + strconv.Quote(name) + " looks injected, but there is no annotation " + intent.AnnotationStatus +
				" that says what was, so nothing is taken out"}
		}
	}
	return nil
}

// unpatch is the state of one [Unpatch].
type unpatch struct {
	pod    *intent.Pod
	status Status
	before Before
	path   folders
	want   list[variable, *variable]
	out    Unpatched
}

// intent is that part of what was decided then which says where things are.
func (u *unpatch) intent() *intent.Intent {
	s := &u.status
	return &intent.Intent{
		Role: s.Role, Identity: intent.Identity{SPIFFEID: s.SPIFFE}, Delivery: s.Delivery,
		MountPath: s.Undo.MountPath, Env: s.Undo.Env,
	}
}

func (u *unpatch) remove(path string) {
	u.out.Operations = append(u.out.Operations, jsonpatch.Operation{Operation: "remove", Path: path})
}

func (u *unpatch) put(operation, path string, value any) {
	u.out.Operations = append(u.out.Operations, jsonpatch.Operation{Operation: operation, Path: path, Value: value})
}

func (u *unpatch) stays(text string) { u.out.Warnings = append(u.out.Warnings, text) }

// isOwn reports whether the pod had it before.
func (u *unpatch) isOwn(name string) bool { return slices.Contains(u.before.Kept, name) }

// served reports whether the container got the files.
func (u *unpatch) served(t *target) bool { return slices.Contains(u.status.Containers, t.Name) }

func (u *unpatch) container(t *target) {
	u.variables(t)
	u.mounts(t)
	u.preStop(t)
	u.probes(t)
}

// variables go from the last to the first, as the places of the others move.
func (u *unpatch) variables(t *target) {
	for i := len(t.Env) - 1; i >= 0; i-- {
		have := &t.Env[i]
		at := slices.IndexFunc(u.want, func(v variable) bool { return v.name == have.Name })
		switch {
		case at < 0 || u.isOwn(t.Name+keptEnv+have.Name):
		case have.Value == u.want[at].value:
			u.remove(t.path + "/env/" + strconv.Itoa(i))
		case u.served(t):
			u.stays(t.quoted() + " keeps variable " + have.Name + ", which was injected as " + strconv.Quote(u.want[at].value) + " and changed since")
		}
	}
}

func (u *unpatch) mounts(t *target) {
	for i := len(t.VolumeMounts) - 1; i >= 0; i-- {
		have := &t.VolumeMounts[i]
		switch {
		case have.Name != intent.CertificateVolume && have.Name != intent.BundleVolume:
		case u.isMount(have):
			u.remove(t.path + "/volumeMounts/" + strconv.Itoa(i))
		default:
			u.stays(t.quoted() + " keeps its mount of volume " + strconv.Quote(have.Name) + " at " + have.MountPath +
				", which was not injected like that: give it another volume, for this one is gone")
		}
	}
}

// isMount reports whether the mount is one that was injected.
func (u *unpatch) isMount(m *intent.VolumeMount) bool {
	if !m.ReadOnly || hasSubPath(m) {
		return false
	}
	if m.Name == intent.BundleVolume {
		return m.MountPath == u.path.bundle
	}
	return u.status.Role.IsServer() && m.MountPath == u.path.server || u.status.Role.IsClient() && m.MountPath == u.path.client
}

func (u *unpatch) preStop(t *target) {
	seconds := u.status.Undo.PreStopSeconds
	if seconds == 0 || t.list != containers || t.Lifecycle == nil || t.Lifecycle.PreStop == nil || u.isOwn(t.Name+keptPreStop) {
		return
	}
	for _, method := range []intent.PreStopMethod{intent.PreStopSleep, intent.PreStopExec} {
		if isHook(t.Lifecycle.PreStop, &intent.PreStop{Seconds: seconds, Method: method}) {
			u.remove(t.path + "/lifecycle/preStop")
			return
		}
	}
	if u.served(t) {
		u.stays(t.quoted() + " keeps its preStop hook, which was injected as a sleep of " + strconv.FormatInt(seconds, 10) + " seconds and changed since")
	}
}

// probes puts back the httpGet actions that became tcpSocket.
func (u *unpatch) probes(t *target) {
	for _, probe := range [...]struct {
		name string
		*intent.Probe
	}{
		{"livenessProbe", t.LivenessProbe},
		{"readinessProbe", t.ReadinessProbe},
		{"startupProbe", t.StartupProbe},
	} {
		get := u.before.Probes[t.Name+"/"+probe.name]
		if get == nil || probe.Probe == nil {
			continue
		}
		if tcp := probe.TCPSocket; tcp == nil || tcp.Port != get.Port || tcp.Host != get.Host {
			u.stays(t.quoted() + " keeps its " + probe.name + ", whose httpGet was turned into tcpSocket and changed since")
			continue
		}
		u.remove(t.path + "/" + probe.name + "/tcpSocket")
		u.put("add", t.path+"/"+probe.name+"/httpGet", get)
	}
}

// agent takes out the sidecar, and the shared process namespace in which it signals.
func (u *unpatch) agent() {
	for i := range u.pod.Spec.InitContainers {
		c := &u.pod.Spec.InitContainers[i]
		switch {
		case !c.IsAgent():
		case string(appendTextDigest(nil, c.Command)) == u.status.Undo.Agent:
			u.remove("/spec/" + initContainers + "/" + strconv.Itoa(i))
			if shared := u.pod.Spec.ShareProcessNamespace; shared != nil && *shared && u.signals() && !u.isOwn(keptShared) {
				u.remove("/spec/shareProcessNamespace")
			}
		default:
			u.stays("the agent's command was changed since it was injected, and the container stays")
		}
	}
}

// signals reports whether the agent was to send a signal.
func (u *unpatch) signals() bool { return strings.HasPrefix(u.status.Agent, "SIG") }

func (u *unpatch) volumes() {
	names := []string{intent.CertificateVolume, intent.BundleVolume}
	for i := len(u.pod.Spec.Volumes) - 1; i >= 0; i-- {
		have := &u.pod.Spec.Volumes[i]
		at := slices.Index(names, have.Name)
		switch {
		case at < 0:
		case at < len(u.status.Undo.Volumes) && digestOf(have) == u.status.Undo.Volumes[at]:
			u.remove("/spec/volumes/" + strconv.Itoa(i))
		default:
			u.stays("volume " + strconv.Quote(have.Name) + " was changed since it was injected, and stays")
		}
	}
}

// digestOf returns the digest of a volume in one of the shapes that are injected, or "".
func digestOf(have *intent.Volume) string {
	want := volume{name: have.Name}
	switch {
	case have.CSI != nil:
		for key, value := range have.CSI.VolumeAttributes {
			want.attributes = append(want.attributes, attribute{key, value})
		}
		slices.SortFunc(want.attributes, func(a, b attribute) int { return strings.Compare(a.key, b.key) })
	case have.Secret != nil:
		want.secret, want.mode = have.Secret.SecretName, modeOf(have.Secret.DefaultMode)
	case have.ConfigMap != nil:
		want.bundle, want.mode = bundleOf(have.ConfigMap.Name, have.ConfigMap.Items), modeOf(have.ConfigMap.DefaultMode)
	case have.Projected != nil:
		want.mode = modeOf(have.Projected.DefaultMode)
		for i := range have.Projected.Sources {
			want.source(&have.Projected.Sources[i])
		}
	}
	if want.attributes == nil && want.secret == "" && want.bundle.Name == "" || !want.is(have) {
		return ""
	}
	return string(want.appendDigest(nil))
}

func (v *volume) source(s *corev1.VolumeProjection) {
	switch {
	case s.Secret != nil:
		v.secret = s.Secret.Name
	case s.ConfigMap != nil:
		v.bundle = bundleOf(s.ConfigMap.Name, s.ConfigMap.Items)
	case s.ClusterTrustBundle != nil && s.ClusterTrustBundle.Name != nil:
		v.bundle = intent.Bundle{Kind: intent.BundleClusterTrustBundle, Name: *s.ClusterTrustBundle.Name}
	}
}

func bundleOf(name string, items []corev1.KeyToPath) intent.Bundle {
	b := intent.Bundle{Kind: intent.BundleConfigMap, Name: name}
	if len(items) > 0 {
		b.Key = items[0].Key
	}
	return b
}

func modeOf(mode *int32) int32 {
	if mode == nil {
		return 0
	}
	return *mode
}

func (u *unpatch) gracePeriod() {
	had, sleep, have := u.before.GracePeriodSeconds, u.status.Undo.PreStopSeconds, u.pod.Spec.TerminationGracePeriodSeconds
	if had == nil || have == nil {
		return
	}
	own := *had
	if own == noGrace {
		own = defaultGracePeriod
	}
	switch {
	case *have != max(own, 0)+sleep:
		u.stays("terminationGracePeriodSeconds was raised to " + strconv.FormatInt(own+sleep, 10) + " and changed since, and stays")
	case *had == noGrace:
		u.remove("/spec/terminationGracePeriodSeconds")
	default:
		u.put("replace", "/spec/terminationGracePeriodSeconds", *had)
	}
}

func (u *unpatch) metadata() {
	if value, ok := u.pod.Metadata.Labels[intent.LabelInjected]; ok && value == injectedValue && !u.isOwn(keptLabel) {
		u.remove(injectedPath)
	}
	u.remove(statusPath)
}
