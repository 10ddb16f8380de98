package injector

import (
	"path"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/intent"
)

// maxMounts is how many folders a container can get: server, client, bundle.
const maxMounts = 3

// mount is a folder that a container gets.
type mount struct{ volume, folder string }

// MarshalJSON makes the mount as core/v1 has it.
func (m *mount) MarshalJSON() ([]byte, error) { return m.appendJSON(nil), nil }

func (m *mount) appendJSON(dst []byte) []byte {
	dst = appendQuoted(append(dst, `{"name":`...), m.volume)
	dst = appendQuoted(append(dst, `,"mountPath":`...), m.folder)
	return append(dst, `,"readOnly":true}`...)
}

// mounts adds the wanted mounts to each served container.
func mounts(p *patch) {
	for i := range p.served {
		t := &p.served[i]
		p.warnOfParents(t)
		if len(t.VolumeMounts) == 0 {
			p.add(p.join(t.path, "/volumeMounts"), list[mount, *mount](p.mounts))
			continue
		}
		for j := range p.mounts {
			if want := &p.mounts[j]; !p.isMounted(t, want) {
				p.add(p.join(t.path, "/volumeMounts/-"), want)
			}
		}
	}
}

// isMounted reports whether the container has the mount already. Anything else at the
// folder or below it would hide files of ours, and our own volume with a subPath would
// never see them renewed: both are refused.
func (p *patch) isMounted(t *target, want *mount) bool {
	mounted := false
	for i := range t.VolumeMounts {
		have := &t.VolumeMounts[i]
		switch at := cleanPath(have.MountPath); {
		case at == want.folder && have.Name == want.volume && !hasSubPath(have):
			mounted = true
		case at == want.folder || isBelow(at, want.folder):
			p.refuse(field.Invalid(t.field().Child("volumeMounts").Index(i).Child("mountPath"), have.MountPath,
				conflict(have, want)))
		}
	}
	return mounted
}

func hasSubPath(m *intent.VolumeMount) bool { return m.SubPath != "" || m.SubPathExpr != "" }

func conflict(have *intent.VolumeMount, want *mount) string {
	const ways = ": remove the mount, choose another folder with " + intent.Prefix + "mount-path, or leave the container out with " +
		intent.Prefix + "exclude-containers"
	if have.Name == want.volume && hasSubPath(have) {
		return "a mount with a subPath never sees renewed files, and " + want.folder + " is injected" + ways
	}
	return "volume " + strconv.Quote(have.Name) + " would hide files that are injected into " + want.folder + ways
}

// warnOfParents warns of mounts that contain a folder of ours: the folder must then be
// made inside of that volume, which fails in a read-only one.
func (p *patch) warnOfParents(t *target) {
	for i := range t.VolumeMounts {
		have := &t.VolumeMounts[i]
		at := cleanPath(have.MountPath)
		for j := range p.mounts {
			if want := &p.mounts[j]; isBelow(want.folder, at) {
				p.warn(t.quoted() + " mounts volume " + strconv.Quote(have.Name) + " at " + at + ", and " + want.folder +
					" is injected inside of it: that fails if the volume is read-only and has no such folder")
				break
			}
		}
	}
}

// cleanPath makes paths comparable; the kubelet takes a relative one from the root.
func cleanPath(p string) string {
	if !strings.HasPrefix(p, "/") {
		p = "/" + p
	}
	return path.Clean(p)
}

// isBelow reports whether a clean path lies inside of a folder.
func isBelow(p, folder string) bool {
	rest, ok := strings.CutPrefix(p, folder)
	return ok && rest != "" && (rest[0] == '/' || folder == "/")
}
