package intent

import (
	"slices"
	"strings"
)

// AwaitedServices returns the Services that do not exist yet and whose names the pod asks
// for, by its annotations or its volumes of the CSI driver, each as if it was there and
// selected the pod. A workload is often written before its Services, so what would be right
// with them is no reason to refuse it; its pods, when they are made, need the Services.
func AwaitedServices(defaults *Defaults, ns *Namespace, pod *Pod, services []Service) []Service {
	r := resolution{rights: rights{defaults: defaults, ns: ns, pod: pod}, settings: newSettings(defaults)}
	r.collect()
	r.parse()
	g := guard{rights: r.rights}
	names := slices.Clone(r.settings.services)
	for _, name := range slices.Concat(r.settings.dnsNames, []string{r.settings.subject.CommonName}, g.volumeNames()) {
		// Below a headless Service, the pod's own name comes first.
		name = strings.TrimPrefix(name, g.podName()+".")
		if service, here := r.serviceIn(name); here && dnsLabel(service) == nil {
			names = append(names, service)
		}
	}
	var awaited []Service
	for _, name := range names {
		isNamed := func(s Service) bool { return s.Name == name }
		if !slices.ContainsFunc(services, isNamed) && !slices.ContainsFunc(awaited, isNamed) {
			awaited = append(awaited, Service{Name: name, Selector: pod.Metadata.Labels, Headless: true})
		}
	}
	return awaited
}

// volumeNames returns the names that the pod's hand-written volumes ask for: the first
// ones, for annotations cannot ask for more either, and looking for each costs.
func (g *guard) volumeNames() []string {
	var names []string
	for i := range g.pod.Spec.Volumes {
		v := &g.pod.Spec.Volumes[i]
		if !v.isDrivers() {
			continue
		}
		for _, attribute := range []string{"dns-names", "common-name"} {
			expanded, err := g.expand(v.CSI.VolumeAttributes[CSIDriver+"/"+attribute])
			if err != nil {
				continue
			}
			for item := range strings.SplitSeq(expanded, ",") {
				if len(names) == maxItems {
					return names
				}
				names = append(names, strings.TrimSpace(item))
			}
		}
	}
	return names
}
