package intent

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// identity applies the rules of names: a pod may claim the names of Services in its
// namespace that select it, its workload's name unless a Service of that name selects
// others, and what the configuration grants to its namespace. Everything else is an
// error of the annotation that asked for it.
func (r *resolution) identity() Identity {
	id := Identity{SPIFFEID: r.spiffeID(), Subject: r.settings.subject}
	if r.settings.role.IsServer() {
		r.serve(&id)
	} else if r.why.service = reasonClient; len(r.settings.services) > 0 {
		r.warn(Prefix + keyService + " has no effect with role: client, which serves nobody")
	}
	r.addNames(&id)
	r.commonName(&id)
	r.subject(&id)
	return id
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
func (r *resolution) serve(id *Identity) {
	served := r.selecting
	if len(r.settings.services) > 0 {
		served = r.chosen()
	}
	r.served, r.why.dnsNames = served, reasonServices
	for i := range served {
		id.DNSNames = r.appendNames(id.DNSNames, served[i].Name)
		if served[i].Headless {
			id.PerPodDomains = append(id.PerPodDomains, r.fullName(served[i].Name))
		}
	}
	if len(served) > 0 || len(r.settings.services) > 0 {
		return
	}
	r.why.service = reasonNoService
	if !r.ownsWorkloadName() {
		r.why.dnsNames = reasonNoService
		r.warn("no Service selects the pod and its workload's name " + quote(r.workload.Name) +
			" is no name of its own: the certificate has no DNS name")
		return
	}
	r.warn("no Service selects the pod yet: the certificate gets the names of its workload " + quote(r.workload.Name))
	r.why.dnsNames = reasonWorkload
	id.DNSNames = r.appendNames(id.DNSNames, r.workload.Name)
}

// chosen returns the Services that the annotation names; each must select the pod.
func (r *resolution) chosen() []Service {
	served := make([]Service, 0, len(r.settings.services))
	for _, name := range r.settings.services {
		i := slices.IndexFunc(r.selecting, func(s Service) bool { return s.Name == name })
		if i < 0 {
			r.refuse(keyService, "Service "+quote(name)+" does not exist in namespace "+quote(r.ns.Name)+
				" or its selector does not match the pod's labels"+didYouMean(name, namesOf(r.selecting))+
				"; "+r.selectingServices())
			continue
		}
		served = append(served, r.selecting[i])
	}
	return served
}

func (r *resolution) selectingServices() string {
	if len(r.selecting) == 0 {
		return "no Service selects this pod"
	}
	return "allowed: " + some(namesOf(r.selecting))
}

// addNames adds the names of the annotation dns-names that the pod may claim.
func (r *resolution) addNames(id *Identity) {
	for _, name := range r.settings.dnsNames {
		if !r.owns(name) && !r.grantsDNS(name) {
			r.refuse(keyDNSNames, r.mayNotClaim(name))
			continue
		}
		if !slices.Contains(id.DNSNames, name) {
			id.DNSNames = append(id.DNSNames, name)
		}
	}
}

// commonName checks the annotation's common name, or takes the first full name if it
// fits into the 64 bytes of RFC 5280.
func (r *resolution) commonName(id *Identity) {
	if asked := id.Subject.CommonName; asked != "" {
		granted := r.grantsText(func(rule *NameRule) []string { return rule.CommonNames }, asked)
		if !slices.Contains(id.DNSNames, asked) && !granted && r.sound(keyService, keyDNSNames) {
			r.refuse(keyCommonName, "must be one of the certificate's DNS names or "+r.notGranted()+didYouMean(asked, id.DNSNames))
		}
		return
	}
	domain := ".svc." + r.defaults.ClusterDomain
	first := slices.IndexFunc(id.DNSNames, func(name string) bool { return strings.HasSuffix(name, domain) })
	if first >= 0 && len(id.DNSNames[first]) <= maxSubject {
		id.Subject.CommonName, r.why.commonName = id.DNSNames[first], reasonFirstName
	}
}

// subject checks what the certificate says of its bearer besides names: peers that let
// somebody in by his organization must be able to believe it.
func (r *resolution) subject(id *Identity) {
	for _, claim := range []struct {
		key    string
		values []string
		list   func(*NameRule) []string
	}{
		{keyOrganizations, id.Subject.Organizations, func(rule *NameRule) []string { return rule.Organizations }},
		{keyOrganizationalUnits, id.Subject.OrganizationalUnits, func(rule *NameRule) []string { return rule.OrganizationalUnits }},
	} {
		for _, value := range claim.values {
			if !r.grantsText(claim.list, value) {
				r.refuse(claim.key, r.mayNotHave(value, claim.list))
			}
		}
	}
}
