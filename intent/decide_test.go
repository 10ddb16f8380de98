package intent_test

import (
	"math"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/labels"

	"example.io/mtls-injector/intent"
)

// refusal is the text of an error at one of the pod's annotations.
func refusal(key, value, detail string) string {
	return "metadata.annotations[mtls.example.io/" + key + `]: Invalid value: "` + value + `": ` + detail
}

func TestUsages(t *testing.T) {
	const signature, encipherment, server, client = "digital signature", "key encipherment", "server auth", "client auth"
	for name, c := range map[string]struct {
		role, algorithm string
		want            []cmapi.KeyUsage
	}{
		"server ECDSA":   {"server", "ECDSA", []cmapi.KeyUsage{signature, server}},
		"server RSA":     {"server", "RSA", []cmapi.KeyUsage{signature, encipherment, server}},
		"server Ed25519": {"server", "Ed25519", []cmapi.KeyUsage{signature, server}},
		"client ECDSA":   {"client", "ECDSA", []cmapi.KeyUsage{signature, client}},
		"client RSA":     {"client", "RSA", []cmapi.KeyUsage{signature, encipherment, client}},
		"both ECDSA":     {"both", "ECDSA", []cmapi.KeyUsage{signature, server, client}},
		"both RSA":       {"both", "RSA", []cmapi.KeyUsage{signature, encipherment, server, client}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, c.want, mustIntent(t, resolve("role", c.role, "key-algorithm", c.algorithm)).Usages)
		})
	}
}

func TestLifetime(t *testing.T) {
	const day = 24 * time.Hour
	bounds := "must be from 1h to 8760h, the bounds of the configuration (lifetimes)"
	for name, c := range map[string]struct {
		pairs  []string
		want   intent.Lifetime
		errors []string
	}{
		"server":                 {[]string{"role", "server"}, intent.Lifetime{Duration: 90 * day, RenewBefore: 30 * day}, nil},
		"client":                 {[]string{"role", "client"}, intent.Lifetime{Duration: 30 * day, RenewBefore: 7 * day}, nil},
		"both":                   {[]string{"role", "both"}, intent.Lifetime{Duration: 90 * day, RenewBefore: 30 * day}, nil},
		"a third for renewal":    {[]string{"role", "client", "duration", "30h"}, intent.Lifetime{Duration: 30 * time.Hour, RenewBefore: 10 * time.Hour}, nil},
		"a third, whole seconds": {[]string{"role", "client", "duration", "4000s"}, intent.Lifetime{Duration: 4000 * time.Second, RenewBefore: 1333 * time.Second}, nil},
		"both asked for":         {[]string{"role", "client", "duration", "30h", "renew-before", "29h"}, intent.Lifetime{Duration: 30 * time.Hour, RenewBefore: 29 * time.Hour}, nil},
		"renewal of the default": {[]string{"role", "client", "renew-before", "48h"}, intent.Lifetime{Duration: 30 * day, RenewBefore: 2 * day}, nil},
		"shortest":               {[]string{"role", "client", "duration", "1h"}, intent.Lifetime{Duration: time.Hour, RenewBefore: 20 * time.Minute}, nil},
		"longest":                {[]string{"role", "client", "duration", "8760h"}, intent.Lifetime{Duration: 365 * day, RenewBefore: 2920 * time.Hour}, nil},
		"too short":              {[]string{"role", "client", "duration", "59m59s"}, intent.Lifetime{}, []string{refusal("duration", "59m59s", bounds)}},
		"too long":               {[]string{"role", "client", "duration", "8760h1s"}, intent.Lifetime{}, []string{refusal("duration", "8760h1s", bounds)}},
		"renewal too late": {
			[]string{"role", "client", "renew-before", "4m59s"}, intent.Lifetime{},
			[]string{refusal("renew-before", "4m59s", "must be at least 5m and less than the lifetime of 720h")},
		},
		"renewal as long as the lifetime": {
			[]string{"role", "client", "duration", "24h", "renew-before", "24h"}, intent.Lifetime{},
			[]string{refusal("renew-before", "24h", "must be at least 5m and less than the lifetime of 24h")},
		},
		"renewal longer than the default": {
			[]string{"role", "client", "renew-before", "721h"}, intent.Lifetime{},
			[]string{refusal("renew-before", "721h", "must be at least 5m and less than the lifetime of 720h")},
		},
		"both too long": {
			[]string{"role", "client", "duration", "9000h", "renew-before", "9000h"}, intent.Lifetime{},
			[]string{refusal("duration", "9000h", bounds), refusal("renew-before", "9000h", "must be at least 5m and less than the lifetime of 9000h")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := resolve(c.pairs...)
			assert.Equal(t, c.errors, texts(got.Errors))
			if c.errors == nil {
				assert.Equal(t, c.want, mustIntent(t, got).Lifetime)
			}
		})
	}
}

func TestShortDuration(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"2160h": 2160 * time.Hour, "1h30m": 90 * time.Minute, "45s": 45 * time.Second, "1h0m5s": time.Hour + 5*time.Second,
		"10m": 10 * time.Minute, "100h": 100 * time.Hour, "1h10m": 70 * time.Minute, "0s": 0, "1s": 1999 * time.Millisecond,
		"10h0m30s": 10*time.Hour + 30*time.Second, "2562047h47m16s": math.MaxInt64, "-1h": -time.Hour,
	} {
		t.Run(want, func(t *testing.T) {
			assert.Equal(t, want, intent.ShortDuration(d))
			back, err := time.ParseDuration(want)
			assert.NoError(t, err)
			assert.Equal(t, d.Truncate(time.Second), back)
		})
	}
}

func TestKey(t *testing.T) {
	for name, c := range map[string]struct {
		pairs  []string
		want   intent.PrivateKey
		errors []string
	}{
		"RSA of the usual size":   {[]string{"key-algorithm", "RSA"}, intent.PrivateKey{Algorithm: "RSA", Size: 2048}, nil},
		"RSA, smallest":           {[]string{"key-algorithm", "RSA", "key-size", "2048"}, intent.PrivateKey{Algorithm: "RSA", Size: 2048}, nil},
		"RSA, largest":            {[]string{"key-algorithm", "rsa", "key-size", "8192"}, intent.PrivateKey{Algorithm: "RSA", Size: 8192}, nil},
		"ECDSA keeps the default": {[]string{"key-algorithm", "ECDSA"}, intent.PrivateKey{Algorithm: "ECDSA", Size: 384}, nil},
		"the default's size":      {[]string{"key-size", "521"}, intent.PrivateKey{Algorithm: "ECDSA", Size: 521}, nil},
		"Ed25519":                 {[]string{"key-algorithm", "Ed25519"}, intent.PrivateKey{Algorithm: "Ed25519"}, nil},
		"RSA too small":           {[]string{"key-algorithm", "RSA", "key-size", "1024"}, intent.PrivateKey{}, []string{refusal("key-size", "1024", "must be from 2048 to 8192 for RSA, not 1024")}},
		"ECDSA of no curve":       {[]string{"key-size", "512"}, intent.PrivateKey{}, []string{refusal("key-size", "512", "must be 256, 384 or 521 for ECDSA, not 512")}},
		"RSA's size for ECDSA":    {[]string{"key-size", "4096"}, intent.PrivateKey{}, []string{refusal("key-size", "4096", "must be 256, 384 or 521 for ECDSA, not 4096")}},
		"Ed25519 with a size":     {[]string{"key-algorithm", "Ed25519", "key-size", "256"}, intent.PrivateKey{}, []string{refusal("key-size", "256", "must be left out for Ed25519, whose keys have one size")}},
	} {
		t.Run(name, func(t *testing.T) {
			d := intent.BuiltinDefaults()
			d.Key.Size = 384
			got := intent.Resolve(d, newNamespace(), newPod(append(c.pairs, "role", "client")...), nil)
			assert.Equal(t, c.errors, texts(got.Errors))
			if c.errors == nil {
				assert.Equal(t, c.want, mustIntent(t, got).Key)
			}
		})
	}
	assert.EqualError(t, intent.PrivateKey{Algorithm: "DSA", Size: 1024}.Validate(), notAlgorithm+`; did you mean "RSA"?`)
}

func TestIssuerRules(t *testing.T) {
	d := intent.BuiltinDefaults()
	retail := labels.SelectorFromSet(labels.Set{"team": "retail"})
	d.AllowedIssuers = []intent.IssuerRule{
		{Namespaces: labels.Everything(), Name: "public", Kind: "ClusterIssuer", Group: "cert-manager.io"},
		{Namespaces: retail, Name: "retail-*", Kind: "Issuer", Group: "cert-manager.io"},
		{Namespaces: retail, Name: "[ab]ws", Kind: "AWSPCAIssuer", Group: "awspca.cert-manager.io"},
		{Namespaces: labels.SelectorFromSet(labels.Set{"team": "bank"}), Name: "*", Kind: "ClusterIssuer", Group: "cert-manager.io"},
	}
	const allowed = ` is not allowed in namespace "shop"; allowed by the configuration: ` +
		`ClusterIssuer/mtls-ca, ClusterIssuer/public, Issuer/retail-*, AWSPCAIssuer.awspca.cert-manager.io/[ab]ws`
	for name, c := range map[string]struct {
		pairs  []string
		want   string
		errors []string
	}{
		"the configuration's":   {nil, "ClusterIssuer/mtls-ca", nil},
		"the same, spelled out": {[]string{"issuer", "mtls-ca", "issuer-kind", "ClusterIssuer", "issuer-group", "cert-manager.io"}, "ClusterIssuer/mtls-ca", nil},
		"by name":               {[]string{"issuer", "public"}, "ClusterIssuer/public", nil},
		"by pattern":            {[]string{"issuer", "retail-2", "issuer-kind", "Issuer"}, "Issuer/retail-2", nil},
		"of another group":      {[]string{"issuer", "aws", "issuer-kind", "AWSPCAIssuer", "issuer-group", "awspca.cert-manager.io"}, "AWSPCAIssuer.awspca.cert-manager.io/aws", nil},
		"granted to others":     {[]string{"issuer", "secret-ca"}, "", []string{refusal("issuer", "secret-ca", "issuer ClusterIssuer/secret-ca"+allowed)}},
		"name of another kind":  {[]string{"issuer", "public", "issuer-kind", "Issuer"}, "", []string{refusal("issuer", "public", "issuer Issuer/public"+allowed)}},
		"kind alone":            {[]string{"issuer-kind", "Issuer"}, "", []string{refusal("issuer-kind", "Issuer", "issuer Issuer/mtls-ca"+allowed)}},
		"group alone":           {[]string{"issuer-group", "example.com"}, "", []string{refusal("issuer-group", "example.com", "issuer ClusterIssuer.example.com/mtls-ca"+allowed)}},
		"pattern as a name":     {[]string{"issuer", "cws", "issuer-kind", "AWSPCAIssuer", "issuer-group", "awspca.cert-manager.io"}, "", []string{refusal("issuer", "cws", "issuer AWSPCAIssuer.awspca.cert-manager.io/cws"+allowed)}},
	} {
		t.Run(name, func(t *testing.T) {
			got := intent.Resolve(d, newNamespace(), newPod(append(c.pairs, "role", "client")...), nil)
			assert.Equal(t, c.errors, texts(got.Errors))
			if c.errors == nil {
				assert.Equal(t, c.want, mustIntent(t, got).Issuer.String())
			}
		})
	}
}

// TestIssuerOfANamespace: the refusal shows where the value stands.
func TestIssuerOfANamespace(t *testing.T) {
	got := intent.Resolve(intent.BuiltinDefaults(), newNamespace("issuer", "mine"), newPod("role", "client"), nil)
	want := "namespace." + refusal("issuer", "mine", `issuer ClusterIssuer/mine is not allowed in namespace "shop"; allowed by the configuration: ClusterIssuer/mtls-ca`)
	assert.Equal(t, []string{want}, texts(got.Errors))
}

func TestPreStop(t *testing.T) {
	for name, c := range map[string]struct {
		pairs []string
		want  int64
	}{
		"server":            {[]string{"role", "server"}, 10},
		"both":              {[]string{"role", "both"}, 10},
		"client":            {[]string{"role", "client"}, 0},
		"client that asks":  {[]string{"role", "client", "pre-stop-seconds", "7"}, 7},
		"server that stops": {[]string{"role", "server", "pre-stop-seconds", "0"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			want := intent.PreStop{Seconds: c.want, Method: intent.PreStopSleep}
			assert.Equal(t, want, mustIntent(t, resolve(c.pairs...)).PreStop)
		})
	}
}
