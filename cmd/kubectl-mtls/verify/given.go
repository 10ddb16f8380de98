package verify

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

// asGiven adds to the built-in defaults what the pod was given, for somebody who may not read
// the injector's configuration: what was given was allowed, and its issuer, trust domain and
// key are likely to be the configuration's.
func asGiven(builtin *intent.Defaults, pod *corev1.Pod) *intent.Defaults {
	var status injector.Status
	if err := json.Unmarshal([]byte(pod.Annotations[intent.AnnotationStatus]), &status); err != nil {
		return builtin
	}
	defaults := *builtin
	if issuer, ok := issuerOf(status.Issuer); ok {
		defaults.Issuer = issuer
	}
	if id, err := url.Parse(status.SPIFFE); err == nil && id.Host != "" {
		defaults.TrustDomain = id.Host
	}
	if key, ok := keyOf(pod); ok {
		defaults.Key = key
	}
	asked := func(key string) []string {
		var items []string
		for item := range strings.SplitSeq(pod.Annotations[intent.Prefix+key], ",") {
			items = append(items, strings.TrimSpace(item))
		}
		return items
	}
	defaults.AllowedNames = append(slices.Clip(builtin.AllowedNames), intent.NameRule{
		Namespaces: labels.Everything(), DNSNames: asked("dns-names"), CommonNames: []string{pod.Annotations[intent.Prefix+"common-name"]},
		Organizations: asked("organizations"), OrganizationalUnits: asked("organizational-units"),
	})
	return &defaults
}

// issuerOf parses what [intent.Issuer.String] writes.
func issuerOf(text string) (intent.Issuer, bool) {
	kind, name, ok := strings.Cut(text, "/")
	if !ok {
		return intent.Issuer{}, false
	}
	kind, group, ok := strings.Cut(kind, ".")
	if !ok {
		group = intent.DefaultIssuerGroup
	}
	return intent.Issuer{Name: name, Kind: kind, Group: group}, true
}

// keyOf reads the kind of key that the pod's injected volume asks for.
func keyOf(pod *corev1.Pod) (intent.PrivateKey, bool) {
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.Name != intent.CertificateVolume || v.CSI == nil {
			continue
		}
		attributes := v.CSI.VolumeAttributes
		size, err := strconv.Atoi(attributes[intent.CSIDriver+"/key-size"])
		algorithm := attributes[intent.CSIDriver+"/key-algorithm"]
		if algorithm == "" || err != nil && algorithm != string(cmapi.Ed25519KeyAlgorithm) {
			return intent.PrivateKey{}, false
		}
		return intent.PrivateKey{Algorithm: cmapi.PrivateKeyAlgorithm(algorithm), Size: size}, true
	}
	return intent.PrivateKey{}, false
}
