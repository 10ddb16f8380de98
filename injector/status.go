package injector

import (
	"example.io/mtls-injector/intent"
)

// Status is what the annotation [intent.AnnotationStatus] tells people. Nothing is ever
// decided by it.
type Status struct {
	// Version of the injector.
	Version string      `json:"version"`
	Role    intent.Role `json:"role"`
	// Workload is "Kind/name".
	Workload string `json:"workload"`
	// SPIFFE is the URI SAN, DNS are the DNS SANs of the pod's certificate; with delivery
	// by CSI they may contain the driver's variable ${POD_NAME}.
	SPIFFE string   `json:"spiffe"`
	DNS    []string `json:"dns,omitempty"`
	// Issuer is as in [intent.Issuer.String].
	Issuer   string          `json:"issuer"`
	Delivery intent.Delivery `json:"delivery"`
	// Companion is the name of the companion Certificate, empty when there is none.
	Companion string `json:"companion,omitempty"`
	// Agent is what the agent does besides guarding the start, as in
	// [intent.AgentReload.String]; empty when there is none.
	Agent string `json:"agent,omitempty"`
	// Containers got the files: init containers first, each kind in the pod's order.
	Containers []string `json:"containers"`
	// Undo is for `kubectl mtls uninject`.
	Undo Undo `json:"undo,omitzero"`
}

// status writes the annotation, over whatever stands there.
func status(p *patch) {
	annotations := p.pod.Metadata.Annotations
	want := p.appendStatus(p.room.status[:0])
	have, ok := annotations[intent.AnnotationStatus]
	switch {
	case ok && have == string(want):
	case ok:
		p.operation("replace", statusPath, string(want))
	case len(annotations) == 0:
		p.add("/metadata/annotations", &pair{intent.AnnotationStatus, string(want)})
	default:
		p.add(statusPath, string(want))
	}
}

// appendStatus appends the JSON of a [Status] without making one.
func (p *patch) appendStatus(dst []byte) []byte {
	in := p.in
	names := in.Identity.PodDNSNames
	if in.Delivery == intent.DeliverySecret {
		names = in.Identity.CompanionDNSNames
	}
	dst = appendQuoted(append(dst, `{"version":`...), in.Version)
	dst = appendQuoted(append(dst, `,"role":`...), string(in.Role))
	dst = appendQuoted(append(dst, `,"workload":`...), p.join(in.Workload.Kind, "/", in.Workload.Name))
	dst = appendQuoted(append(dst, `,"spiffe":`...), in.Identity.SPIFFEID)
	if dns := names(); len(dns) > 0 {
		dst = appendTexts(append(dst, `,"dns":`...), len(dns), func(i int) string { return dns[i] })
	}
	dst = appendQuoted(append(dst, `,"issuer":`...), in.Issuer.String())
	dst = appendQuoted(append(dst, `,"delivery":`...), string(in.Delivery))
	if in.Companion {
		dst = appendQuoted(append(dst, `,"companion":`...), in.CompanionName)
	}
	if in.Agent != nil {
		dst = appendQuoted(append(dst, `,"agent":`...), in.Agent.Reload.String())
	}
	dst = appendTexts(append(dst, `,"containers":`...), len(p.served), func(i int) string { return p.served[i].Name })
	return append(p.appendUndo(append(dst, `,"undo":`...)), '}')
}
