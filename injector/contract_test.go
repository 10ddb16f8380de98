package injector_test

import (
	stdjson "encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

// requireContract checks a volume as cert-manager's CSI driver does at mount time, and
// more strictly: what the driver ignores or repairs in silence is a mistake of ours.
func requireContract(t *testing.T, volume *corev1.CSIVolumeSource) {
	t.Helper()
	require.Equal(t, "csi.cert-manager.io", volume.Driver)
	require.True(t, *volume.ReadOnly)
	require.Nil(t, volume.NodePublishSecretRef)
	attributes := map[string]string{}
	for key, value := range volume.VolumeAttributes {
		name, ok := strings.CutPrefix(key, "csi.cert-manager.io/")
		require.True(t, ok, key)
		require.NotEmpty(t, value, key)
		require.Equal(t, strings.TrimSpace(value), value, key)
		requireVariables(t, key, value)
		attributes[name] = value
	}
	checks := map[string]func(value string) bool{
		"issuer-name": isAnything, "issuer-kind": isAnything, "issuer-group": isAnything,
		"common-name":         func(v string) bool { return len(v) <= 64 },
		"organizations":       isList,
		"organizationalunits": isList,
		"dns-names":           isList,
		"uri-sans":            func(v string) bool { u, err := url.ParseRequestURI(v); return err == nil && u.Scheme == "spiffe" },
		"duration":            isDuration, "renew-before": isDuration,
		"key-usages":    isList,
		"key-algorithm": func(v string) bool { return slices.Contains([]string{"RSA", "ECDSA", "Ed25519"}, v) },
		"key-size":      func(v string) bool { return isKeySize(attributes["key-algorithm"], v) },
		"fs-group": func(v string) bool {
			n, err := strconv.ParseInt(v, 10, 64)
			return err == nil && n >= 1 && n <= 4294967295
		},
	}
	for name, value := range attributes {
		require.Contains(t, checks, name, "the driver ignores attributes that it does not know")
		require.True(t, checks[name](value), "%s: %s", name, value)
	}
	require.Contains(t, attributes, "issuer-name")
	require.Contains(t, attributes["key-usages"], "auth")
}

func isAnything(string) bool { return true }

func isList(v string) bool {
	for item := range strings.SplitSeq(v, ",") {
		if item == "" || item != strings.TrimSpace(item) {
			return false
		}
	}
	return true
}

// isDuration reports whether it is a Go duration in its shortest form.
func isDuration(v string) bool {
	d, err := time.ParseDuration(v)
	return err == nil && d > 0 && !strings.HasSuffix(v, "h0m") && !strings.HasSuffix(v, "m0s")
}

func isKeySize(algorithm, v string) bool {
	size, err := strconv.Atoi(v)
	if err != nil {
		return false
	}
	switch algorithm {
	case "RSA":
		return size >= 2048 && size <= 8192
	case "ECDSA":
		return slices.Contains([]int{256, 384, 521}, size)
	default:
		return false
	}
}

// requireVariables refuses a "$" that the driver would not expand.
func requireVariables(t *testing.T, key, value string) {
	t.Helper()
	if key == "csi.cert-manager.io/dns-names" {
		value = strings.ReplaceAll(value, "${POD_NAME}", "")
	}
	require.NotContains(t, value, "$", key)
}

// FuzzContract makes CSI volumes from generated intents and checks them as the driver does.
func FuzzContract(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		in := generateIntent(&dice{bytes: data})
		in.Delivery = intent.DeliveryCSI
		in.Containers = intent.Selection{}
		result := injector.Patch(podWith(intent.Container{}), in)
		require.Empty(t, result.Errors)
		require.Equal(t, "/spec/volumes", result.Operations[0].Path)
		raw, err := stdjson.Marshal(result.Operations[0].Value)
		require.NoError(t, err)
		var volumes []corev1.Volume
		require.NoError(t, stdjson.Unmarshal(raw, &volumes))
		requireContract(t, volumes[0].CSI)
		requireSaid(t, in, volumes[0].CSI.VolumeAttributes)
	})
}

// requireSaid checks that the attributes say all that the intent says.
func requireSaid(t *testing.T, in *intent.Intent, attributes map[string]string) {
	t.Helper()
	id := &in.Identity
	want := map[string]string{
		"common-name": id.Subject.CommonName, "uri-sans": id.SPIFFEID,
		"dns-names":           strings.Join(id.PodDNSNames(), ","),
		"organizations":       strings.Join(id.Subject.Organizations, ","),
		"organizationalunits": strings.Join(id.Subject.OrganizationalUnits, ","),
		"issuer-name":         in.Issuer.Name, "issuer-kind": in.Issuer.Kind, "issuer-group": in.Issuer.Group,
		"key-algorithm": string(in.Key.Algorithm),
	}
	for name, value := range want {
		require.Equal(t, value, attributes["csi.cert-manager.io/"+name], name)
	}
	for name, value := range map[string]time.Duration{"duration": in.Lifetime.Duration, "renew-before": in.Lifetime.RenewBefore} {
		got, err := time.ParseDuration(attributes["csi.cert-manager.io/"+name])
		require.NoError(t, err)
		require.Equal(t, value, got, name)
	}
	if in.FSGroup != nil {
		require.Equal(t, strconv.FormatInt(*in.FSGroup, 10), attributes["csi.cert-manager.io/fs-group"])
	}
}
