package policy

// What is used of approver-policy's API, policy.cert-manager.io/v1alpha1, with its own
// names and documented there. Its Go module (v0.28) is built on a newer Kubernetes than
// this one, and would pull that in.

import (
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	apiGroup   = "policy.cert-manager.io"
	apiVersion = apiGroup + "/v1alpha1"
	kind       = "CertificateRequestPolicy"
	resource   = "certificaterequestpolicies"
)

type certificateRequestPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec spec `json:"spec"`
}

type spec struct {
	Allowed     allowed     `json:"allowed"`
	Constraints constraints `json:"constraints"`
	Selector    selector    `json:"selector"`
}

// allowed holds what a request may have. What is left out must be absent.
type allowed struct {
	CommonName  *text            `json:"commonName,omitempty"`
	DNSNames    *texts           `json:"dnsNames,omitempty"`
	IPAddresses *texts           `json:"ipAddresses,omitempty"`
	URIs        *texts           `json:"uris,omitempty"`
	IsCA        bool             `json:"isCA"`
	Usages      []cmapi.KeyUsage `json:"usages"`
	Subject     *subject         `json:"subject,omitempty"`
}

type subject struct {
	Organizations       *texts `json:"organizations,omitempty"`
	Countries           *texts `json:"countries,omitempty"`
	OrganizationalUnits *texts `json:"organizationalUnits,omitempty"`
	Localities          *texts `json:"localities,omitempty"`
	Provinces           *texts `json:"provinces,omitempty"`
	StreetAddresses     *texts `json:"streetAddresses,omitempty"`
	PostalCodes         *texts `json:"postalCodes,omitempty"`
	SerialNumber        *text  `json:"serialNumber,omitempty"`
}

// texts is a field with several values. All of them must pass all validations. The API's
// own values, which may hold wildcards, are not used: validations can say the same, and an
// approver-policy that knew no validations would then allow nothing rather than anything.
type texts struct {
	Required    bool             `json:"required,omitempty"`
	Validations []validationRule `json:"validations"`
}

// text is a field with one value.
type text struct {
	Validations []validationRule `json:"validations"`
}

// validationRule is a rule in CEL over self, the value, and cr, the request.
type validationRule struct {
	Rule    string `json:"rule"`
	Message string `json:"message"`
}

type constraints struct {
	MinDuration metav1.Duration `json:"minDuration"`
	MaxDuration metav1.Duration `json:"maxDuration"`
	PrivateKey  privateKey      `json:"privateKey"`
}

type privateKey struct {
	Algorithm cmapi.PrivateKeyAlgorithm `json:"algorithm"`
	MinSize   int                       `json:"minSize,omitempty"`
	MaxSize   int                       `json:"maxSize,omitempty"`
}

type selector struct {
	IssuerRef issuerRef          `json:"issuerRef"`
	Namespace *namespaceSelector `json:"namespace,omitempty"`
}

// issuerRef may hold "*" in each field.
type issuerRef struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	Group string `json:"group"`
}

type namespaceSelector struct {
	MatchNames  []string          `json:"matchNames,omitempty"`
	MatchLabels map[string]string `json:"matchLabels,omitempty"`
}
