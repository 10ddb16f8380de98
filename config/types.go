package config

import (
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"example.io/mtls-injector/intent"
)

// APIVersion and Kind head every configuration file.
const (
	APIVersion = "config.mtls.example.io/v1alpha1"
	Kind       = "InjectorConfiguration"
)

// InjectorConfiguration is the form of the file. Lists replace the default list as a
// whole; everything else that is left out, or null, keeps its default.
type InjectorConfiguration struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`

	// TrustDomain is the authority of the SPIFFE IDs.
	TrustDomain string `json:"trustDomain"`
	// ClusterDomain ends the full names of Services.
	ClusterDomain string `json:"clusterDomain"`
	// NamespaceSelector selects the namespaces that are opted in, as the webhook's
	// registration does; {} selects every namespace.
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector"`
	// Issuer signs unless an annotation names another that AllowedIssuers has.
	Issuer         Issuer       `json:"issuer"`
	AllowedIssuers []IssuerRule `json:"allowedIssuers"`
	CABundle       Bundle       `json:"caBundle"`

	Delivery   intent.Delivery     `json:"delivery"`
	PrivateKey PrivateKey          `json:"privateKey"`
	Lifetimes  Lifetimes           `json:"lifetimes"`
	Containers Containers          `json:"containers"`
	Env        []intent.EnvProfile `json:"env"`
	// PreStop is for servers; clients have a hook only if they ask.
	PreStop   PreStop           `json:"preStop"`
	Probes    intent.ProbeMode  `json:"probes"`
	Reload    intent.ReloadMode `json:"reload"`
	Restart   Restart           `json:"restart"`
	Companion bool              `json:"companion"`
	Agent     Agent             `json:"agent"`
	Admission Admission         `json:"admission"`
	Identity  Identity          `json:"identity"`
}

// Issuer refers to a cert-manager issuer, or an external one by its API group.
type Issuer struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	Group string `json:"group"`
}

// IssuerRule allows the annotations of the selected namespaces to name an issuer.
type IssuerRule struct {
	// NamespaceSelector is required; {} selects every namespace.
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector"`
	// Name may hold wildcards as in path.Match; Kind is literal and required; Group is
	// cert-manager.io when left out.
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	Group string `json:"group"`
}

// Bundle is the CA bundle that pods trust: a ConfigMap of that name in each namespace,
// or a ClusterTrustBundle. Key is the ConfigMap's entry.
type Bundle struct {
	Kind intent.BundleKind `json:"kind"`
	Name string            `json:"name"`
	Key  string            `json:"key"`
}

// PrivateKey is the kind of key to make. Size is in bits; left out, it is 256 for ECDSA
// and 2048 for RSA. Ed25519 has none.
type PrivateKey struct {
	Algorithm cmapi.PrivateKeyAlgorithm `json:"algorithm"`
	Size      *int                      `json:"size,omitempty"`
	// Allowed are the kinds that annotations may ask for besides.
	Allowed []KeyRule `json:"allowed"`
}

// KeyRule allows the keys of an algorithm within two sizes in bits, which are the smallest
// and the largest that cert-manager makes when left out. Ed25519 has none.
type KeyRule struct {
	Algorithm cmapi.PrivateKeyAlgorithm `json:"algorithm"`
	MinSize   *int                      `json:"minSize,omitempty"`
	MaxSize   *int                      `json:"maxSize,omitempty"`
}

// Lifetimes are the lifetimes by role, and the bounds for the annotation `duration`.
type Lifetimes struct {
	Server Lifetime `json:"server"`
	Client Lifetime `json:"client"`
	Both   Lifetime `json:"both"`
	Min    Duration `json:"min"`
	Max    Duration `json:"max"`
}

// Lifetime of a certificate. RenewBefore is a third of Duration when only that is set.
type Lifetime struct {
	Duration    *Duration `json:"duration"`
	RenewBefore *Duration `json:"renewBefore"`
}

// Containers names those that get no files unless a pod asks for it.
type Containers struct {
	Exclude []string `json:"exclude"`
}

// PreStop is the hook that keeps a terminating server up while endpoints drain; 0
// seconds turn it off.
type PreStop struct {
	Seconds int64                `json:"seconds"`
	Method  intent.PreStopMethod `json:"method"`
}

// Restart says how workloads with reload: restart are restarted.
type Restart struct {
	MaxConcurrentWorkloads int `json:"maxConcurrentWorkloads"`
	// Jitter is the time over which a renewal's restarts are spread; 0s for none.
	Jitter Duration `json:"jitter"`
}

// Agent is the sidecar of pods with agent: true or reload: signal.
type Agent struct {
	// Image holds the agent; when empty it is that of the injector's own release.
	Image           string            `json:"image"`
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy"`
	// MetricsPort is where each agent serves its metrics; 0 for none.
	MetricsPort int64 `json:"metricsPort"`
	// StartTimeout is how long an agent waits for files before it ends and starts again.
	StartTimeout Duration       `json:"startTimeout"`
	Resources    AgentResources `json:"resources"`
}

// AgentResources are what a container asks for, and what it may have.
type AgentResources struct {
	Requests Quantities `json:"requests"`
	Limits   Quantities `json:"limits"`
}

// Quantities are as Kubernetes writes them; an empty text is none.
type Quantities struct {
	CPU              string `json:"cpu"`
	EphemeralStorage string `json:"ephemeral-storage"`
	Memory           string `json:"memory"`
}

// Admission says what becomes of objects that are not right: enforce (refused), warn or off.
type Admission struct {
	// Guard is for pods with hand-written volumes of cert-manager's CSI driver that claim
	// more than the rules of identity allow.
	Guard intent.Mode `json:"guard"`
	// Workloads is for workloads and Namespaces whose annotations are wrong.
	Workloads intent.Mode `json:"workloads"`
}

// Identity holds the rules of names.
type Identity struct {
	// WorkloadNames gives a pod the DNS names of its workload while no Service has them.
	WorkloadNames bool `json:"workloadNames"`
	// Allow are the grants of names that are not a pod's own.
	Allow []NameRule `json:"allow"`
}

// NameRule grants names to the selected namespaces.
type NameRule struct {
	// NamespaceSelector is required; {} selects every namespace.
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector"`
	// DNSNames may begin with "*.", which stands for exactly one label.
	DNSNames []string `json:"dnsNames"`
	// URIs may hold wildcards as in path.Match, but in scheme, and for SPIFFE IDs trust domain.
	URIs []string `json:"uris"`
	// IPAddresses are in their canonical form.
	IPAddresses []string `json:"ipAddresses"`
	// CommonNames and the fields of the subject stand as in the certificate.
	CommonNames         []string `json:"commonNames"`
	Organizations       []string `json:"organizations"`
	OrganizationalUnits []string `json:"organizationalUnits"`
	Countries           []string `json:"countries"`
	Provinces           []string `json:"provinces"`
	Localities          []string `json:"localities"`
	StreetAddresses     []string `json:"streetAddresses"`
	PostalCodes         []string `json:"postalCodes"`
	SerialNumbers       []string `json:"serialNumbers"`
}

// Duration is a Go duration of whole seconds, written as text such as 720h or 90m.
type Duration time.Duration

// String writes the duration as people do: 720h, not 720h0m0s.
func (d Duration) String() string { return intent.ShortDuration(time.Duration(d)) }

// MarshalText implements [encoding.TextMarshaler].
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
