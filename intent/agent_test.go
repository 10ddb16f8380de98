package intent_test

import (
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"

	"example.io/mtls-injector/intent"
)

// asUser has every container run as a known user.
func asUser(pod *intent.Pod) {
	pod.Spec.SecurityContext = &intent.PodSecurityContext{RunAsUser: new(int64(1000)), FSGroup: new(int64(1000))}
}

// sidecarProxy is a native sidecar.
func sidecarProxy(pod *intent.Pod) {
	always := corev1.ContainerRestartPolicyAlways
	pod.Spec.InitContainers = append(pod.Spec.InitContainers, intent.Container{Name: "proxy", RestartPolicy: &always})
}

func TestReloadAndAgent(t *testing.T) {
	const (
		noSignal  = "only with reload: signal"
		noURL     = "not with reload-url, which is called in place of a signal"
		noUser    = `container "app" does not say as which user it runs, and only the same user may signal it: set its securityContext.runAsUser, or use mtls.example.io/reload-url`
		noSidecar = "needs the agent, a native sidecar, which Kubernetes has from 1.29 on, and this is 1.28: use reload: restart or none, and agent: false"
		noHost    = "a signal needs a process namespace of the pod's own, and the pod has hostPID: true: use mtls.example.io/reload-url or reload: restart"
		noSharing = "a signal needs shareProcessNamespace: true, and the pod says false: take that out, or use mtls.example.io/reload-url or reload: restart"
		needed    = "must be true with reload: signal, for it is the agent that signals"
		url       = "http://localhost:8080/reload"
	)
	old := func(d *intent.Defaults) { d.Kubernetes = intent.KubernetesVersion{Major: 1, Minor: 28} }
	for name, c := range map[string]struct {
		namespace, pod []string
		configure      func(*intent.Defaults)
		spec           []func(*intent.Pod)
		errors         []string
		// agent is what it does, "" where there is none.
		agent string
	}{
		"none":                        {pod: []string{"reload", "none"}},
		"restart":                     {pod: []string{"reload", "restart"}},
		"signal":                      {pod: []string{"reload", "signal"}, spec: []func(*intent.Pod){asUser}, agent: "SIGHUP app"},
		"signal by the namespace":     {namespace: []string{"reload", "signal"}, spec: []func(*intent.Pod){asUser}, agent: "SIGHUP app"},
		"signal by the configuration": {configure: func(d *intent.Defaults) { d.Reload = intent.ReloadSignal }, spec: []func(*intent.Pod){asUser}, agent: "SIGHUP app"},
		"signal without companion":    {pod: []string{"reload", "signal", "companion", "false"}, spec: []func(*intent.Pod){asUser}, agent: "SIGHUP app"},
		"signal with its details":     {pod: []string{"reload", "signal", "reload-signal", "SIGUSR1", "reload-container", "istio-proxy", "reload-process", "envoy"}, spec: []func(*intent.Pod){asUser}, agent: "SIGUSR1 istio-proxy/envoy"},
		"signal to a sidecar":         {pod: []string{"reload", "signal", "reload-container", "proxy"}, spec: []func(*intent.Pod){asUser, sidecarProxy}, agent: "SIGHUP proxy"},
		"signal, the served one":      {pod: []string{"reload", "signal", "containers", "istio-proxy"}, spec: []func(*intent.Pod){asUser}, agent: "SIGHUP istio-proxy"},
		"signal to none of the pod's": {pod: []string{"reload", "signal", "reload-container", "ap"}, spec: []func(*intent.Pod){asUser, sidecarProxy}, errors: []string{refusal("reload-container", "ap", `the pod has no such container that runs on; it has app, istio-proxy, proxy; did you mean "app"?`)}},
		"signal to one that ends":     {pod: []string{"reload", "signal", "reload-container", "migrate"}, spec: []func(*intent.Pod){asUser}, errors: []string{refusal("reload-container", "migrate", `the pod has no such container that runs on; it has app, istio-proxy`)}},
		"signal to a malformed one":   {pod: []string{"reload", "signal", "reload-container", "A"}, spec: []func(*intent.Pod){asUser}, errors: []string{refusal("reload-container", "A", notLabel)}},
		"signal to whom":              {pod: []string{"reload", "signal"}, errors: []string{refusal("reload", "signal", noUser)}},
		"signal to whom, a namespace": {namespace: []string{"reload", "signal"}, errors: []string{"namespace." + refusal("reload", "signal", noUser)}},
		"signal to root": {pod: []string{"reload", "signal"}, spec: []func(*intent.Pod){func(p *intent.Pod) {
			p.Spec.Containers[0].SecurityContext = &intent.SecurityContext{RunAsUser: new(int64(0))}
		}}, agent: "SIGHUP app"},
		"signal across the node":     {pod: []string{"reload", "signal"}, spec: []func(*intent.Pod){asUser, func(p *intent.Pod) { p.Spec.HostPID = true }}, errors: []string{refusal("reload", "signal", noHost)}},
		"signal across a wall":       {pod: []string{"reload", "signal"}, spec: []func(*intent.Pod){asUser, func(p *intent.Pod) { p.Spec.ShareProcessNamespace = new(false) }}, errors: []string{refusal("reload", "signal", noSharing)}},
		"signal, shared already":     {pod: []string{"reload", "signal"}, spec: []func(*intent.Pod){asUser, func(p *intent.Pod) { p.Spec.ShareProcessNamespace = new(true) }}, agent: "SIGHUP app"},
		"signal, old server":         {pod: []string{"reload", "signal"}, configure: old, spec: []func(*intent.Pod){asUser}, errors: []string{refusal("reload", "signal", noSidecar)}},
		"agent, old server":          {pod: []string{"agent", "true"}, configure: old, errors: []string{refusal("agent", "true", noSidecar)}},
		"neither, old server":        {configure: old},
		"which signal":               {pod: []string{"reload-signal", "SIGHUP"}, errors: []string{refusal("reload-signal", "SIGHUP", noSignal)}},
		"which container":            {pod: []string{"reload-container", "app"}, errors: []string{refusal("reload-container", "app", noSignal)}},
		"which process":              {pod: []string{"reload-process", "app"}, errors: []string{refusal("reload-process", "app", noSignal)}},
		"which URL":                  {pod: []string{"reload-url", url}, errors: []string{refusal("reload-url", url, noSignal)}},
		"which of both, restart":     {pod: []string{"reload", "restart", "reload-signal", "SIGHUP", "reload-container", "app"}, errors: []string{refusal("reload-signal", "SIGHUP", noSignal), refusal("reload-container", "app", noSignal)}},
		"which, by the namespace":    {namespace: []string{"reload-signal", "SIGHUP", "reload-container", "app", "reload-url", url}},
		"URL":                        {pod: []string{"reload", "signal", "reload-url", url}, agent: "POST " + url},
		"URL by the namespace":       {namespace: []string{"reload", "signal", "reload-url", url}, agent: "POST " + url},
		"URL across the node":        {pod: []string{"reload", "signal", "reload-url", url}, spec: []func(*intent.Pod){func(p *intent.Pod) { p.Spec.HostPID = true }}, agent: "POST " + url},
		"URL and signal":             {pod: []string{"reload", "signal", "reload-url", url, "reload-signal", "SIGHUP"}, errors: []string{refusal("reload-signal", "SIGHUP", noURL)}, spec: []func(*intent.Pod){asUser}},
		"URL over a namespace's":     {namespace: []string{"reload", "signal", "reload-signal", "SIGUSR2"}, pod: []string{"reload-url", url}, agent: "POST " + url},
		"signal over a namespace's":  {namespace: []string{"reload", "signal", "reload-url", url}, pod: []string{"reload-signal", "SIGUSR2"}, spec: []func(*intent.Pod){asUser}, agent: "SIGUSR2 app"},
		"agent":                      {pod: []string{"agent", "true"}, agent: "guard"},
		"no agent":                   {pod: []string{"agent", "false"}},
		"agent by the namespace":     {namespace: []string{"agent", "true"}, agent: "guard"},
		"no agent for all its worth": {namespace: []string{"agent", "true"}, pod: []string{"agent", "false"}},
		"agent and signal":           {pod: []string{"agent", "true", "reload", "signal"}, spec: []func(*intent.Pod){asUser}, agent: "SIGHUP app"},
		"signal and no agent":        {pod: []string{"agent", "false", "reload", "signal"}, spec: []func(*intent.Pod){asUser}, errors: []string{refusal("agent", "false", needed)}},
		"signal, no agent by all":    {namespace: []string{"agent", "false"}, pod: []string{"reload", "signal"}, spec: []func(*intent.Pod){asUser}, agent: "SIGHUP app"},
	} {
		t.Run(name, func(t *testing.T) {
			d := intent.BuiltinDefaults()
			if c.configure != nil {
				c.configure(d)
			}
			pod := newPod(append(c.pod, "role", "client")...)
			for _, change := range c.spec {
				change(pod)
			}
			got := intent.Resolve(d, newNamespace(c.namespace...), pod, nil)
			assert.Equal(t, c.errors, texts(got.Errors))
			assert.Empty(t, got.Warnings)
			if c.errors != nil {
				return
			}
			does := ""
			if in := mustIntent(t, got); in.Agent != nil {
				does = in.Agent.Reload.String()
			}
			assert.Equal(t, c.agent, does)
		})
	}
}

// What the agent is: where it comes from, as whom it runs, and what it looks for.
func TestAgent(t *testing.T) {
	const namesOfWeb, own = "web.shop.svc.cluster.local", "${POD_NAME}.web.shop.svc.cluster.local"
	for name, c := range map[string]struct {
		pod       []string
		configure func(*intent.Defaults)
		spec      func(*intent.Pod)
		want      func(*intent.Agent)
	}{
		"server": {},
		"client": {pod: []string{"role", "client"}, want: func(a *intent.Agent) {
			a.Usages, a.DNSNames = []cmapi.KeyUsage{cmapi.UsageClientAuth}, nil
		}},
		"both, RSA": {pod: []string{"role", "both", "key-algorithm", "RSA"}, want: func(a *intent.Agent) {
			a.Usages = []cmapi.KeyUsage{cmapi.UsageServerAuth, cmapi.UsageClientAuth}
		}},
		"shared Secret": {pod: []string{"delivery", "secret"}, want: func(a *intent.Agent) {
			a.DNSNames[len(a.DNSNames)-1] = "*." + namesOfWeb
		}},
		"configured": {configure: func(d *intent.Defaults) {
			d.Agent = intent.AgentDefaults{Image: "r/x@sha256:00", ImagePullPolicy: corev1.PullNever, StartTimeout: time.Minute}
		}, want: func(a *intent.Agent) {
			a.Image, a.ImagePullPolicy, a.MetricsPort, a.StartTimeout = "r/x@sha256:00", corev1.PullNever, 0, time.Minute
			a.Requests, a.Limits = intent.Quantities{}, intent.Quantities{}
		}},
		"network of the node": {spec: func(p *intent.Pod) { p.Spec.HostNetwork = true }, want: func(a *intent.Agent) { a.MetricsPort = 0 }},
		"user and group of the pod": {spec: func(p *intent.Pod) {
			p.Spec.SecurityContext = &intent.PodSecurityContext{RunAsUser: new(int64(1000)), RunAsGroup: new(int64(2000))}
		}, want: func(a *intent.Agent) { a.User, a.Group = 1000, 2000 }},
		"group of the pod's volumes": {spec: func(p *intent.Pod) {
			p.Spec.SecurityContext = &intent.PodSecurityContext{FSGroup: new(int64(3000))}
		}, want: func(a *intent.Agent) { a.Group = 3000 }},
		"group by annotation": {pod: []string{"fs-group", "4000"}, spec: func(p *intent.Pod) {
			p.Spec.SecurityContext = &intent.PodSecurityContext{FSGroup: new(int64(3000))}
		}, want: func(a *intent.Agent) { a.Group = 4000 }},
		"root needs no root": {spec: func(p *intent.Pod) {
			p.Spec.SecurityContext = &intent.PodSecurityContext{RunAsUser: new(int64(0))}
		}},
		"user of the container": {pod: []string{"reload", "signal"}, spec: func(p *intent.Pod) {
			asUser(p)
			p.Spec.Containers[0].SecurityContext = &intent.SecurityContext{RunAsUser: new(int64(101))}
		}, want: func(a *intent.Agent) {
			a.User, a.Group, a.Reload = 101, 1000, intent.AgentReload{Signal: "SIGHUP", Container: "app"}
		}},
		"user of a URL": {pod: []string{"reload", "signal", "reload-url", "http://localhost:1/"}, want: func(a *intent.Agent) {
			a.Reload = intent.AgentReload{URL: "http://localhost:1/"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			want := &intent.Agent{
				Image: "registry.example.io/mtls-injector:dev", ImagePullPolicy: corev1.PullIfNotPresent,
				MetricsPort: 9469, StartTimeout: 10 * time.Minute,
				Requests: intent.Quantities{CPU: "5m", Memory: "16Mi"}, Limits: intent.Quantities{Memory: "16Mi"},
				User: 65532, Usages: []cmapi.KeyUsage{cmapi.UsageServerAuth},
				DNSNames: []string{"web", "web.shop", "web.shop.svc", namesOfWeb, own},
			}
			if c.want != nil {
				c.want(want)
			}
			d := intent.BuiltinDefaults()
			if c.configure != nil {
				c.configure(d)
			}
			pod := newPod(append([]string{"role", "server", "agent", "true"}, c.pod...)...)
			if c.spec != nil {
				c.spec(pod)
			}
			web := webService()
			web.Headless = true
			got := intent.Resolve(d, newNamespace(), pod, []intent.Service{web})
			assert.Equal(t, want, mustIntent(t, got).Agent)
		})
	}
}

// An agent that is there already is none of the pod's own containers.
func TestAgentIsNoContainerOfThePods(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	agent := intent.Container{
		Name: intent.AgentContainer, RestartPolicy: &always, Command: []string{intent.AgentProgram, "run"},
		SecurityContext: &intent.SecurityContext{RunAsUser: new(int64(65532)), RunAsGroup: new(int64(7))},
	}
	assert.True(t, agent.IsAgent())
	for name, change := range map[string]func(*intent.Container){
		"another name":    func(c *intent.Container) { c.Name = "agent" },
		"one that ends":   func(c *intent.Container) { c.RestartPolicy = nil },
		"another program": func(c *intent.Container) { c.Command = []string{"/bin/sh"} },
		"its image's own": func(c *intent.Container) { c.Command = nil },
	} {
		t.Run(name, func(t *testing.T) {
			other := agent
			change(&other)
			assert.False(t, other.IsAgent())
		})
	}
	pod := newPod("role", "server", "agent", "true", "containers", "mtls-agnet,app")
	pod.Spec.InitContainers = append([]intent.Container{agent}, pod.Spec.InitContainers...)
	result := intent.Resolve(intent.BuiltinDefaults(), newNamespace(), pod, []intent.Service{webService()})
	in := mustIntent(t, result)
	assert.Nil(t, in.FSGroup, "its group is not one that the pod's containers share")
	assert.Equal(t, []string{`mtls.example.io/containers names "mtls-agnet", which the pod does not have`}, result.Warnings)
}
