package migrate

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.io/mtls-injector/intent"
)

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func trimmed(items []string) []string {
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// same returns what all of them ask for, where one asks at all; two different wishes are
// refused, for the pod gets one certificate.
func same[T comparable](p *plan, what string, of func(*ask) T) (value T) {
	var none T
	var from string
	for _, a := range p.asks {
		switch got := of(a); {
		case got == none || got == value:
		case value == none:
			value, from = got, a.from
		default:
			p.refuse(from + " and " + a.from + " have different " + what + ", and the pod gets one certificate: choose one")
		}
	}
	return value
}

// decideCertificate takes what certificates say besides their names.
func (p *plan) decideCertificate() {
	d := p.known.defaults
	p.decideIssuer(same(p, "issuers", func(a *ask) intent.Issuer { return a.issuer }))
	usual := d.Both
	switch p.role() {
	case intent.RoleServer:
		usual = d.Server
	case intent.RoleClient:
		usual = d.Client
	}
	duration := same(p, "durations", func(a *ask) time.Duration { return a.duration })
	if duration != 0 && duration != usual.Duration {
		p.set("duration", intent.ShortDuration(duration))
	}
	renew := same(p, "renewal times", func(a *ask) time.Duration { return a.renewBefore })
	if renew != 0 && (renew != usual.RenewBefore || p.annotations[intent.Prefix+"duration"] != "") {
		p.set("renew-before", intent.ShortDuration(renew))
	}
	p.decideKey()
	if text := same(p, "organizations", func(a *ask) string { return strings.Join(a.organizations, ",") }); text != "" {
		p.set("organizations", text)
	}
	if text := same(p, "organizational units", func(a *ask) string { return strings.Join(a.units, ",") }); text != "" {
		p.set("organizational-units", text)
	}
}

func (p *plan) decideKey() {
	d := p.known.defaults
	algorithm := same(p, "key algorithms", func(a *ask) string { return a.keyAlgorithm })
	size := same(p, "key sizes", func(a *ask) int { return a.keySize })
	if algorithm != "" && !strings.EqualFold(algorithm, string(d.Key.Algorithm)) {
		p.set("key-algorithm", algorithm)
	}
	if size != 0 && algorithm != "" && (size != d.Key.Size || p.annotations[intent.Prefix+"key-algorithm"] != "") {
		p.set("key-size", strconv.Itoa(size))
	}
}

func (p *plan) decideIssuer(issuer intent.Issuer) {
	usual := p.known.defaults.Issuer
	if issuer == usual {
		return
	}
	p.set("issuer", issuer.Name)
	if issuer.Kind != usual.Kind {
		p.set("issuer-kind", issuer.Kind)
	}
	if issuer.Group != usual.Group {
		p.set("issuer-group", issuer.Group)
	}
}

// decideNames compares the names that are asked for with those that the pod gets by itself.
func (p *plan) decideNames(in *intent.Intent) {
	id := &in.Identity
	own := slices.Concat(id.PodDNSNames(), id.CompanionDNSNames())
	var more []string
	for _, a := range p.asks {
		for _, name := range a.dnsNames {
			name = p.expand(name)
			if !slices.Contains(own, name) && !slices.Contains(more, name) {
				more = append(more, name)
			}
		}
		for _, uri := range a.uris {
			if uri = p.expand(uri); uri != id.SPIFFEID {
				p.refuse(a.from + ": URI " + uri + " is not the pod's SPIFFE ID " + id.SPIFFEID + ", and no annotation says another")
			}
		}
		if name := p.expand(a.commonName); name != "" && name != id.Subject.CommonName {
			p.set("common-name", name)
		}
	}
	if len(more) > 0 {
		p.set("dns-names", strings.Join(more, ","))
	}
}

// expand expands the driver's variables that are the same for all pods of a workload.
func (p *plan) expand(text string) string {
	account := orElse(p.found.Pod.Spec.ServiceAccountName, "default")
	return strings.NewReplacer("${POD_NAMESPACE}", p.namespace(), "$POD_NAMESPACE", p.namespace(),
		"${SERVICE_ACCOUNT_NAME}", account, "$SERVICE_ACCOUNT_NAME", account, "$POD_NAME.", "${POD_NAME}.").Replace(text)
}
