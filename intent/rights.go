package intent

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
)

// rights are what a pod may be: the names that are its own, and those that the
// configuration grants to its namespace. They do not depend on what it asks for.
type rights struct {
	defaults *Defaults
	ns       *Namespace
	pod      *Pod
	workload Workload
	// services are all of the namespace, and selecting those that select the pod, by name.
	services, selecting []Service
	// byWorkload is set once a name was found to be the pod's own by its workload only.
	byWorkload bool
}

// learn takes note of the namespace's Services.
func (r *rights) learn(services []Service) {
	r.workload = WorkloadOf(r.pod)
	r.services, r.selecting = services, nil
	for i := range services {
		if services[i].Selects(r.pod.Metadata.Labels) {
			r.selecting = append(r.selecting, services[i])
		}
	}
	slices.SortFunc(r.selecting, func(a, b Service) int { return strings.Compare(a.Name, b.Name) })
}

// spiffeID is made of the namespace of the request and the pod's service account only
// (SPIFFE-ID standard, section 2; the path form is the one that meshes use).
func (r *rights) spiffeID() string {
	return "spiffe://" + r.defaults.TrustDomain + "/ns/" + r.ns.Name + "/sa/" + r.serviceAccount()
}

func (r *rights) serviceAccount() string {
	if name := r.pod.Spec.ServiceAccountName; name != "" {
		return name
	}
	return "default"
}

// ownsWorkloadName reports whether the workload's name is the pod's own: no other pods
// stand behind a Service of that name, and it is one DNS label.
func (r *rights) ownsWorkloadName() bool {
	owns := r.defaults.WorkloadNames && !r.isOfOthers(r.workload.Name) && len(validation.IsDNS1123Label(r.workload.Name)) == 0
	r.byWorkload = r.byWorkload || owns && !r.isSelectedBy(r.workload.Name)
	return owns
}

// isSelectedBy reports whether the Service of that name selects the pod.
func (r *rights) isSelectedBy(service string) bool {
	return slices.ContainsFunc(r.selecting, func(s Service) bool { return s.Name == service })
}

// isOfOthers reports whether there is a Service of that name that does not select the pod.
func (r *rights) isOfOthers(service string) bool {
	isNamed := func(s Service) bool { return s.Name == service }
	return slices.ContainsFunc(r.services, isNamed) && !r.isSelectedBy(service)
}

// fullName returns <service>.<namespace>.svc.<cluster domain>.
func (r *rights) fullName(service string) string {
	return service + "." + r.ns.Name + ".svc." + r.defaults.ClusterDomain
}

// appendNames appends the four forms under which a Service is reached (the search
// domains of a pod's resolv.conf and the full name), the shortest first.
func (r *rights) appendNames(names []string, service string) []string {
	full := r.fullName(service)
	short := len(service) + 1 + len(r.ns.Name)
	return append(slices.Grow(names, 4), full[:len(service)], full[:short], full[:short+len(".svc")], full)
}

// serviceIn returns the Service, perhaps one that does not exist, whose name in this
// namespace the DNS name is.
func (r *rights) serviceIn(name string) (service string, ok bool) {
	service, rest, _ := strings.Cut(name, ".")
	// The rest is nothing, "<namespace>", "<namespace>.svc", or that with the domain.
	return service, rest == "" || strings.TrimSuffix(rest, ".svc") == r.ns.Name || r.fullName(service) == name
}

// owns reports whether a DNS name is one of the pod's own names. Per-pod names below a
// headless Service are not among them: see ownsAlone.
func (r *rights) owns(name string) bool {
	service, ok := r.serviceIn(name)
	return ok && (r.isSelectedBy(service) || service == r.workload.Name && r.ownsWorkloadName())
}

// ownsAlone reports whether a DNS name is that of this very pod, below a headless Service
// that selects it. The short forms are no such names: "<pod>.<service>" may be another
// namespace's Service.
func (r *rights) ownsAlone(name, pod string) bool {
	return slices.ContainsFunc(r.selecting, func(s Service) bool { return s.Headless && name == pod+"."+r.fullName(s.Name) })
}

// grants reports whether the configuration grants to the namespace what match looks for.
func (r *rights) grants(match func(*NameRule) bool) bool {
	set := labels.Set(r.ns.Labels)
	for i := range r.defaults.AllowedNames {
		if rule := &r.defaults.AllowedNames[i]; rule.Namespaces.Matches(set) && match(rule) {
			return true
		}
	}
	return false
}

func (r *rights) grantsDNS(name string) bool {
	covers := func(pattern string) bool { return matchesDNS(pattern, name) }
	return r.grants(func(rule *NameRule) bool { return slices.ContainsFunc(rule.DNSNames, covers) })
}

// grantsText reports whether the text stands in that list of one of the rules.
func (r *rights) grantsText(list func(*NameRule) []string, text string) bool {
	return r.grants(func(rule *NameRule) bool { return slices.Contains(list(rule), text) })
}

// checkAllowed reports an issuer that the namespace may not use.
func (r *rights) checkAllowed(issuer Issuer) error {
	if issuer == r.defaults.Issuer {
		return nil
	}
	allowed := []string{r.defaults.Issuer.String()}
	for i := range r.defaults.AllowedIssuers {
		rule := &r.defaults.AllowedIssuers[i]
		if !rule.Namespaces.Matches(labels.Set(r.ns.Labels)) {
			continue
		}
		if rule.covers(issuer) {
			return nil
		}
		allowed = append(allowed, Issuer{Name: rule.Name, Kind: rule.Kind, Group: rule.Group}.String())
	}
	return fmt.Errorf("issuer %s is not allowed in namespace %s; allowed by the configuration: %s", issuer, quote(r.ns.Name), some(allowed))
}

// mayNotClaim says why a DNS name is not the pod's, and what would make it.
func (r *rights) mayNotClaim(name string) string {
	return "the pod may not claim " + quote(name) + ": it is neither a name of a Service that selects the pod, nor of its workload, nor " +
		r.notGranted() + r.remedy(name)
}

func (r *rights) notGranted() string {
	return "granted to namespace " + quote(r.ns.Name) + " by the configuration (identity.allow)"
}

// remedy tells what to do about a name of the cluster's; other names are for the
// configuration alone.
func (r *rights) remedy(name string) string {
	service, here := r.serviceIn(name)
	labels := strings.Split(strings.TrimSuffix(name, "."+r.defaults.ClusterDomain), ".")
	switch {
	case dnsLabel(labels[0]) != nil: // a wildcard
		return ""
	case here && r.isOfOthers(service):
		return "; Service " + quote(service) + " selects other pods: give this one the labels of its selector, or leave the name out"
	case here:
		return "; it is the pod's own once Service " + quote(service) + " exists and selects it"
	case strings.HasSuffix(name, "."+r.ns.Name+".svc."+r.defaults.ClusterDomain):
		return "; a pod gets its own name below a headless Service by itself"
	case len(labels) == 3 && labels[2] == "svc":
		return "; it is a name of namespace " + quote(labels[1])
	}
	return ""
}

// mayNotHave says that a text of the subject is not granted, and which are.
func (r *rights) mayNotHave(text string, list func(*NameRule) []string) string {
	var granted []string
	r.grants(func(rule *NameRule) bool {
		granted = append(granted, list(rule)...)
		return false
	})
	detail := quote(text) + " is not " + r.notGranted()
	if len(granted) == 0 {
		return detail
	}
	return detail + "; allowed: " + some(granted) + didYouMean(text, granted)
}
