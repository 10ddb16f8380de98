package injector

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"example.io/mtls-injector/intent"
)

// probes turns HTTPS httpGet probes into tcpSocket, or says that they can fail: the
// kubelet has no client certificate to present to a server that requires one.
func probes(p *patch) {
	var kept []string
	for i := range p.served {
		t := &p.served[i]
		for _, probe := range [...]struct {
			name string
			*intent.Probe
		}{
			{"livenessProbe", t.LivenessProbe},
			{"readinessProbe", t.ReadinessProbe},
			{"startupProbe", t.StartupProbe},
		} {
			switch {
			case probe.Probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Scheme != corev1.URISchemeHTTPS:
			case p.in.Probes == intent.ProbesTCP:
				get := probe.HTTPGet
				p.before.probe(t.Name+"/"+probe.name, get)
				p.operation("remove", p.join(t.path, "/", probe.name, "/httpGet"), nil)
				p.add(p.join(t.path, "/", probe.name, "/tcpSocket"), &corev1.TCPSocketAction{Port: get.Port, Host: get.Host})
			case p.in.Role.IsServer():
				kept = append(kept, t.Name+"."+probe.name)
			}
		}
	}
	if len(kept) > 0 {
		p.warn("HTTPS probes present no client certificate and fail where one is required (" + strings.Join(kept, ", ") +
			"): " + intent.Prefix + "probes: tcp turns them into tcpSocket")
	}
}
