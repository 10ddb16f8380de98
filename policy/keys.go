package policy

import (
	"slices"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"

	"example.io/mtls-injector/intent"
)

// keyRanges returns the kinds of private keys that the configuration allows, the default
// among them: one policy is for one algorithm and one range of sizes.
func keyRanges(d *intent.Defaults) []intent.KeyRule {
	ranges := slices.Clone(d.AllowedKeys)
	i := slices.IndexFunc(ranges, func(r intent.KeyRule) bool { return r.Algorithm == d.Key.Algorithm })
	if i >= 0 && extend(&ranges[i], d.Key.Size) {
		return ranges
	}
	return append(ranges, intent.KeyRule{Algorithm: d.Key.Algorithm, MinSize: d.Key.Size, MaxSize: d.Key.Size})
}

// extend takes a size into the range, if that takes no other size with it.
func extend(r *intent.KeyRule, size int) bool {
	wider := intent.KeyRule{Algorithm: r.Algorithm, MinSize: min(r.MinSize, size), MaxSize: max(r.MaxSize, size)}
	for other := wider.MinSize; other <= wider.MaxSize; other++ {
		exists := intent.PrivateKey{Algorithm: r.Algorithm, Size: other}.Validate() == nil
		if exists && other != size && (other < r.MinSize || other > r.MaxSize) {
			return false
		}
	}
	*r = wider
	return true
}

// usages are what mutual TLS needs. RSA alone enciphers keys, but the CSI driver asks for
// it with every key when its volume names no usages.
func usages() []cmapi.KeyUsage {
	return []cmapi.KeyUsage{cmapi.UsageDigitalSignature, cmapi.UsageKeyEncipherment, cmapi.UsageServerAuth, cmapi.UsageClientAuth}
}
