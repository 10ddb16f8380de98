package policy

import (
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/stretchr/testify/assert"

	"example.io/mtls-injector/intent"
)

func TestKeyRanges(t *testing.T) {
	ecdsa := func(least, greatest int) intent.KeyRule {
		return intent.KeyRule{Algorithm: cmapi.ECDSAKeyAlgorithm, MinSize: least, MaxSize: greatest}
	}
	rsa := func(least, greatest int) intent.KeyRule {
		return intent.KeyRule{Algorithm: cmapi.RSAKeyAlgorithm, MinSize: least, MaxSize: greatest}
	}
	ed25519 := intent.KeyRule{Algorithm: cmapi.Ed25519KeyAlgorithm}
	type rules = []intent.KeyRule
	for name, tc := range map[string]struct {
		key     intent.PrivateKey
		allowed rules
		want    rules
	}{
		"the default alone":         {intent.PrivateKey{Algorithm: cmapi.ECDSAKeyAlgorithm, Size: 256}, nil, rules{ecdsa(256, 256)}},
		"the default is allowed":    {intent.PrivateKey{Algorithm: cmapi.ECDSAKeyAlgorithm, Size: 256}, rules{ecdsa(256, 521)}, rules{ecdsa(256, 521)}},
		"one beside the range":      {intent.PrivateKey{Algorithm: cmapi.ECDSAKeyAlgorithm, Size: 256}, rules{ecdsa(384, 521)}, rules{ecdsa(256, 521)}},
		"one on the other side":     {intent.PrivateKey{Algorithm: cmapi.ECDSAKeyAlgorithm, Size: 521}, rules{ecdsa(256, 384)}, rules{ecdsa(256, 521)}},
		"one with a gap":            {intent.PrivateKey{Algorithm: cmapi.ECDSAKeyAlgorithm, Size: 256}, rules{ecdsa(521, 521)}, rules{ecdsa(521, 521), ecdsa(256, 256)}},
		"a bit beside the range":    {intent.PrivateKey{Algorithm: cmapi.RSAKeyAlgorithm, Size: 4097}, rules{rsa(2048, 4096)}, rules{rsa(2048, 4097)}},
		"a size with a gap":         {intent.PrivateKey{Algorithm: cmapi.RSAKeyAlgorithm, Size: 8192}, rules{rsa(2048, 4096)}, rules{rsa(2048, 4096), rsa(8192, 8192)}},
		"of another algorithm":      {intent.PrivateKey{Algorithm: cmapi.RSAKeyAlgorithm, Size: 2048}, rules{ecdsa(256, 384)}, rules{ecdsa(256, 384), rsa(2048, 2048)}},
		"without a size":            {intent.PrivateKey{Algorithm: cmapi.Ed25519KeyAlgorithm}, rules{ed25519}, rules{ed25519}},
		"without a size, by itself": {intent.PrivateKey{Algorithm: cmapi.Ed25519KeyAlgorithm}, rules{ecdsa(256, 256)}, rules{ecdsa(256, 256), ed25519}},
	} {
		t.Run(name, func(t *testing.T) {
			d := intent.BuiltinDefaults()
			d.Key, d.AllowedKeys = tc.key, tc.allowed
			assert.Equal(t, tc.want, keyRanges(d))
			assert.Equal(t, tc.allowed, d.AllowedKeys, "the configuration is shared")
		})
	}
}

// Of the sizes that there are, the ranges allow exactly those of the configuration.
func TestKeyRangesAreNeverWider(t *testing.T) {
	sizes := []int{256, 384, 521}
	for _, key := range sizes {
		for _, least := range sizes {
			for _, greatest := range sizes {
				if least > greatest {
					continue
				}
				d := intent.BuiltinDefaults()
				d.Key.Size = key
				d.AllowedKeys = []intent.KeyRule{{Algorithm: cmapi.ECDSAKeyAlgorithm, MinSize: least, MaxSize: greatest}}
				for _, size := range sizes {
					got := false
					for _, r := range keyRanges(d) {
						got = got || r.MinSize <= size && size <= r.MaxSize
					}
					assert.Equal(t, size == key || least <= size && size <= greatest, got, "%d: default %d, %d to %d", size, key, least, greatest)
				}
			}
		}
	}
}
