package intent

import (
	"path"
	"strconv"
	"strings"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Defaults is what the configuration says: the values for annotations that neither
// pod nor namespace sets, and the bounds within which they may set them. The package
// config reads it from a file and has checked it; start from [BuiltinDefaults] elsewhere.
type Defaults struct {
	// Version of the injector, written to the status annotation.
	Version string
	// TrustDomain is the authority of SPIFFE IDs.
	TrustDomain string
	// ClusterDomain ends the full name of Services.
	ClusterDomain string
	// Namespaces selects those that are opted in. The API server sends the webhook no pod of
	// another; the controller makes no companion in another.
	Namespaces labels.Selector

	Issuer   Issuer
	CABundle Bundle
	Delivery Delivery
	Key      PrivateKey
	Server   Lifetime
	Client   Lifetime
	Both     Lifetime
	// ExcludeContainers names sidecars that get no files unless a pod asks for it.
	ExcludeContainers []string
	Env               []EnvProfile
	// PreStop is for servers; clients have a hook only if they ask.
	PreStop   PreStop
	Probes    ProbeMode
	Reload    ReloadMode
	Restart   RestartPolicy
	Companion bool
	Agent     AgentDefaults
	// Kubernetes is the version of the API server, the newest when it is zero. It is not in
	// the configuration file: who decides for a cluster asks the cluster.
	Kubernetes KubernetesVersion

	// Guard is what becomes of hand-written volumes of the CSI driver that claim more than
	// the rules allow; Workloads, of pod templates and Namespaces that are not right.
	Guard, Workloads Mode

	// AllowedIssuers are the issuers that annotations may name, besides Issuer itself.
	AllowedIssuers []IssuerRule
	// WorkloadNames says whether a workload's name is a DNS name of its own while no
	// Service has that name.
	WorkloadNames bool
	// AllowedNames are the grants of names that are not a pod's own.
	AllowedNames []NameRule
	// AllowedKeys are the kinds of private keys that annotations may ask for, besides Key
	// itself: at most one rule for each algorithm.
	AllowedKeys []KeyRule
	// MinDuration and MaxDuration bound the annotation `duration`.
	MinDuration, MaxDuration time.Duration
}

// RestartPolicy says how the workloads with [ReloadRestart] are restarted when their
// certificates have been renewed.
type RestartPolicy struct {
	// MaxConcurrentWorkloads are restarted at a time, at least 1.
	MaxConcurrentWorkloads int
	// Jitter is the time over which the restarts that fall together are spread.
	Jitter time.Duration
}

// IssuerRule allows the namespaces that it selects to use an issuer.
type IssuerRule struct {
	// Namespaces selects by labels; every Namespace has kubernetes.io/metadata.name.
	Namespaces labels.Selector
	// Name may hold shell wildcards, as in path.Match; Kind and Group are literal.
	Name, Kind, Group string
}

// covers reports whether the rule is about this issuer.
func (r *IssuerRule) covers(issuer Issuer) bool {
	ok, err := path.Match(r.Name, issuer.Name)
	return ok && err == nil && r.Kind == issuer.Kind && r.Group == issuer.Group
}

// NameRule grants names to the namespaces that it selects.
type NameRule struct {
	Namespaces labels.Selector
	// DNSNames are names; a leading "*." stands for exactly one label, and also grants
	// the wildcard itself.
	DNSNames []string
	// URIs may hold wildcards as in path.Match, where "*" does not go past a "/".
	URIs []string
	// IPAddresses are granted one by one, in their canonical form.
	IPAddresses []string
	// CommonNames and the fields of the subject are granted as they stand.
	CommonNames                                 []string
	Organizations, OrganizationalUnits          []string
	Countries, Provinces, Localities            []string
	StreetAddresses, PostalCodes, SerialNumbers []string
}

// KeyRule bounds the sizes of keys of an algorithm, in bits; both are 0 for Ed25519.
type KeyRule struct {
	Algorithm        cmapi.PrivateKeyAlgorithm
	MinSize, MaxSize int
}

// String returns "<algorithm> <least> to <greatest>".
func (r KeyRule) String() string {
	text := PrivateKey{Algorithm: r.Algorithm, Size: r.MinSize}.String()
	if r.MinSize != r.MaxSize {
		text += " to " + strconv.Itoa(r.MaxSize)
	}
	return text
}

// Mode says what becomes of what breaks a rule.
type Mode string

// ModeEnforce refuses it, ModeWarn lets it pass with the problems as warnings, and ModeOff
// does not look at it.
const (
	ModeEnforce Mode = "enforce"
	ModeWarn    Mode = "warn"
	ModeOff     Mode = "off"
)

// Modes returns all of them, for messages and help.
func Modes() []Mode { return []Mode{ModeEnforce, ModeWarn, ModeOff} }

// matchesDNS reports whether the pattern, perhaps with a leading "*.", covers the name.
func matchesDNS(pattern, name string) bool {
	if pattern == name {
		return true
	}
	domain, wildcard := strings.CutPrefix(pattern, "*.")
	label, rest, _ := strings.Cut(name, ".")
	return wildcard && rest == domain && label != ""
}

// LabelEnabled on a Namespace opts it in, unless the configuration says otherwise.
const LabelEnabled = "mtls-enabled"

// BuiltinDefaults returns the defaults of an empty configuration file.
func BuiltinDefaults() *Defaults {
	const day = 24 * time.Hour
	return &Defaults{
		Version:       "dev",
		TrustDomain:   "cluster.local",
		ClusterDomain: "cluster.local",
		Namespaces:    labels.SelectorFromSet(labels.Set{LabelEnabled: "true"}),
		Issuer:        Issuer{Name: "mtls-ca", Kind: "ClusterIssuer", Group: DefaultIssuerGroup},
		CABundle:      Bundle{Kind: BundleConfigMap, Name: "mtls-ca-bundle", Key: "ca.crt"},
		Delivery:      DeliveryCSI,
		Key:           PrivateKey{Algorithm: cmapi.ECDSAKeyAlgorithm, Size: 256},
		Server:        Lifetime{Duration: 90 * day, RenewBefore: 30 * day},
		Client:        Lifetime{Duration: 30 * day, RenewBefore: 7 * day},
		Both:          Lifetime{Duration: 90 * day, RenewBefore: 30 * day},
		ExcludeContainers: []string{
			"istio-proxy", "istio-init", "istio-validation",
			"linkerd-proxy", "linkerd-init", "linkerd-network-validator",
			"consul-dataplane", "kuma-sidecar", "kuma-init",
			"vault-agent", "vault-agent-init",
		},
		Env:       []EnvProfile{EnvMTLS},
		PreStop:   PreStop{Seconds: 10, Method: PreStopAuto},
		Probes:    ProbesKeep,
		Reload:    ReloadNone,
		Restart:   RestartPolicy{MaxConcurrentWorkloads: 10, Jitter: 10 * time.Minute},
		Companion: true,
		Agent: AgentDefaults{
			ImagePullPolicy: corev1.PullIfNotPresent,
			MetricsPort:     9469,
			StartTimeout:    10 * time.Minute,
			Requests:        Quantities{CPU: "5m", Memory: "16Mi"},
			Limits:          Quantities{Memory: "16Mi"},
		},
		Guard:         ModeEnforce,
		Workloads:     ModeEnforce,
		WorkloadNames: true,
		AllowedKeys: []KeyRule{
			{Algorithm: cmapi.ECDSAKeyAlgorithm, MinSize: 256, MaxSize: 521},
			{Algorithm: cmapi.RSAKeyAlgorithm, MinSize: 2048, MaxSize: 8192},
			{Algorithm: cmapi.Ed25519KeyAlgorithm},
		},
		MinDuration: time.Hour,
		MaxDuration: 365 * day,
	}
}

// lifetime returns the role's default lifetime.
func (d *Defaults) lifetime(role Role) Lifetime {
	switch role {
	case RoleServer:
		return d.Server
	case RoleClient:
		return d.Client
	default:
		return d.Both
	}
}
