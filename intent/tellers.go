package intent

// How each decision is told.

import (
	"fmt"
	"strconv"
	"strings"
)

// teller tells one decision.
type teller struct {
	key string
	// value is what was decided, once something was.
	value func(r *resolution) string
	// configured is what the configuration says where neither pod nor namespace does, and
	// field is where it says so. Nil: it says nothing.
	configured func(r *resolution, d *Defaults) string
	field      string
	// why returns a source other than annotation and configuration; without a detail
	// there is none.
	why func(r *resolution) (Source, string)
}

// tellers returns one for each key of the annotation table that somebody can set, in its
// order, and for what no annotation decides.
func tellers() []teller {
	var all []teller
	for _, part := range [][]teller{tellersOfIdentity(), tellersOfCertificate(), tellersOfFiles(), tellersOfLife(), tellersOfNoKey()} {
		all = append(all, part...)
	}
	return all
}

func tellersOfIdentity() []teller {
	return []teller{
		{key: keyRole, value: func(r *resolution) string { return string(r.settings.role) }, why: (*resolution).whyRole},
		{
			key: keyDelivery, value: func(r *resolution) string { return string(r.decided.Delivery) },
			configured: func(_ *resolution, d *Defaults) string { return string(d.Delivery) }, field: "delivery",
		},
		{key: keyService, value: func(r *resolution) string { return strings.Join(namesOf(r.served), ", ") }, why: (*resolution).whyService},
		{key: keyDNSNames, value: func(r *resolution) string { return strings.Join(r.names(), ", ") }, why: (*resolution).whyNames},
		{key: keyCommonName, value: func(r *resolution) string { return r.decided.Identity.Subject.CommonName }, why: (*resolution).whyCommonName},
		{key: keyOrganizations, value: func(r *resolution) string { return strings.Join(r.decided.Identity.Subject.Organizations, ", ") }},
		{key: keyOrganizationalUnits, value: func(r *resolution) string { return strings.Join(r.decided.Identity.Subject.OrganizationalUnits, ", ") }},
	}
}

func tellersOfCertificate() []teller {
	return []teller{
		{
			key: keyIssuer, value: func(r *resolution) string { return r.decided.Issuer.Name },
			configured: func(_ *resolution, d *Defaults) string { return d.Issuer.Name }, field: "issuer.name",
		},
		{
			key: keyIssuerKind, value: func(r *resolution) string { return r.decided.Issuer.Kind },
			configured: func(_ *resolution, d *Defaults) string { return d.Issuer.Kind }, field: "issuer.kind",
		},
		{
			key: keyIssuerGroup, value: func(r *resolution) string { return r.decided.Issuer.Group },
			configured: func(_ *resolution, d *Defaults) string { return d.Issuer.Group }, field: "issuer.group",
		},
		{
			key: keyDuration, value: func(r *resolution) string { return ShortDuration(r.decided.Lifetime.Duration) },
			configured: func(r *resolution, d *Defaults) string { return ShortDuration(d.lifetime(r.settings.role).Duration) }, field: "lifetimes",
		},
		{
			key: keyRenewBefore, value: func(r *resolution) string { return ShortDuration(r.decided.Lifetime.RenewBefore) },
			configured: func(r *resolution, d *Defaults) string { return ShortDuration(d.lifetime(r.settings.role).RenewBefore) }, field: "lifetimes",
			why: func(r *resolution) (Source, string) {
				return r.whyOther(keyRenewBefore, r.why.renewBefore, reasonDuration, keyDuration, "a third of duration")
			},
		},
		{
			key: keyKeyAlgorithm, value: func(r *resolution) string { return string(r.decided.Key.Algorithm) },
			configured: func(_ *resolution, d *Defaults) string { return string(d.Key.Algorithm) }, field: "privateKey.algorithm",
		},
		{
			key: keyKeySize, value: func(r *resolution) string { return withoutZero(int64(r.decided.Key.Size)) },
			configured: func(_ *resolution, d *Defaults) string { return strconv.Itoa(d.Key.Size) }, field: "privateKey.size",
			why: func(r *resolution) (Source, string) {
				return r.whyOther(keyKeySize, r.why.keySize, reasonAlgorithm, keyKeyAlgorithm, "the usual size of key-algorithm")
			},
		},
	}
}

func tellersOfFiles() []teller {
	return []teller{
		{key: keyContainers, value: func(r *resolution) string { return strings.Join(r.containers(true), ", ") }},
		{
			key: keyExcludeContainers, value: func(r *resolution) string { return strings.Join(r.containers(false), ", ") },
			configured: func(_ *resolution, d *Defaults) string { return strings.Join(d.ExcludeContainers, ",") }, field: "containers.exclude",
		},
		{key: "mount-path", value: func(r *resolution) string {
			if r.decided.MountPath == "" {
				return "the usual folders below /etc/tls"
			}
			return r.decided.MountPath
		}},
		{
			key: "ca-bundle", value: func(r *resolution) string { return r.decided.CABundle.String() },
			configured: func(_ *resolution, d *Defaults) string { return d.CABundle.String() }, field: "caBundle",
		},
		{
			key: "env", value: func(r *resolution) string { return profiles(r.decided.Env) },
			configured: func(_ *resolution, d *Defaults) string { return profiles(d.Env) }, field: "env",
		},
		{
			key: "pre-stop-seconds", value: func(r *resolution) string { return strconv.FormatInt(r.decided.PreStop.Seconds, 10) },
			configured: func(_ *resolution, d *Defaults) string { return strconv.FormatInt(d.PreStop.Seconds, 10) }, field: "preStop.seconds",
			why: func(r *resolution) (Source, string) {
				if r.why.preStop == reasonClient {
					return SourceDefault, "a client has no hook unless it asks"
				}
				return "", ""
			},
		},
		{key: keyFSGroup, value: (*resolution).group, why: (*resolution).whyGroup},
	}
}

func tellersOfLife() []teller {
	return []teller{
		{
			key: keyReload, value: func(r *resolution) string { return string(r.decided.Reload) },
			configured: func(_ *resolution, d *Defaults) string { return string(d.Reload) }, field: "reload",
		},
		{key: keyReloadSignal, value: func(r *resolution) string { return r.told().Signal }},
		{key: keyReloadContainer, value: func(r *resolution) string { return r.told().Container }, why: (*resolution).whyContainer},
		{key: keyReloadProcess, value: func(r *resolution) string { return r.told().Process }},
		{key: keyReloadURL, value: func(r *resolution) string { return r.told().URL }},
		{key: keyAgent, value: func(r *resolution) string { return strconv.FormatBool(r.decided.Agent != nil) }, why: (*resolution).whyAgent},
		{
			key: "probes", value: func(r *resolution) string { return string(r.decided.Probes) },
			configured: func(_ *resolution, d *Defaults) string { return string(d.Probes) }, field: "probes",
		},
		{
			key: keyCompanion, value: (*resolution).companion,
			configured: func(_ *resolution, d *Defaults) string { return strconv.FormatBool(d.Companion) }, field: "companion",
		},
	}
}

// The decisions that no annotation makes.
const (
	tellWorkload = "workload"
	tellSPIFFE   = "spiffe-id"
	tellUsages   = "usages"
)

func tellersOfNoKey() []teller {
	return []teller{
		{key: tellWorkload, value: func(r *resolution) string { return r.workload.String() }, why: func(r *resolution) (Source, string) {
			if r.workload.Kind == "Pod" {
				return SourcePod, "it has no controller"
			}
			return SourcePod, "owner"
		}},
		{key: tellSPIFFE, value: func(r *resolution) string { return r.decided.Identity.SPIFFEID }, why: func(r *resolution) (Source, string) {
			if r.pod.Spec.ServiceAccountName == "" {
				return SourceDefault, "service account"
			}
			return SourcePod, "spec.serviceAccountName"
		}},
		{key: tellUsages, value: func(r *resolution) string { return strings.Join(words(r.decided.Usages...), ", ") }, why: func(*resolution) (Source, string) {
			return SourceDefault, "of role and key-algorithm"
		}},
	}
}

func (r *resolution) whyRole() (Source, string) {
	if r.settings.role == "" && !r.isGiven(keyRole) {
		return SourceDefault, "neither pod nor namespace sets it"
	}
	return "", ""
}

func (r *resolution) whyService() (Source, string) {
	switch {
	case r.why.service == reasonClient:
		return SourceDefault, "a client serves nobody"
	case r.why.service == reasonNoService:
		return SourceDefault, "no Service selects the pod"
	case r.isGiven(keyService):
		return "", ""
	}
	return SourceService, "selector"
}

// whyNames tells of all names, for the annotation only adds to them.
func (r *resolution) whyNames() (Source, string) {
	var source Source
	var details []string
	switch {
	case r.why.dnsNames == reasonWorkload:
		source, details = SourcePod, []string{"the name of its workload"}
	case r.why.dnsNames == reasonServices && len(r.served) > 0:
		source, details = SourceService, []string{strings.Join(namesOf(r.served), ", ")}
	}
	switch {
	case r.isGiven(keyDNSNames) && source == "":
		return SourcePod, "annotation"
	case r.isGiven(keyDNSNames):
		details = append(details, "annotation of the pod")
	case source == "":
		return SourceDefault, ""
	}
	return source, strings.Join(details, "; ")
}

func (r *resolution) whyCommonName() (Source, string) {
	if r.why.commonName == reasonFirstName {
		return SourceDefault, "the first full name of dns-names"
	}
	return "", ""
}

// whyOther tells of a value that follows from another key, unless it was set itself.
func (r *resolution) whyOther(key string, had, wanted reason, from, detail string) (Source, string) {
	if had != wanted || r.isGiven(key) {
		return "", ""
	}
	if set, byNamespace := r.isSet(from); set && byNamespace {
		return SourceNamespace, detail
	} else if set {
		return SourcePod, detail
	}
	return SourceConfiguration, detail
}

func (r *resolution) whyGroup() (Source, string) {
	switch {
	case r.why.fsGroup == reasonSecret:
		return SourcePod, "securityContext.fsGroup, which Secret volumes follow"
	case r.why.fsGroup == reasonFSGroup:
		return SourcePod, "securityContext.fsGroup"
	case r.why.fsGroup == reasonRunAsGroup && r.decided.FSGroup != nil:
		return SourcePod, "runAsGroup of the containers"
	case r.why.fsGroup == reasonRunAsGroup:
		return SourceDefault, "no fsGroup and no common runAsGroup"
	}
	return "", ""
}

// group is the one that can read the key.
func (r *resolution) group() string {
	if r.decided.FSGroup != nil {
		return strconv.FormatInt(*r.decided.FSGroup, 10)
	}
	if sc := r.pod.Spec.SecurityContext; sc != nil && sc.FSGroup != nil {
		return strconv.FormatInt(*sc.FSGroup, 10)
	}
	return ""
}

// told is how the program is told of new files.
func (r *resolution) told() AgentReload {
	if r.decided.Agent == nil {
		return AgentReload{}
	}
	return r.decided.Agent.Reload
}

func (r *resolution) whyContainer() (Source, string) {
	if r.told().Container != "" && !r.isGiven(keyReloadContainer) {
		return SourceDefault, "the first container that gets the files"
	}
	return "", ""
}

func (r *resolution) whyAgent() (Source, string) {
	if r.decided.Agent == nil || r.settings.agent {
		return "", ""
	}
	source := SourceConfiguration
	if set, byNamespace := r.isSet(keyReload); set && byNamespace {
		source = SourceNamespace
	} else if set {
		source = SourcePod
	}
	return source, "reload: signal needs it"
}

func (r *resolution) companion() string {
	if r.decided.Companion {
		return fmt.Sprintf("true (Certificate %s)", r.decided.CompanionName)
	}
	return "false"
}

// names are the DNS names of the pod's certificate.
func (r *resolution) names() []string {
	if r.decided.Delivery == DeliverySecret {
		return r.decided.Identity.CompanionDNSNames()
	}
	return r.decided.Identity.PodDNSNames()
}

// containers returns the pod's containers that get the files, or that do not.
func (r *resolution) containers(included bool) []string {
	var names []string
	for _, list := range [][]Container{r.pod.Spec.InitContainers, r.pod.Spec.Containers} {
		for i := range list {
			if r.decided.Containers.Includes(list[i].Name) == included {
				names = append(names, list[i].Name)
			}
		}
	}
	return names
}

func namesOf(services []Service) []string {
	names := make([]string, len(services))
	for i := range services {
		names[i] = services[i].Name
	}
	return names
}

func profiles(env []EnvProfile) string {
	if len(env) == 0 {
		return string(EnvNone)
	}
	return strings.Join(words(env...), ", ")
}

// String returns "Kind/name".
func (b Bundle) String() string { return string(b.Kind) + "/" + b.Name }

func withoutZero(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}
