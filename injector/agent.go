package injector

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/intent"
)

// agent adds the agent as the first init container, so that all others wait for its
// startup probe: it succeeds when the files are right (KEP-753).
//
// An agent that is there already is left when it does what is wanted, with the image that
// it has: another webhook may have pointed that to a mirror, and a manifest that was
// injected by the command line may pin another release. One that does something else is
// replaced in a pod that carries our status, as a volume is.
func agent(p *patch) {
	if p.in.Agent == nil {
		return
	}
	want := &sidecar{Agent: p.in.Agent, command: p.agentCommand("run"), check: p.agentCommand("check"), mounts: p.agentMounts()}
	at, err := p.agentIndex()
	switch {
	case err != nil:
		p.refuse(err)
	case at < 0 && len(p.pod.Spec.InitContainers) == 0:
		p.add("/spec/initContainers", list[sidecar, *sidecar]{*want})
	case at < 0:
		p.add("/spec/initContainers/0", want)
	default:
		p.keepAgent(at, want)
	}
}

// keepAgent leaves an agent of an earlier call, or replaces one that does something else.
func (p *patch) keepAgent(at int, want *sidecar) {
	have := &p.pod.Spec.InitContainers[at]
	if !slices.Equal(have.Command, want.command) {
		p.operation("replace", p.join("/spec/", initContainers, "/", strconv.Itoa(at)), want)
	} else if have.Image != want.Image {
		p.warn("the agent keeps the image " + strconv.Quote(have.Image) + ", and the configuration has " + strconv.Quote(want.Image))
	}
	for i := range p.served {
		if t := &p.served[i]; t.list == initContainers && t.index < at {
			p.warn(t.quoted() + " stands before " + intent.AgentContainer + " and starts without waiting for its files")
		}
	}
}

// agentIndex returns where the agent stands among the init containers, or -1; and refuses a
// container that has its name and is none, or is one that nobody injected.
func (p *patch) agentIndex() (int, *field.Error) {
	const reserved = "the name is reserved for the agent that is injected: give yours another name"
	found := -1
	for i := range p.pod.Spec.InitContainers {
		c := &p.pod.Spec.InitContainers[i]
		_, injected := p.pod.Metadata.Annotations[intent.AnnotationStatus]
		switch {
		case c.Name != intent.AgentContainer:
		case c.IsAgent() && injected:
			found = i
		default:
			return 0, field.Invalid(field.NewPath("spec", initContainers).Index(i).Child("name"), c.Name, reserved)
		}
	}
	for i := range p.pod.Spec.Containers {
		if c := &p.pod.Spec.Containers[i]; c.Name == intent.AgentContainer {
			return 0, field.Invalid(field.NewPath("spec", containers).Index(i).Child("name"), c.Name, reserved)
		}
	}
	return found, nil
}

// agentMounts are the folders with what the agent looks at: one with the key pair, and
// the bundle's.
func (p *patch) agentMounts() []mount {
	mounts := []mount{{intent.CertificateVolume, p.agentFolder()}}
	if p.path.bundle != p.path.server {
		mounts = append(mounts, mount{intent.BundleVolume, p.path.bundle})
	}
	return mounts
}

func (p *patch) agentFolder() string {
	if p.in.Role.IsServer() {
		return p.path.server
	}
	return p.path.client
}

// agentCommand is the agent's command line (docs/agent.md). The check has only the flags
// that say what is right.
func (p *patch) agentCommand(verb string) []string {
	a, folder := p.in.Agent, p.agentFolder()
	usages := make([]string, len(a.Usages))
	for i, usage := range a.Usages {
		usages[i] = string(usage)
	}
	command := []string{
		intent.AgentProgram, verb,
		"--cert-file=" + folder + "/" + certificateFile,
		"--key-file=" + folder + "/" + keyFile,
		"--ca-file=" + p.path.bundle + "/" + bundleFile,
		"--usages=" + strings.Join(usages, ","),
	}
	option := func(flag, value string) {
		if value != "" {
			command = append(command, flag+"="+value)
		}
	}
	option("--dns-names", strings.Join(a.DNSNames, ","))
	option("--uris", p.in.Identity.SPIFFEID)
	if verb == "check" {
		return command
	}
	option("--reload-signal", a.Reload.Signal)
	option("--reload-container", a.Reload.Container)
	option("--reload-process", a.Reload.Process)
	option("--reload-url", a.Reload.URL)
	metrics := ""
	if a.MetricsPort != 0 {
		metrics = ":" + strconv.FormatInt(a.MetricsPort, 10)
	}
	return append(command, "--metrics-address="+metrics, "--start-timeout="+a.StartTimeout.String())
}

// sidecar is the container of an agent.
type sidecar struct {
	*intent.Agent
	command, check []string
	mounts         []mount
}

// MarshalJSON makes the container as core/v1 has it.
func (s *sidecar) MarshalJSON() ([]byte, error) { return s.appendJSON(nil), nil }

func (s *sidecar) appendJSON(dst []byte) []byte {
	dst = appendQuoted(append(dst, `{"name":"`+intent.AgentContainer+`","image":`...), s.Image)
	dst = appendQuoted(append(dst, `,"imagePullPolicy":`...), string(s.ImagePullPolicy))
	dst = append(appendStrings(append(dst, `,"command":`...), s.command), `,"restartPolicy":"Always"`...)
	dst = append(dst, `,"env":[{"name":"POD_NAME","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}}]`...)
	if s.MetricsPort != 0 {
		dst = strconv.AppendInt(append(dst, `,"ports":[{"name":"mtls-metrics","containerPort":`...), s.MetricsPort, 10)
		dst = append(dst, `,"protocol":"TCP"}]`...)
	}
	dst = list[mount, *mount](s.mounts).appendJSON(append(dst, `,"volumeMounts":`...))
	dst = s.appendSecurity(append(dst, `,"securityContext":`...))
	dst = s.appendResources(append(dst, `,"resources":`...))
	dst = s.appendProbe(append(dst, `,"startupProbe":`...))
	return append(dst, '}')
}

// appendSecurity appends what Pod Security "restricted" demands, unless the program that is
// signalled runs as root, which that forbids anyway.
func (s *sidecar) appendSecurity(dst []byte) []byte {
	dst = append(dst, `{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]},"readOnlyRootFilesystem":true,"runAsGroup":`...)
	dst = strconv.AppendInt(dst, s.Group, 10)
	dst = strconv.AppendBool(append(dst, `,"runAsNonRoot":`...), s.User != 0)
	dst = strconv.AppendInt(append(dst, `,"runAsUser":`...), s.User, 10)
	return append(dst, `,"seccompProfile":{"type":"RuntimeDefault"}}`...)
}

func (s *sidecar) appendResources(dst []byte) []byte {
	dst = appendQuantities(append(dst, `{"limits":`...), &s.Limits)
	dst = appendQuantities(append(dst, `,"requests":`...), &s.Requests)
	return append(dst, '}')
}

func appendQuantities(dst []byte, q *intent.Quantities) []byte {
	dst = append(dst, '{')
	count := 0
	for _, resource := range [...]pair{{"cpu", q.CPU}, {"ephemeral-storage", q.EphemeralStorage}, {"memory", q.Memory}} {
		if resource.value == "" {
			continue
		}
		dst = appendQuoted(comma(dst, count), resource.key)
		dst = appendQuoted(append(dst, ':'), resource.value)
		count++
	}
	return append(dst, '}')
}

// appendProbe appends the startup probe. Its failures are the Events that tell what is
// wrong, so it may fail for longer than the agent waits: that ends with a reason of its own.
func (s *sidecar) appendProbe(dst []byte) []byte {
	const period, timeout, reserve = 1, 5, 60 // seconds
	failures := (int64(s.StartTimeout/time.Second) + reserve) / period
	dst = append(appendStrings(append(dst, `{"exec":{"command":`...), s.check), `},"periodSeconds":`...)
	dst = strconv.AppendInt(dst, period, 10)
	dst = strconv.AppendInt(append(dst, `,"timeoutSeconds":`...), timeout, 10)
	dst = strconv.AppendInt(append(dst, `,"failureThreshold":`...), failures, 10)
	return append(dst, '}')
}

func appendStrings(dst []byte, texts []string) []byte {
	return appendTexts(dst, len(texts), func(i int) string { return texts[i] })
}
