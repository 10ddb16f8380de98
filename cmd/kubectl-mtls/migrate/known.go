package migrate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"example.io/mtls-injector/cmd/kubectl-mtls/manifest"
	"example.io/mtls-injector/intent"
)

// known is what the input says besides pods.
type known struct {
	defaults     *intent.Defaults
	namespace    string
	certificates []certificate
	bundles      []string
}

// certificate is a Certificate with the object that holds it.
type certificate struct {
	*cmapi.Certificate
	object    *manifest.Object
	namespace string
}

// learn takes in Certificates, and trust-manager's Bundles.
func (k *known) learn(docs []*manifest.Document) []error {
	var errs []error
	for _, d := range docs {
		for _, o := range d.Objects() {
			switch {
			case o.Group() == "cert-manager.io" && o.Kind == cmapi.CertificateKind:
				raw, err := o.JSON()
				c := &cmapi.Certificate{}
				if err == nil {
					err = json.Unmarshal(raw, c)
				}
				if err != nil {
					errs = append(errs, fmt.Errorf("%s: %w", o.Place(), err))
					continue
				}
				k.certificates = append(k.certificates, certificate{Certificate: c, object: o, namespace: k.namespaceOf(o)})
			case o.Group() == "trust.cert-manager.io" && o.Kind == "Bundle":
				k.bundles = append(k.bundles, o.Name)
			}
		}
	}
	return errs
}

func (k *known) namespaceOf(o *manifest.Object) string {
	return orElse(o.Namespace, orElse(k.namespace, metav1.NamespaceDefault))
}

// certificate returns the Certificate that makes the Secret, or nil.
func (k *known) certificate(namespace, secret string) *cmapi.Certificate {
	for i := range k.certificates {
		if c := &k.certificates[i]; c.namespace == namespace && c.Spec.SecretName == secret {
			return c.Certificate
		}
	}
	return nil
}

// isBundle reports whether trust-manager makes ConfigMaps of the name.
func (k *known) isBundle(name string) bool {
	return slices.Contains(k.bundles, name)
}

// refers reports whether the object names the Secret anywhere but in its own metadata.
func refers(o *manifest.Object, secret string) bool {
	raw, err := o.JSON()
	if err != nil {
		return true
	}
	var tree map[string]any
	if err := json.Unmarshal(raw, &tree); err != nil {
		return true
	}
	delete(tree, "metadata")
	return names(tree, "", "", secret)
}

// names finds the Secret's name in a field that says that it names a Secret, or in one called
// name below such a field.
func names(tree any, above, field, secret string) bool {
	switch v := tree.(type) {
	case map[string]any:
		for key, member := range v {
			if names(member, field, key, secret) {
				return true
			}
		}
	case []any:
		for _, item := range v {
			if names(item, above, field, secret) {
				return true
			}
		}
	case string:
		return v == secret && (isSecretField(field) || field == "name" && isSecretField(above))
	}
	return false
}

func isSecretField(name string) bool {
	name = strings.ToLower(name)
	return strings.Contains(name, "secret") || strings.Contains(name, "certificateref") || strings.Contains(name, "credential")
}
