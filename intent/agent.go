package intent

import (
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
)

// The agent: the sidecar that lets a pod's containers start when their files are right,
// and tells the program when they have been renewed.

// AgentContainer is the name of the agent's container, AgentProgram the program in its
// image.
const (
	AgentContainer = "mtls-agent"
	AgentProgram   = "/mtls-agent"
)

// agentImage is where releases are, without tag.
const agentImage = "registry.example.io/mtls-injector"

// agentUser is the user of an agent that signals nobody: the one of distroless images.
const agentUser int64 = 65532

// AgentDefaults is what the configuration says of the agent.
type AgentDefaults struct {
	// Image holds the agent; empty for the release's own.
	Image           string
	ImagePullPolicy corev1.PullPolicy
	// MetricsPort is where the agent serves its metrics; 0 for nowhere.
	MetricsPort int64
	// StartTimeout is how long the agent waits for files that are right, before it ends
	// and is started again.
	StartTimeout     time.Duration
	Requests, Limits Quantities
}

// Quantities of resources, as Kubernetes writes them. An empty one is none.
type Quantities struct{ CPU, EphemeralStorage, Memory string }

// Agent is what was decided about the agent of a pod.
type Agent struct {
	Image           string
	ImagePullPolicy corev1.PullPolicy
	// MetricsPort is 0 when no metrics are served.
	MetricsPort      int64
	StartTimeout     time.Duration
	Requests, Limits Quantities
	// User and Group are what the agent runs as.
	User, Group int64
	// Usages are the extended key usages that the certificate must have, DNSNames its
	// names, with ${POD_NAME} for the pod's own.
	Usages   []cmapi.KeyUsage
	DNSNames []string
	// Reload is zero when the agent tells nobody of new files.
	Reload AgentReload
}

// AgentReload is how a program is told of new files: by a signal or by a POST to a URL.
type AgentReload struct {
	// Signal goes to the main process of the container, or to the topmost process of the
	// name Process in it.
	Signal, Container, Process string
	// URL is on localhost.
	URL string
}

// String says in a few words what the agent does: "guard" when it reloads nothing.
func (r AgentReload) String() string {
	switch {
	case r.URL != "":
		return "POST " + r.URL
	case r.Signal == "":
		return "guard"
	case r.Process != "":
		return r.Signal + " " + r.Container + "/" + r.Process
	default:
		return r.Signal + " " + r.Container
	}
}

// IsAgent reports whether the container is an agent that was injected.
func (c *Container) IsAgent() bool {
	return c.Name == AgentContainer && c.IsSidecar() && len(c.Command) > 0 && c.Command[0] == AgentProgram
}

// IsSidecar reports whether an init container runs as long as the pod does.
func (c *Container) IsSidecar() bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// agent decides about the agent, and returns nil when none is wanted.
func (r *resolution) agent(served *Selection) *Agent {
	s, d := &r.settings, &r.defaults.Agent
	reload := r.reload(served)
	if !s.agent && s.reload != ReloadSignal {
		return nil
	}
	if !r.defaults.Kubernetes.Has(nativeSidecars()) {
		r.refuse(r.agentKey(), "needs the agent, a native sidecar, which Kubernetes has from "+nativeSidecars().String()+
			" on, and this is "+r.defaults.Kubernetes.String()+": use reload: restart or none, and agent: false")
	}
	a := &Agent{
		Image: d.Image, ImagePullPolicy: d.ImagePullPolicy, MetricsPort: d.MetricsPort, StartTimeout: d.StartTimeout,
		Requests: d.Requests, Limits: d.Limits,
		User: agentUser, Reload: reload,
	}
	if a.Image == "" {
		a.Image = agentImage + ":" + r.defaults.Version
	}
	if r.pod.Spec.HostNetwork {
		a.MetricsPort = 0 // it would be the node's, and another pod's
	}
	r.runAs(a)
	return a
}

// agentKey is the annotation that asks for the agent.
func (r *resolution) agentKey() string {
	if r.settings.agent {
		return keyAgent
	}
	return keyReload
}

// reload decides how the program is told, and refuses what would tell nobody.
func (r *resolution) reload(served *Selection) AgentReload {
	s := &r.settings
	if s.reload != ReloadSignal {
		for _, key := range []string{keyReloadSignal, keyReloadContainer, keyReloadProcess, keyReloadURL} {
			if set, byNamespace := r.isSet(key); set && !byNamespace && r.sound(key, keyReload) {
				r.refuse(key, "only with reload: signal")
			}
		}
		return AgentReload{}
	}
	_, reloadByNamespace := r.isSet(keyReload)
	if set, byNamespace := r.isSet(keyAgent); set && !s.agent && (!byNamespace || reloadByNamespace) && r.sound(keyAgent) {
		r.refuse(keyAgent, "must be true with reload: signal, for it is the agent that signals")
	}
	if s.reloadURL != "" && r.byURL() {
		return AgentReload{URL: s.reloadURL}
	}
	reload := AgentReload{Signal: s.reloadSignal, Container: s.reloadContainer, Process: s.reloadProcess}
	if reload.Signal == "" {
		reload.Signal = "SIGHUP"
	}
	if reload.Container == "" {
		reload.Container = r.firstServed(served)
	}
	return reload
}

// firstServed returns the first container that gets the files.
func (r *resolution) firstServed(served *Selection) string {
	all := r.pod.Spec.Containers
	for i := range all {
		if served.Includes(all[i].Name) {
			return all[i].Name
		}
	}
	return ""
}

// byURL reports whether the URL stands, where a signal is told as well: what the pod says
// beats what its namespace says, and both in one place is a slip.
func (r *resolution) byURL() bool {
	_, urlByNamespace := r.isSet(keyReloadURL)
	stands := true
	for _, key := range []string{keyReloadSignal, keyReloadContainer, keyReloadProcess} {
		set, byNamespace := r.isSet(key)
		switch {
		case !set:
		case byNamespace == urlByNamespace && r.sound(key, keyReloadURL):
			r.refuse(key, "not with reload-url, which is called in place of a signal")
		case urlByNamespace:
			stands = false
		}
	}
	return stands
}

// runAs decides as whom the agent runs. To signal a process without a capability, which
// Pod Security "restricted" forbids, it has to be the same user (kill(2)).
func (r *resolution) runAs(a *Agent) {
	pod := orEmpty(r.pod.Spec.SecurityContext)
	if pod.RunAsUser != nil && *pod.RunAsUser != 0 {
		a.User = *pod.RunAsUser
	}
	if a.Reload.Signal == "" {
		return
	}
	r.checkProcesses()
	target := r.target(a.Reload.Container)
	if target == nil {
		return
	}
	user := firstNonNil(orEmpty(target.SecurityContext).RunAsUser, pod.RunAsUser)
	if user == nil {
		r.refuse(keyReload, "container "+quote(target.Name)+" does not say as which user it runs, and only the same user may signal it: "+
			"set its securityContext.runAsUser, or use "+Prefix+keyReloadURL)
		return
	}
	a.User = *user
}

// checkProcesses refuses a pod whose processes the agent is not to see.
func (r *resolution) checkProcesses() {
	switch shared := r.pod.Spec.ShareProcessNamespace; {
	case r.pod.Spec.HostPID:
		r.refuse(keyReload, "a signal needs a process namespace of the pod's own, and the pod has hostPID: true: use "+Prefix+keyReloadURL+" or reload: restart")
	case shared != nil && !*shared:
		r.refuse(keyReload, "a signal needs shareProcessNamespace: true, and the pod says false: take that out, or use "+Prefix+keyReloadURL+" or reload: restart")
	}
}

// target returns the container to signal, or refuses a name that the pod does not have.
func (r *resolution) target(name string) *Container {
	var names []string
	for i := range r.pod.Spec.Containers {
		c := &r.pod.Spec.Containers[i]
		if c.Name == name {
			return c
		}
		names = append(names, c.Name)
	}
	for i := range r.pod.Spec.InitContainers {
		c := &r.pod.Spec.InitContainers[i]
		if !c.IsSidecar() || c.IsAgent() {
			continue
		}
		if c.Name == name {
			return c
		}
		names = append(names, c.Name)
	}
	if name != "" && len(names) > 0 && r.sound(keyReloadContainer) {
		r.refuse(keyReloadContainer, "the pod has no such container that runs on; it has "+some(names)+didYouMean(name, names))
	}
	return nil
}

// completeAgent gives the agent what follows from other decisions.
func completeAgent(in *Intent, pod *Pod) {
	a := in.Agent
	if a == nil {
		return
	}
	switch sc := pod.Spec.SecurityContext; {
	case in.FSGroup != nil:
		a.Group = *in.FSGroup
	case sc != nil && sc.FSGroup != nil:
		a.Group = *sc.FSGroup
	}
	for _, usage := range in.Usages {
		if usage == cmapi.UsageServerAuth || usage == cmapi.UsageClientAuth {
			a.Usages = append(a.Usages, usage)
		}
	}
	a.DNSNames = in.Identity.PodDNSNames()
	if in.Delivery == DeliverySecret {
		a.DNSNames = in.Identity.CompanionDNSNames()
	}
}
