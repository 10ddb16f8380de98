package intent

import (
	"slices"
	"strconv"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
)

// Role says on which side of a handshake a pod stands.
type Role string

// The roles of the annotation `role`. RoleNone opts a pod out of its namespace's role
// and never stands in an [Intent].
const (
	RoleServer Role = "server"
	RoleClient Role = "client"
	RoleBoth   Role = "both"
	RoleNone   Role = "none"
)

// IsServer reports whether the pod accepts connections.
func (r Role) IsServer() bool { return r == RoleServer || r == RoleBoth }

// IsClient reports whether the pod opens connections.
func (r Role) IsClient() bool { return r == RoleClient || r == RoleBoth }

// Delivery is the way in which the key pair reaches the pod.
type Delivery string

// DeliveryCSI makes a key per pod that never leaves the node; DeliverySecret mounts
// the companion Certificate's Secret.
const (
	DeliveryCSI    Delivery = "csi"
	DeliverySecret Delivery = "secret"
)

// ReloadMode says what happens when a certificate has been renewed.
type ReloadMode string

// The values of the annotation `reload`.
const (
	ReloadNone    ReloadMode = "none"
	ReloadRestart ReloadMode = "restart"
	ReloadSignal  ReloadMode = "signal"
)

// ProbeMode says what becomes of HTTPS httpGet probes, which can never present a
// client certificate.
type ProbeMode string

// The values of the annotation `probes`.
const (
	ProbesKeep ProbeMode = "keep"
	ProbesTCP  ProbeMode = "tcp"
)

// EnvProfile names a set of environment variables; injector holds what is in each.
type EnvProfile string

// The values of the annotation `env`. EnvNone stands alone and never in an [Intent].
const (
	EnvMTLS     EnvProfile = "mtls"
	EnvOpenSSL  EnvProfile = "openssl"
	EnvCurl     EnvProfile = "curl"
	EnvPython   EnvProfile = "python"
	EnvNode     EnvProfile = "node"
	EnvGRPC     EnvProfile = "grpc"
	EnvPostgres EnvProfile = "postgres"
	EnvAWS      EnvProfile = "aws"
	EnvNone     EnvProfile = "none"
)

// PreStopMethod is the lifecycle action that the preStop hook uses.
type PreStopMethod string

// PreStopSleep is the `sleep` action (KEP-3960, on by default from Kubernetes 1.30);
// PreStopExec runs `sleep` inside the container, for older servers. PreStopAuto is the one
// of them that the cluster has, and never stands in an [Intent].
const (
	PreStopAuto  PreStopMethod = "auto"
	PreStopSleep PreStopMethod = "sleep"
	PreStopExec  PreStopMethod = "exec"
)

// PreStopMethods returns all of them, for messages and help.
func PreStopMethods() []PreStopMethod { return []PreStopMethod{PreStopAuto, PreStopSleep, PreStopExec} }

// BundleKind is the kind of object that holds the CA bundle.
type BundleKind string

// BundleConfigMap is a ConfigMap in the pod's namespace, as trust-manager writes it;
// BundleClusterTrustBundle is a certificates.k8s.io ClusterTrustBundle (KEP-3257).
const (
	BundleConfigMap          BundleKind = "ConfigMap"
	BundleClusterTrustBundle BundleKind = "ClusterTrustBundle"
)

// Bundle refers to the CA bundle that the pod trusts.
type Bundle struct {
	Kind BundleKind
	Name string
	// Key is the entry of the ConfigMap; unused for a ClusterTrustBundle.
	Key string
}

// Issuer refers to the cert-manager issuer that signs.
type Issuer struct {
	Name, Kind, Group string
}

// String returns "Kind/name", or "Kind.group/name" for issuers that are not
// cert-manager's own.
func (i Issuer) String() string {
	if i.Group == "" || i.Group == DefaultIssuerGroup {
		return i.Kind + "/" + i.Name
	}
	return i.Kind + "." + i.Group + "/" + i.Name
}

// DefaultIssuerGroup is the API group of cert-manager's own issuers.
const DefaultIssuerGroup = "cert-manager.io"

// PrivateKey describes the private key to make. Size is in bits, 0 for Ed25519.
type PrivateKey struct {
	Algorithm cmapi.PrivateKeyAlgorithm
	Size      int
}

// String returns "<algorithm> <size>", or the algorithm of keys that have one size.
func (k PrivateKey) String() string {
	if k.Size == 0 {
		return string(k.Algorithm)
	}
	return string(k.Algorithm) + " " + strconv.Itoa(k.Size)
}

// Lifetime of a certificate. RenewBefore is always shorter than Duration.
type Lifetime struct {
	Duration, RenewBefore time.Duration
}

// Subject holds the optional fields of the certificate's subject, in the order given.
type Subject struct {
	CommonName          string
	Organizations       []string
	OrganizationalUnits []string
}

// Identity is everything that a certificate says about its bearer.
type Identity struct {
	// SPIFFEID is spiffe://<trust domain>/ns/<namespace>/sa/<service account>.
	SPIFFEID string
	// DNSNames are the names that every pod of the workload has. Empty for clients that
	// ask for none.
	DNSNames []string
	// PerPodDomains are the domains <service>.<namespace>.svc.<cluster domain> of the
	// headless Services: below each the pod has a name of its own.
	PerPodDomains []string
	Subject       Subject
}

// PodDNSNames returns the names for a certificate made by the CSI driver: those of the
// workload and the pod's own, with the driver's variable ${POD_NAME}.
func (i *Identity) PodDNSNames() []string { return i.withPrefix("${POD_NAME}.") }

// CompanionDNSNames returns the names for the companion Certificate, which all pods of
// the workload share: per-pod names become a wildcard.
func (i *Identity) CompanionDNSNames() []string { return i.withPrefix("*.") }

func (i *Identity) withPrefix(prefix string) []string {
	if len(i.PerPodDomains) == 0 {
		return i.DNSNames
	}
	names := slices.Grow(slices.Clip(i.DNSNames), len(i.PerPodDomains))
	for _, domain := range i.PerPodDomains {
		names = append(names, prefix+domain)
	}
	return names
}

// PreStop is the hook that keeps a terminating pod serving while endpoints drain.
type PreStop struct {
	// Seconds to sleep; 0 means no hook.
	Seconds int64
	Method  PreStopMethod
}

// Selection says which containers get the files. It is evaluated for every container
// at patch time, so that one added by another webhook is served by the second call.
type Selection struct {
	// Only lists the wanted containers; empty means all that are not excluded.
	Only []string
	// Exclude lists the unwanted ones, less those that Only names.
	Exclude []string
}

// Includes reports whether the container of that name gets the files.
func (s *Selection) Includes(container string) bool {
	if len(s.Only) > 0 {
		return slices.Contains(s.Only, container)
	}
	return !slices.Contains(s.Exclude, container)
}

// Intent is what was decided for one pod: nothing in it needs further defaults.
type Intent struct {
	Role           Role
	Namespace      string
	ServiceAccount string
	Workload       Workload
	Identity       Identity
	Issuer         Issuer
	Key            PrivateKey
	Lifetime       Lifetime
	Usages         []cmapi.KeyUsage

	Delivery Delivery
	// Companion says whether the workload has a companion Certificate, CompanionName
	// how it and its Secret are called; the name is set even when Companion is false.
	Companion     bool
	CompanionName string

	// MountPath is the one folder for key pair and CA, or empty for the usual folders.
	MountPath  string
	CABundle   Bundle
	Containers Selection
	Env        []EnvProfile
	PreStop    PreStop
	Probes     ProbeMode
	// FSGroup is the group that may read the key, when it has to be told to the driver:
	// the annotation's, or the common runAsGroup. Nil: the pod's own fsGroup, or none.
	FSGroup *int64
	Reload  ReloadMode
	// Agent is the sidecar that guards the start and tells the program of new files; nil
	// where nobody asks for it.
	Agent *Agent
	// Version of the injector that decided, written to the status annotation.
	Version string
}
