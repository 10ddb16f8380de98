package injector

import (
	"example.io/mtls-injector/intent"
)

// csiDriver is cert-manager's CSI driver (https://cert-manager.io/docs/usage/csi-driver/),
// and prefix of its attributes.
const csiDriver = "csi.cert-manager.io"

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
	add(csiDriver+"/common-name", id.Subject.CommonName)
	add(csiDriver+"/dns-names", joinList(p, id.PodDNSNames()))
	add(csiDriver+"/duration", intent.ShortDuration(in.Lifetime.Duration))
	if in.FSGroup != nil {
		add(csiDriver+"/fs-group", p.digits(*in.FSGroup))
	}
	add(csiDriver+"/issuer-group", in.Issuer.Group)
	add(csiDriver+"/issuer-kind", in.Issuer.Kind)
	add(csiDriver+"/issuer-name", in.Issuer.Name)
	add(csiDriver+"/key-algorithm", string(in.Key.Algorithm))
	if in.Key.Size > 0 {
		add(csiDriver+"/key-size", p.digits(int64(in.Key.Size)))
	}
	add(csiDriver+"/key-usages", joinList(p, in.Usages))
	add(csiDriver+"/organizationalunits", joinList(p, id.Subject.OrganizationalUnits))
	add(csiDriver+"/organizations", joinList(p, id.Subject.Organizations))
	add(csiDriver+"/renew-before", intent.ShortDuration(in.Lifetime.RenewBefore))
	add(csiDriver+"/uri-sans", id.SPIFFEID)
	return list
}
