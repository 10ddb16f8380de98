package injector

// processes lets the agent see the process that it is to signal: the pod's containers
// share one process namespace. Where the pod forbids that, the intent was refused.
func processes(p *patch) {
	a := p.in.Agent
	if a == nil || a.Reload.Signal == "" {
		return
	}
	if p.pod.Spec.ShareProcessNamespace != nil {
		p.keep(keptShared)
		return
	}
	p.add("/spec/shareProcessNamespace", true)
}
