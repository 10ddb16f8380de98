package injector

import (
	"slices"

	"example.io/mtls-injector/intent"
)

// Modes of files in Secret, ConfigMap and projected volumes. They are always written,
// for the API server fills in a missing mode between two calls, and the second call must
// find its own work.
const (
	modeGroup    int32 = 0o440
	modeEveryone int32 = 0o444
)

// certificate wants the volume with the key pair, and its mounts.
func certificate(p *patch) {
	v := volume{name: intent.CertificateVolume}
	if p.in.Delivery == intent.DeliverySecret {
		v.secret, v.mode = p.in.CompanionName, p.keyMode()
		if p.path.bundle == p.path.server {
			v.bundle = p.in.CABundle // one projected volume for the one folder
		}
	} else {
		v.attributes = p.attributes()
		if p.in.MountPath != "" {
			p.warn("ca.crt in " + p.in.MountPath + " is the CSI driver's own, as of the last issuance: trust " +
				p.path.bundle + "/" + bundleFile + ", which follows a change of the CA")
		}
	}
	p.volumes = append(p.volumes, v)
	if p.in.Role.IsServer() {
		p.mount(intent.CertificateVolume, p.path.server)
	}
	if p.in.Role.IsClient() {
		p.mount(intent.CertificateVolume, p.path.client)
	}
}

// keyMode lets non-root containers read the key. The kubelet gives the files of a Secret
// volume to the group of the pod's fsGroup and of nobody else; without one they belong
// to root, and only a file that everyone may read is of use. "Everyone" are the
// containers that mount the volume, which is nobody beyond those that are served.
func (p *patch) keyMode() int32 {
	if sc := p.pod.Spec.SecurityContext; sc != nil && sc.FSGroup != nil {
		return modeGroup
	}
	if p.in.Role.IsClient() && slices.Contains(p.in.Env, intent.EnvPostgres) {
		p.warn("libpq refuses a private key that everyone may read, as PGSSLKEY will be: set the pod's securityContext.fsGroup")
	}
	return modeEveryone
}

// caBundle wants the volume with the CA bundle, unless it stands beside the key pair.
// It is never the certificate volume's own ca.crt, which goes stale while a CA is rolled.
func caBundle(p *patch) {
	if p.path.bundle == p.path.server {
		return
	}
	p.volumes = append(p.volumes, volume{name: intent.BundleVolume, bundle: p.in.CABundle, mode: modeEveryone})
	p.mount(intent.BundleVolume, p.path.bundle)
}

// mount wants a folder in each served container, once. There is never a subPath, which
// would not see renewed files.
func (p *patch) mount(volume, folder string) {
	for i := range p.mounts {
		if p.mounts[i].folder == folder {
			return
		}
	}
	p.mounts = append(p.mounts, mount{volume: volume, folder: folder})
}
