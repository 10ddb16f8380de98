package intent

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// claims is who a pod may be, and who it asks to be.
type claims struct {
	*resolution
	// services are those that select the pod, by name.
	services []Service
	// squatted says that a Service has the workload's name but selects other pods, so
	// that the name is theirs.
	squatted bool
	workload Workload
}

// identity applies the rules of names: a pod may claim the names of Services in its
// namespace that select it, its workload's name unless a Service of that name selects
// others, and what the configuration grants to its namespace. Everything else is an
// error of the annotation that asked for it.
func (r *resolution) identity(workload Workload, all []Service) Identity {
	c := claims{resolution: r, workload: workload}
	for i := range all {
		switch svc := &all[i]; {
		case svc.Selects(r.pod.Metadata.Labels):
			c.services = append(c.services, *svc)
		case svc.Name == workload.Name:
			c.squatted = true
		}
	}
	slices.SortFunc(c.services, func(a, b Service) int { return strings.Compare(a.Name, b.Name) })

	id := Identity{SPIFFEID: r.spiffeID(), Subject: r.settings.subject}
	if r.settings.role.IsServer() {
		c.serve(&id)
	} else if len(r.settings.services) > 0 {
		r.warn(Prefix + keyService + " has no effect with role: client, which serves nobody")
	}
	c.addNames(&id)
	c.commonName(&id)
	return id
}

// spiffeID is made of the namespace of the request and the pod's service account only
// (SPIFFE-ID standard, section 2; the path form is the one that meshes use).
func (r *resolution) spiffeID() string {
	return "spiffe://" + r.defaults.TrustDomain + "/ns/" + r.ns.Name + "/sa/" + r.serviceAccount()
}

func (r *resolution) serviceAccount() string {
	if name := r.pod.Spec.ServiceAccountName; name != "" {
		return name
	}
	return "default"
}

// checkServiceAccount keeps out what would say something else within the SPIFFE ID. The
// API server refuses such a pod too, but only after admission.
func (r *resolution) checkServiceAccount(name string) {
	if err := objectName(name); err != nil {
		r.podErrors = append(r.podErrors, field.Invalid(field.NewPath("spec", "serviceAccountName"), shorten(name), err.Error()))
	}
}

// serve gives the names of the Services that the pod serves, or of its workload when
// there is no Service yet.
func (c *claims) serve(id *Identity) {
	served := c.services
	if len(c.settings.services) > 0 {
		served = c.chosen()
	}
	for i := range served {
		id.DNSNames = c.appendNames(id.DNSNames, served[i].Name)
		if served[i].Headless {
			id.PerPodDomains = append(id.PerPodDomains, c.fullName(served[i].Name))
		}
	}
	if len(served) > 0 || len(c.settings.services) > 0 {
		return
	}
	if !c.ownsWorkloadName() {
		c.warn("no Service selects the pod and its workload's name " + quote(c.workload.Name) +
			" is no name of its own: the certificate has no DNS name")
		return
	}
	c.warn("no Service selects the pod yet: the certificate gets the names of its workload " + quote(c.workload.Name))
	id.DNSNames = c.appendNames(id.DNSNames, c.workload.Name)
}

// chosen returns the Services that the annotation names; each must select the pod.
func (c *claims) chosen() []Service {
	served := make([]Service, 0, len(c.settings.services))
	for _, name := range c.settings.services {
		i := slices.IndexFunc(c.services, func(s Service) bool { return s.Name == name })
		if i < 0 {
			c.refuse(keyService, "Service "+quote(name)+" does not exist in namespace "+quote(c.ns.Name)+
				" or its selector does not match the pod's labels"+didYouMean(name, c.serviceNames())+
				"; "+c.selectingServices())
			continue
		}
		served = append(served, c.services[i])
	}
	return served
}

func (c *claims) serviceNames() []string {
	names := make([]string, len(c.services))
	for i := range c.services {
		names[i] = c.services[i].Name
	}
	return names
}

func (c *claims) selectingServices() string {
	if len(c.services) == 0 {
		return "no Service selects this pod"
	}
	return "allowed: " + some(c.serviceNames())
}

// ownsWorkloadName reports whether the workload's name is the pod's own: no other pods
// stand behind a Service of that name, and it is one DNS label.
func (c *claims) ownsWorkloadName() bool {
	return !c.squatted && len(validation.IsDNS1123Label(c.workload.Name)) == 0
}

// fullName returns <service>.<namespace>.svc.<cluster domain>.
func (c *claims) fullName(service string) string {
	return service + "." + c.ns.Name + ".svc." + c.defaults.ClusterDomain
}

// appendNames appends the four forms under which a Service is reached (the search
// domains of a pod's resolv.conf and the full name), the shortest first.
func (c *claims) appendNames(names []string, service string) []string {
	full := c.fullName(service)
	short := len(service) + 1 + len(c.ns.Name)
	return append(slices.Grow(names, 4), full[:len(service)], full[:short], full[:short+len(".svc")], full)
}

// owns reports whether a DNS name is one of the pod's own names. Per-pod names below a
// headless Service are not: only the CSI driver can tell a pod's real name.
func (c *claims) owns(name string) bool {
	service, rest, _ := strings.Cut(name, ".")
	if rest != "" && c.fullName(service) != name && !isSearchForm(rest, c.ns.Name) {
		return false
	}
	if c.ownsWorkloadName() && service == c.workload.Name {
		return true
	}
	return slices.ContainsFunc(c.services, func(s Service) bool { return s.Name == service })
}

// isSearchForm reports whether rest is "<namespace>" or "<namespace>.svc".
func isSearchForm(rest, namespace string) bool {
	return strings.TrimSuffix(rest, ".svc") == namespace
}

func (c *claims) granted(match func(*NameRule) bool) bool {
	set := labels.Set(c.ns.Labels)
	for i := range c.defaults.AllowedNames {
		if rule := &c.defaults.AllowedNames[i]; rule.Namespaces.Matches(set) && match(rule) {
			return true
		}
	}
	return false
}

// addNames adds the names of the annotation dns-names that the pod may claim.
func (c *claims) addNames(id *Identity) {
	for _, name := range c.settings.dnsNames {
		covers := func(pattern string) bool { return matchesDNS(pattern, name) }
		granted := func(rule *NameRule) bool { return slices.ContainsFunc(rule.DNSNames, covers) }
		if !c.owns(name) && !c.granted(granted) {
			c.refuse(keyDNSNames, "the pod may not claim "+quote(name)+
				": it is neither a name of a Service that selects the pod, nor of its workload, nor granted to namespace "+
				quote(c.ns.Name)+" by the configuration (identity.allow)")
			continue
		}
		if !slices.Contains(id.DNSNames, name) {
			id.DNSNames = append(id.DNSNames, name)
		}
	}
}

// commonName checks the annotation's common name, or takes the first full name if it
// fits into the 64 bytes of RFC 5280.
func (c *claims) commonName(id *Identity) {
	if asked := id.Subject.CommonName; asked != "" {
		granted := func(rule *NameRule) bool { return slices.Contains(rule.CommonNames, asked) }
		if !slices.Contains(id.DNSNames, asked) && !c.granted(granted) && c.sound(keyService, keyDNSNames) {
			c.refuse(keyCommonName, "must be one of the certificate's DNS names or granted to namespace "+
				quote(c.ns.Name)+" by the configuration (identity.allow)"+didYouMean(asked, id.DNSNames))
		}
		return
	}
	domain := ".svc." + c.defaults.ClusterDomain
	first := slices.IndexFunc(id.DNSNames, func(name string) bool { return strings.HasSuffix(name, domain) })
	if first >= 0 && len(id.DNSNames[first]) <= maxSubject {
		id.Subject.CommonName = id.DNSNames[first]
	}
}
