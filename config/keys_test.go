package config_test

// The rules of keys, and the modes of admission.

import (
	"strconv"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/config"
	"example.io/mtls-injector/intent"
)

func TestParseKeysAndModes(t *testing.T) {
	for name, test := range map[string]parsed{
		"admission": {
			yaml: "admission: {guard: warn, workloads: off}\n",
			want: func(_ *testing.T, d *intent.Defaults) { d.Guard, d.Workloads = intent.ModeWarn, intent.ModeOff },
		},
		"admission, part of it": {
			yaml: "admission: {workloads: warn}\n",
			want: func(_ *testing.T, d *intent.Defaults) { d.Workloads = intent.ModeWarn },
		},
		"keys that may be asked for": {
			yaml: "privateKey: {allowed: [{algorithm: RSA, minSize: 3000, maxSize: 3000}, {algorithm: ECDSA, minSize: 384, maxSize: 521}]}\n",
			want: func(_ *testing.T, d *intent.Defaults) {
				d.AllowedKeys = []intent.KeyRule{
					{Algorithm: cmapi.RSAKeyAlgorithm, MinSize: 3000, MaxSize: 3000},
					{Algorithm: cmapi.ECDSAKeyAlgorithm, MinSize: 384, MaxSize: 521},
				}
			},
		},
		"keys of any size": {
			yaml: "privateKey: {allowed: [{algorithm: RSA, minSize: 3072}, {algorithm: ECDSA, maxSize: 384}, {algorithm: Ed25519}]}\n",
			want: func(_ *testing.T, d *intent.Defaults) {
				d.AllowedKeys = []intent.KeyRule{
					{Algorithm: cmapi.RSAKeyAlgorithm, MinSize: 3072, MaxSize: 8192},
					{Algorithm: cmapi.ECDSAKeyAlgorithm, MinSize: 256, MaxSize: 384},
					{Algorithm: cmapi.Ed25519KeyAlgorithm},
				}
			},
		},
		"no key but the default": {
			yaml: "privateKey: {allowed: []}\n",
			want: func(_ *testing.T, d *intent.Defaults) { d.AllowedKeys = nil },
		},
	} {
		t.Run(name, test.check)
	}
}

func TestParseRefusesKeyRules(t *testing.T) {
	const algorithms = "must be one of ECDSA, RSA, Ed25519"
	for name, test := range map[string]struct{ rules, want string }{
		"no algorithm":          {"{minSize: 2048}", `privateKey.allowed[0].algorithm: Invalid value: "": ` + algorithms},
		"unknown algorithm":     {"{algorithm: RSA1}", `privateKey.allowed[0].algorithm: Invalid value: "RSA1": ` + algorithms + `; did you mean "RSA"?`},
		"lower case":            {"{algorithm: ecdsa}", `privateKey.allowed[0].algorithm: Invalid value: "ecdsa": ` + algorithms + `; did you mean "ECDSA"?`},
		"twice":                 {"{algorithm: RSA}, {algorithm: ECDSA}, {algorithm: RSA, minSize: 4096}", `privateKey.allowed[2].algorithm: Duplicate value: "RSA"`},
		"too small":             {"{algorithm: RSA, minSize: 2047}", "privateKey.allowed[0].minSize: Invalid value: 2047: must be from 2048 to 8192 for RSA, not 2047"},
		"too large":             {"{algorithm: RSA, maxSize: 8193}", "privateKey.allowed[0].maxSize: Invalid value: 8193: must be from 2048 to 8192 for RSA, not 8193"},
		"zero":                  {"{algorithm: RSA, minSize: 0}", "privateKey.allowed[0].minSize: Invalid value: 0: must be from 2048 to 8192 for RSA, not 0"},
		"no curve":              {"{algorithm: ECDSA, maxSize: 512}", "privateKey.allowed[0].maxSize: Invalid value: 512: must be 256, 384 or 521 for ECDSA, not 512"},
		"upside down":           {"{algorithm: ECDSA, minSize: 384, maxSize: 256}", "privateKey.allowed[0].maxSize: Invalid value: 256: must be at least minSize (384)"},
		"sizes of another kind": {"{algorithm: RSA, minSize: 256, maxSize: 521}", "[privateKey.allowed[0].minSize: Invalid value: 256: must be from 2048 to 8192 for RSA, not 256, privateKey.allowed[0].maxSize: Invalid value: 521: must be from 2048 to 8192 for RSA, not 521]"},
		"sizes of one size":     {"{algorithm: Ed25519, minSize: 256, maxSize: 256}", "[privateKey.allowed[0].minSize: Invalid value: 256: must be left out for Ed25519, whose keys have one size, privateKey.allowed[0].maxSize: Invalid value: 256: must be left out for Ed25519, whose keys have one size]"},
		"a text":                {`{algorithm: RSA, minSize: "4096", maxSize: 3072}`, `privateKey.allowed[0].minSize: Invalid value: "4096": line 3: must be a whole number`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse([]byte(header + "privateKey: {allowed: [" + test.rules + "]}\n"))
			require.EqualError(t, err, test.want)
		})
	}
}

// TestBuiltinKeyRulesAreWhole: sizes that a rule leaves out are theirs, so they must have
// all that cert-manager takes.
func TestBuiltinKeyRulesAreWhole(t *testing.T) {
	for _, rule := range intent.BuiltinDefaults().AllowedKeys {
		for size := range 10000 {
			within := size >= rule.MinSize && size <= rule.MaxSize
			if (intent.PrivateKey{Algorithm: rule.Algorithm, Size: size}).Validate() == nil && !within {
				t.Errorf("%s %d is outside of %+v", rule.Algorithm, size, rule)
			}
		}
		for _, size := range []int{rule.MinSize, rule.MaxSize} {
			assert.NoError(t, intent.PrivateKey{Algorithm: rule.Algorithm, Size: size}.Validate())
		}
	}
}

func TestParseRefusesModes(t *testing.T) {
	const modes = "must be one of enforce, warn, off"
	for mode, want := range map[string]string{
		"": modes, "Enforce": modes + `; did you mean "enforce"?`, "wran": modes + `; did you mean "warn"?`, "deny": modes,
	} {
		for _, name := range []string{"guard", "workloads"} {
			_, err := config.Parse([]byte(header + "admission: {" + name + ": " + strconv.Quote(mode) + "}\n"))
			assert.EqualError(t, err, "admission."+name+": Invalid value: "+strconv.Quote(mode)+": "+want)
		}
	}
}
