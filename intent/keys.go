package intent

import (
	"slices"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
)

// Prefix of every annotation and label of the project.
const Prefix = "mtls.example.io/"

// Scope says where an annotation may stand.
type Scope uint8

// ScopePod is for pods only; ScopeAny is for pods and namespaces; ScopeStatus is written
// by the injector, on pods or their templates, and never resolved.
const (
	ScopePod Scope = iota
	ScopeAny
	ScopeStatus
)

// Key is one row of the annotation table.
type Key struct {
	// Name is the key without [Prefix].
	Name string
	// Type names the form of the value; Values lists the words of an enumeration.
	Type   string
	Values []string
	// Default says in words what holds when nobody sets the key.
	Default string
	Scope   Scope
	Help    string

	// set parses the value into the settings. Its error says what is allowed.
	set func(s *settings, value string) error
}

// The names of the keys that the code refers to besides the table.
const (
	keyRole                = "role"
	keyDelivery            = "delivery"
	keyService             = "service"
	keyDNSNames            = "dns-names"
	keyCommonName          = "common-name"
	keyOrganizations       = "organizations"
	keyOrganizationalUnits = "organizational-units"
	keyIssuer              = "issuer"
	keyIssuerKind          = "issuer-kind"
	keyIssuerGroup         = "issuer-group"
	keyDuration            = "duration"
	keyRenewBefore         = "renew-before"
	keyKeyAlgorithm        = "key-algorithm"
	keyKeySize             = "key-size"
	keyExcludeContainers   = "exclude-containers"
	keyContainers          = "containers"
	keyFSGroup             = "fs-group"
	keyReload              = "reload"
	keyReloadSignal        = "reload-signal"
	keyReloadContainer     = "reload-container"
	keyReloadProcess       = "reload-process"
	keyReloadURL           = "reload-url"
	keyAgent               = "agent"
	keyCompanion           = "companion"
)

// Keys returns the annotation table in the order of the documentation. It is the only
// definition of the annotations: validation, did-you-mean, documentation and help are
// made from it.
func Keys() []Key { return slices.Clone(table[:]) }

// table is read-only; [Keys] shows it to others.
var table = [...]Key{
	{
		Name: keyRole, Type: "word", Values: words(RoleServer, RoleClient, RoleBoth, RoleNone), Scope: ScopeAny,
		Default: "none: the pod is left as it is",
		Help:    "On which side of a handshake the pod stands. `none` opts a pod out of its namespace's role.",
		set:     setWord(func(s *settings) *Role { return &s.role }, RoleServer, RoleClient, RoleBoth, RoleNone),
	},
	{
		Name: keyDelivery, Type: "word", Values: words(DeliveryCSI, DeliverySecret), Scope: ScopeAny,
		Default: "csi",
		Help:    "`csi`: a key per pod that never leaves the node. `secret`: the companion Certificate's Secret, shared by the workload's pods.",
		set:     setWord(func(s *settings) *Delivery { return &s.delivery }, DeliveryCSI, DeliverySecret),
	},
	{
		Name: keyService, Type: "list of names", Scope: ScopePod,
		Default: "the Services whose selector matches the pod",
		Help:    "Services in the pod's namespace that this pod serves. Each must select the pod.",
		set:     setList(func(s *settings) *[]string { return &s.services }, dnsLabel),
	},
	{
		Name: keyDNSNames, Type: "list of DNS names", Scope: ScopePod,
		Default: "none",
		Help:    "Further DNS names. Each must be the pod's own or granted to its namespace by the configuration (`identity.allow`).",
		set:     setList(func(s *settings) *[]string { return &s.dnsNames }, dnsName),
	},
	{
		Name: keyCommonName, Type: "text, at most 64 bytes", Scope: ScopePod,
		Default: "the first full Service name if it has at most 64 bytes, else left out",
		Help:    "Common name of the subject. Must be one of the pod's DNS names or granted by the configuration (`identity.allow`).",
		set:     setText(func(s *settings) *string { return &s.subject.CommonName }, subjectText),
	},
	{
		Name: keyOrganizations, Type: "list of texts, each at most 64 bytes", Scope: ScopeAny,
		Default: "none",
		Help:    "Organizations (O) of the subject. Each must be granted by the configuration (`identity.allow`).",
		set:     setList(func(s *settings) *[]string { return &s.subject.Organizations }, subjectText),
	},
	{
		Name: keyOrganizationalUnits, Type: "list of texts, each at most 64 bytes", Scope: ScopeAny,
		Default: "none",
		Help:    "Organizational units (OU) of the subject. Each must be granted by the configuration (`identity.allow`).",
		set:     setList(func(s *settings) *[]string { return &s.subject.OrganizationalUnits }, subjectText),
	},
	{
		Name: keyIssuer, Type: "name", Scope: ScopeAny,
		Default: "the configuration's `issuer`",
		Help:    "Name of the cert-manager issuer that signs. Must be allowed by the configuration (`allowedIssuers`).",
		set:     setText(func(s *settings) *string { return &s.issuer.Name }, objectName),
	},
	{
		Name: keyIssuerKind, Type: "kind", Scope: ScopeAny,
		Default: "the configuration's `issuer`",
		Help:    "Kind of the issuer: `Issuer`, `ClusterIssuer` or that of an external issuer.",
		set:     setText(func(s *settings) *string { return &s.issuer.Kind }, kindName),
	},
	{
		Name: keyIssuerGroup, Type: "API group", Scope: ScopeAny,
		Default: "the configuration's `issuer`",
		Help:    "API group of the issuer: `cert-manager.io` or that of an external issuer.",
		set:     setText(func(s *settings) *string { return &s.issuer.Group }, objectName),
	},
	{
		Name: keyDuration, Type: "Go duration", Scope: ScopeAny,
		Default: "server and both 2160h, client 720h",
		Help:    "Lifetime of the certificate, within the bounds of the configuration (`lifetimes`).",
		set:     setDuration(func(s *settings) *time.Duration { return &s.duration }),
	},
	{
		Name: keyRenewBefore, Type: "Go duration", Scope: ScopeAny,
		Default: "server and both 720h, client 168h; a third of `duration` where that is set",
		Help:    "How long before its end the certificate is renewed: at least 5m and less than `duration`.",
		set:     setDuration(func(s *settings) *time.Duration { return &s.renewBefore }),
	},
	{
		Name: keyKeyAlgorithm, Type: "word", Values: keyAlgorithms(), Scope: ScopeAny,
		Default: "ECDSA",
		Help:    "Algorithm of the private key.",
		set:     setKeyAlgorithm,
	},
	{
		Name: keyKeySize, Type: "bits", Scope: ScopeAny,
		Default: "ECDSA 256, RSA 2048",
		Help:    "Size of the private key: ECDSA 256, 384 or 521; RSA 2048 to 8192; not for Ed25519. Within the bounds of the configuration (`privateKey.allowed`).",
		set:     setInteger(func(s *settings) *int64 { return &s.keySize }, 1, 8192),
	},
	{
		Name: keyContainers, Type: "list of names", Scope: ScopeAny,
		Default: "all containers and init containers, less those that the configuration excludes",
		Help:    "The containers that get the files, even where the configuration excludes them.",
		set:     setList(func(s *settings) *[]string { return &s.containers }, dnsLabel),
	},
	{
		Name: keyExcludeContainers, Type: "list of names", Scope: ScopeAny,
		Default: "the configuration's `containers.exclude`: known mesh and agent sidecars",
		Help:    "Containers that get no files, besides those that the configuration excludes.",
		set:     setList(func(s *settings) *[]string { return &s.exclude }, dnsLabel),
	},
	{
		Name: "mount-path", Type: "absolute path", Scope: ScopeAny,
		Default: "`/etc/tls/server` and `/etc/tls/client` by role, `/etc/tls/ca`",
		Help:    "One folder that holds `tls.crt`, `tls.key` and `ca.crt`, in place of the server and client folders.",
		set:     setText(func(s *settings) *string { return &s.mountPath }, mountPath),
	},
	{
		Name: "ca-bundle", Type: "name, `ConfigMap/name` or `ClusterTrustBundle/name`", Scope: ScopeAny,
		Default: "the configuration's `caBundle`",
		Help:    "The ConfigMap in the pod's namespace, or the ClusterTrustBundle, that holds the CA certificates to trust.",
		set:     setBundle,
	},
	{
		Name: "env", Type: "list of words",
		Values:  envProfiles(),
		Scope:   ScopeAny,
		Default: "mtls",
		Help:    "Sets of environment variables. The list replaces the default: write `mtls,curl` for both. `none` stands alone.",
		set:     setEnv,
	},
	{
		Name: "pre-stop-seconds", Type: "whole seconds", Scope: ScopeAny,
		Default: "server and both 10, client 0",
		Help:    "How long a terminating container sleeps before it is stopped, so that endpoints drain. 0 turns the hook off.",
		set:     setInteger(func(s *settings) *int64 { return &s.preStop }, 0, 3600),
	},
	{
		Name: keyFSGroup, Type: "group ID", Scope: ScopeAny,
		Default: "the pod's fsGroup, else runAsGroup",
		Help:    "The group that may read the key.",
		set:     setInteger(func(s *settings) *int64 { return &s.fsGroup }, 1, 4294967295),
	},
	{
		Name: keyReload, Type: "word", Values: words(ReloadNone, ReloadRestart, ReloadSignal), Scope: ScopeAny,
		Default: "none",
		Help:    "What happens when the certificate has been renewed: nothing, a rolling restart of the Deployment, StatefulSet or DaemonSet, or a signal from the agent.",
		set:     setWord(func(s *settings) *ReloadMode { return &s.reload }, ReloadNone, ReloadRestart, ReloadSignal),
	},
	{
		Name: keyReloadSignal, Type: "word", Values: signals(), Scope: ScopeAny,
		Default: "SIGHUP",
		Help:    "The signal to send; only with `reload: signal`.",
		set:     setOneOf(func(s *settings) *string { return &s.reloadSignal }, signals()),
	},
	{
		Name: keyReloadContainer, Type: "name", Scope: ScopeAny,
		Default: "the first container that gets the files",
		Help:    "The container to signal; only with `reload: signal`.",
		set:     setText(func(s *settings) *string { return &s.reloadContainer }, dnsLabel),
	},
	{
		Name: keyReloadProcess, Type: "name of a process", Scope: ScopeAny,
		Default: "the container's main process",
		Help:    "The process to signal, by its name as in `ps -o comm`: the topmost of that name in the container. For images whose main process is a script; only with `reload: signal`.",
		set:     setText(func(s *settings) *string { return &s.reloadProcess }, processName),
	},
	{
		Name: keyReloadURL, Type: "`http://localhost:<port>/<path>`", Scope: ScopeAny,
		Default: "none: a signal is sent",
		Help:    "Where the agent sends a POST in place of a signal; only with `reload: signal`. It needs neither a shared process namespace nor a known user.",
		set:     setText(func(s *settings) *string { return &s.reloadURL }, localURL),
	},
	{
		Name: keyAgent, Type: "`true` or `false`", Scope: ScopeAny,
		Default: "false",
		Help:    "`true` adds the agent: start guard and expiry metrics, even without a reload signal.",
		set:     setBool(func(s *settings) *bool { return &s.agent }),
	},
	{
		Name: "probes", Type: "word", Values: words(ProbesKeep, ProbesTCP), Scope: ScopeAny,
		Default: "keep, with a warning",
		Help:    "`tcp` turns HTTPS httpGet probes, which can never present a client certificate, into tcpSocket probes.",
		set:     setWord(func(s *settings) *ProbeMode { return &s.probes }, ProbesKeep, ProbesTCP),
	},
	{
		Name: keyCompanion, Type: "`true` or `false`", Scope: ScopeAny,
		Default: "true",
		Help:    "`false`: no companion Certificate; only with `delivery: csi` and without `reload: restart`.",
		set:     setBool(func(s *settings) *bool { return &s.companion }),
	},
	{
		Name: "status", Type: "JSON", Scope: ScopeStatus,
		Default: "written by the injector",
		Help:    "What was resolved and injected, with the injector's version. For people; nothing is decided by it.",
	},
	{
		Name: "certificate-hash", Type: "text", Scope: ScopeStatus,
		Default: "written by the injector",
		Help:    "On the pod template of a workload with `reload: restart`: stands for the certificate that it was last restarted for. It gives no name to anybody.",
	},
}

// lookup returns the index of a key in the table, or -1.
func lookup(name string) int {
	for i := range table {
		if table[i].Name == name {
			return i
		}
	}
	return -1
}

// nearest returns the candidate that the user most likely meant, or "" when none is near.
func nearest(word string, candidates []string) string {
	const longest = 64 // past this it is no typo, and comparing costs
	if len(word) > longest {
		return ""
	}
	// At least half of the word must stand, so that "db" is no typo of "web".
	best, bestDistance := "", min(max(2, len(word)/3), len(word)/2)+1
	for _, c := range candidates {
		if d := levenshtein.ComputeDistance(strings.ToLower(word), strings.ToLower(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// didYouMean returns "; did you mean ...?", or "" when no candidate is near.
func didYouMean(word string, candidates []string) string {
	if best := nearest(word, candidates); best != "" {
		return `; did you mean "` + best + `"?`
	}
	return ""
}

// unknownKey says what is wrong with a key that the table does not have.
func unknownKey(name string) string {
	names := make([]string, 0, len(table))
	for i := range table {
		if table[i].Scope != ScopeStatus {
			names = append(names, table[i].Name)
		}
	}
	return "unknown annotation; " + knownInstead(name, Prefix, names)
}

// knownInstead tells the nearest of the names that there are under the prefix, or all of
// them, in order, when none is near.
func knownInstead(name, prefix string, names []string) string {
	if hint := nearest(name, names); hint != "" {
		return `did you mean "` + prefix + hint + `"?`
	}
	slices.Sort(names)
	return "known under " + prefix + ": " + strings.Join(names, ", ")
}
