package migrate

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"

	"example.io/mtls-injector/cmd/kubectl-mtls/offline"
	"example.io/mtls-injector/intent"
)

// plan is what is found in one pod or template, and what is to become of it.
type plan struct {
	found *offline.Found
	known *known

	// asks are what the volumes with key pairs ask for; keys, cas are those volumes' names,
	// with the path of each in the containers that mount it.
	asks      []*ask
	keys, cas []*handmade
	// secrets are the names of the Secrets that are no longer mounted.
	secrets []string

	annotations map[string]string
	operations  []jsonpatch.Operation
	cannot      []string
	notes       []string
}

// handmade is a volume that the injection replaces.
type handmade struct {
	index  int
	volume *intent.Volume
	// both says that key pair and bundle are in one folder.
	both bool
	// bundle is the ConfigMap of CA certificates, if it holds one.
	bundle, bundleKey string
	// mounts are the paths by container.
	mounts map[string][]string
}

// newPlan finds what is done by hand. It has no keys if nothing is.
func newPlan(found *offline.Found, k *known) *plan {
	p := &plan{found: found, known: k, annotations: map[string]string{}}
	for i := range found.Pod.Spec.Volumes {
		v := &found.Pod.Spec.Volumes[i]
		h := &handmade{index: i, volume: v, mounts: map[string][]string{}}
		switch {
		case v.Name == intent.CertificateVolume || v.Name == intent.BundleVolume:
		case v.CSI != nil && v.CSI.Driver == intent.CSIDriver:
			p.asks, p.keys = append(p.asks, askOfVolume(v)), append(p.keys, h)
		case v.Secret != nil:
			p.secretVolume(h)
		case v.ConfigMap != nil:
			p.bundleVolume(h)
		case v.Projected != nil:
			p.projectedVolume(h)
		}
	}
	if len(p.keys) == 0 {
		return p
	}
	for _, list := range [][]intent.Container{found.Pod.Spec.InitContainers, found.Pod.Spec.Containers} {
		for i := range list {
			p.mountsOf(&list[i])
		}
	}
	return p
}

func (p *plan) refuse(text string) { p.cannot = append(p.cannot, text) }

func (p *plan) note(text string) { p.notes = append(p.notes, text) }

// secretVolume takes a Secret that a Certificate of the input makes. Of others nobody knows
// what is in them.
func (p *plan) secretVolume(h *handmade) {
	name := h.volume.Secret.SecretName
	certificate := p.known.certificate(p.namespace(), name)
	if certificate == nil {
		return
	}
	for _, item := range h.volume.Secret.Items {
		p.checkFile(h, item.Key, item.Path)
	}
	p.asks, p.keys, p.secrets = append(p.asks, askOfCertificate(certificate)), append(p.keys, h), append(p.secrets, name)
}

// checkFile refuses a file that will have another name.
func (p *plan) checkFile(h *handmade, key, file string) {
	if key != file {
		p.refuse("volume " + strconv.Quote(h.volume.Name) + " gives " + key + " the name " + file +
			": let the program read " + key + ", and take the item out")
	}
}

// bundleVolume takes a ConfigMap that is the bundle of the configuration, that a Bundle of the
// input makes, or that holds nothing but a file of CA certificates.
func (p *plan) bundleVolume(h *handmade) {
	c := h.volume.ConfigMap
	key := p.known.defaults.CABundle.Key
	for _, item := range c.Items {
		key = item.Key
	}
	if c.Name != p.known.defaults.CABundle.Name && !p.known.isBundle(c.Name) || len(c.Items) > 1 {
		return
	}
	h.bundle, h.bundleKey = c.Name, key
	p.cas = append(p.cas, h)
}

// projectedVolume takes a Secret and a bundle in one folder.
func (p *plan) projectedVolume(h *handmade) {
	sources := h.volume.Projected.Sources
	if len(sources) != 2 {
		return
	}
	for i := range sources {
		switch s := &sources[i]; {
		case s.Secret != nil && p.known.certificate(p.namespace(), s.Secret.Name) != nil:
			p.asks = append(p.asks, askOfCertificate(p.known.certificate(p.namespace(), s.Secret.Name)))
			p.secrets = append(p.secrets, s.Secret.Name)
			for _, item := range s.Secret.Items {
				p.checkFile(h, item.Key, item.Path)
			}
		case s.ConfigMap != nil && len(s.ConfigMap.Items) == 1:
			h.bundle, h.bundleKey = s.ConfigMap.Name, s.ConfigMap.Items[0].Key
			if file := s.ConfigMap.Items[0].Path; file != "ca.crt" {
				p.refuse("volume " + strconv.Quote(h.volume.Name) + " gives the bundle the name " + file +
					": let the program read ca.crt, and change the item")
			}
		}
	}
	if len(p.asks) > 0 && h.bundle != "" {
		h.both = true
		p.keys = append(p.keys, h)
	}
}

func (p *plan) namespace() string { return p.known.namespaceOf(p.found.Object) }

// mountsOf notes where a container mounts the volumes.
func (p *plan) mountsOf(c *intent.Container) {
	for i := range c.VolumeMounts {
		m := &c.VolumeMounts[i]
		for _, h := range slices.Concat(p.keys, p.cas) {
			if h.volume.Name != m.Name {
				continue
			}
			if m.SubPath+m.SubPathExpr != "" {
				p.refuse("container " + strconv.Quote(c.Name) + " mounts " + m.SubPath + m.SubPathExpr + " of volume " + strconv.Quote(m.Name) + " at " + m.MountPath +
					" by subPath, which is never renewed: mount the folder, and let the program read " + path.Join(path.Dir(m.MountPath), m.SubPath))
				continue
			}
			h.mounts[c.Name] = append(h.mounts[c.Name], path.Clean(m.MountPath))
		}
	}
}

// paths returns the paths at which containers have the volume.
func (h *handmade) paths() []string {
	var all []string
	for _, mounts := range h.mounts {
		for _, at := range mounts {
			if !slices.Contains(all, at) {
				all = append(all, at)
			}
		}
	}
	slices.Sort(all)
	return all
}

// set proposes an annotation.
func (p *plan) set(key, value string) { p.annotations[intent.Prefix+key] = value }

// decide makes annotations of what was found, as far as they do not depend on names.
func (p *plan) decide() {
	for _, a := range p.asks {
		p.cannot, p.notes = append(p.cannot, a.cannot...), append(p.notes, a.notes...)
	}
	p.decideRole()
	p.decideDelivery()
	p.decideFolders()
	p.decideContainers()
	p.decideBundle()
	p.decideCertificate()
}

func (p *plan) role() intent.Role { return intent.Role(p.annotations[intent.Prefix+"role"]) }

// decideRole takes the usages of all certificates; where they say nothing, names are for
// servers.
func (p *plan) decideRole() {
	var server, client bool
	for _, a := range p.asks {
		role := a.role()
		if role == "" {
			role = intent.RoleClient
			if len(a.dnsNames) > 0 {
				role = intent.RoleServer
			}
			p.note(a.from + ": it has no usages that tell servers from clients, and is taken for one of a " + string(role) + ": if it is both, write role: both")
		}
		server, client = server || role.IsServer(), client || role.IsClient()
	}
	role := intent.RoleClient
	switch {
	case server && client:
		role = intent.RoleBoth
	case server:
		role = intent.RoleServer
	}
	p.set("role", string(role))
}

// decideDelivery keeps the way in which the key pair comes.
func (p *plan) decideDelivery() {
	delivery := intent.DeliveryCSI
	for _, a := range p.asks {
		if a.secret {
			delivery = intent.DeliverySecret
		}
	}
	for _, a := range p.asks {
		if a.secret != (delivery == intent.DeliverySecret) {
			p.refuse("one key pair comes from a Secret and another from the CSI driver, and a pod has one delivery: let both come the same way first")
			return
		}
	}
	if delivery == p.known.defaults.Delivery {
		return
	}
	p.set("delivery", string(delivery))
	if delivery == intent.DeliverySecret {
		p.note("delivery: secret keeps the way of the key: from a Secret, the same for all pods. Without the annotation each pod gets a key of its own, which never leaves the node")
	}
}

const (
	serverFolder = "/etc/tls/server"
	clientFolder = "/etc/tls/client"
)

// decideFolders finds the path at which the program expects its files.
func (p *plan) decideFolders() {
	var all []string
	for _, h := range p.keys {
		for _, at := range h.paths() {
			if !slices.Contains(all, at) {
				all = append(all, at)
			}
		}
	}
	slices.Sort(all)
	role := p.role()
	usual := func(at string) bool {
		return at == serverFolder && role.IsServer() || at == clientFolder && role.IsClient()
	}
	switch {
	case len(all) == 0:
	case len(all) == 1 && (!usual(all[0]) || p.hasCA()):
		p.set("mount-path", all[0])
	case !slices.ContainsFunc(all, func(at string) bool { return !usual(at) }):
		if p.hasCA() {
			p.note("the folders " + strings.Join(all, " and ") + " have no ca.crt any more: let the program read " + p.bundleFolder() + "/ca.crt")
		}
	default:
		p.refuse("the key pairs are mounted at " + strings.Join(all, " and ") + ", and an injected pod has them in one folder, or in " +
			serverFolder + " and " + clientFolder + ": let the program read those")
	}
}

// hasCA reports whether the folder of the key pair has had a ca.crt, which there is with a
// mount path only, where the key comes from a Secret.
func (p *plan) hasCA() bool {
	return p.delivery() == intent.DeliverySecret && slices.ContainsFunc(p.keys, func(h *handmade) bool {
		if h.both {
			return true
		}
		if h.volume.Secret == nil {
			return false
		}
		items := h.volume.Secret.Items
		return len(items) == 0 || slices.ContainsFunc(items, func(item corev1.KeyToPath) bool { return item.Key == "ca.crt" })
	})
}

// decideContainers names those that have the files, unless all have.
func (p *plan) decideContainers() {
	var names []string
	all := true
	for _, list := range [][]intent.Container{p.found.Pod.Spec.InitContainers, p.found.Pod.Spec.Containers} {
		for i := range list {
			switch name := list[i].Name; {
			case p.served(name):
				names = append(names, name)
				all = all && !slices.Contains(p.known.defaults.ExcludeContainers, name)
			default:
				all = all && slices.Contains(p.known.defaults.ExcludeContainers, name)
			}
		}
	}
	if !all && len(names) > 0 {
		p.set("containers", strings.Join(names, ","))
	}
}

// decideBundle takes the bundle, where the program reads it at the injector's place. Elsewhere
// the pod keeps its volume, which follows the bundle by itself.
func (p *plan) decideBundle() {
	bundle := p.known.defaults.CABundle
	for _, h := range p.keys {
		if h.both && h.bundleKey != bundle.Key {
			p.refuse("ConfigMap " + strconv.Quote(h.bundle) + " has the bundle under " + h.bundleKey + ", and the configuration says " + bundle.Key + " (caBundle.key)")
		}
	}
	p.cas = slices.DeleteFunc(p.cas, func(h *handmade) bool {
		why := p.whyKept(h)
		if why != "" {
			p.note("volume " + strconv.Quote(h.volume.Name) + " stays, for " + why + ": the bundle is in " + p.bundleFolder() + ", too, and MTLS_CA_CERT names it")
		}
		return why != ""
	})
	for _, h := range slices.Concat(p.keys, p.cas) {
		if h.bundle != "" && h.bundle != bundle.Name {
			p.set("ca-bundle", h.bundle)
		}
	}
}

// whyKept tells why the pod needs its own volume with the bundle, or "".
func (p *plan) whyKept(h *handmade) string {
	if h.bundleKey != p.known.defaults.CABundle.Key {
		return "it has the bundle under another key"
	}
	for _, at := range h.paths() {
		if at != p.bundleFolder() {
			return "it is mounted at " + at
		}
	}
	for _, item := range h.volume.ConfigMap.Items {
		if item.Path != "ca.crt" {
			return "the file is called " + item.Path
		}
	}
	for name := range h.mounts {
		if !p.served(name) {
			return "a container without the key pair mounts it"
		}
	}
	return ""
}

// served reports whether the container has a key pair.
func (p *plan) served(container string) bool {
	return slices.ContainsFunc(p.keys, func(h *handmade) bool { return len(h.mounts[container]) > 0 })
}

// bundleFolder is where the injector puts the bundle.
func (p *plan) bundleFolder() string {
	if at := p.annotations[intent.Prefix+"mount-path"]; at != "" && p.delivery() == intent.DeliverySecret {
		return at
	}
	return "/etc/tls/ca"
}

func (p *plan) delivery() intent.Delivery {
	if d := p.annotations[intent.Prefix+"delivery"]; d != "" {
		return intent.Delivery(d)
	}
	return p.known.defaults.Delivery
}
