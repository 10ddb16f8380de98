package injector

import (
	"example.io/mtls-injector/intent"
)

// maxAttributes is how many attributes a volume can have.
const maxAttributes = 14

// attribute is one of a CSI volume's volumeAttributes.
type attribute struct{ key, value string }

// attributes returns what the driver is asked for, sorted by key as encoding/json sorts
// maps. Every default that we rely on is spelled out, but for the private key's encoding:
// PKCS #1 for RSA and PKCS #8 for the rest is what TLS libraries read anyway.
func (p *patch) attributes() []attribute {
	in, id := p.in, &p.in.Identity
	list := p.room.attributes[:0]
	add := func(key, value string) {
		if value != "" {
			list = append(list, attribute{key: key, value: value})
		}
	}
	add(intent.CSIDriver+"/common-name", id.Subject.CommonName)
	add(intent.CSIDriver+"/dns-names", joinList(p, id.PodDNSNames()))
	add(intent.CSIDriver+"/duration", intent.ShortDuration(in.Lifetime.Duration))
	if in.FSGroup != nil {
		add(intent.CSIDriver+"/fs-group", p.digits(*in.FSGroup))
	}
	add(intent.CSIDriver+"/issuer-group", in.Issuer.Group)
	add(intent.CSIDriver+"/issuer-kind", in.Issuer.Kind)
	add(intent.CSIDriver+"/issuer-name", in.Issuer.Name)
	add(intent.CSIDriver+"/key-algorithm", string(in.Key.Algorithm))
	if in.Key.Size > 0 {
		add(intent.CSIDriver+"/key-size", p.digits(int64(in.Key.Size)))
	}
	add(intent.CSIDriver+"/key-usages", joinList(p, in.Usages))
	add(intent.CSIDriver+"/organizationalunits", joinList(p, id.Subject.OrganizationalUnits))
	add(intent.CSIDriver+"/organizations", joinList(p, id.Subject.Organizations))
	add(intent.CSIDriver+"/renew-before", intent.ShortDuration(in.Lifetime.RenewBefore))
	add(intent.CSIDriver+"/uri-sans", id.SPIFFEID)
	return list
}
