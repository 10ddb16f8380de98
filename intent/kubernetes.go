package intent

import (
	"fmt"
	"regexp"
	"strconv"
)

// What depends on the version of Kubernetes.

// KubernetesVersion is that of an API server. The zero value stands for the newest: it
// has everything.
type KubernetesVersion struct{ Major, Minor int }

// The versions from which on something is there by default.
func nativeSidecars() KubernetesVersion { return KubernetesVersion{1, 29} } // KEP-753
func sleepActions() KubernetesVersion   { return KubernetesVersion{1, 30} } // KEP-3960

// versionForm takes what API servers say of themselves, too: "v1.29.6-gke.1" and the minor
// "29+" of managed ones.
var versionForm = regexp.MustCompile(`^v?([0-9]{1,4})\.([0-9]{1,4})(\+|[.-].*)?$`)

// ParseKubernetesVersion reads a version such as 1.29 or v1.29.6.
func ParseKubernetesVersion(text string) (KubernetesVersion, error) {
	parts := versionForm.FindStringSubmatch(text)
	if parts == nil {
		return KubernetesVersion{}, fmt.Errorf("%s is no version of Kubernetes such as 1.29", quote(text))
	}
	var v KubernetesVersion
	v.Major, _ = strconv.Atoi(parts[1]) // four digits at most
	v.Minor, _ = strconv.Atoi(parts[2])
	return v, nil
}

// String returns "<major>.<minor>", or "the newest".
func (v KubernetesVersion) String() string {
	if v == (KubernetesVersion{}) {
		return "the newest"
	}
	return strconv.Itoa(v.Major) + "." + strconv.Itoa(v.Minor)
}

// Has reports whether the version is not older than the one that something came with.
func (v KubernetesVersion) Has(since KubernetesVersion) bool {
	return v == (KubernetesVersion{}) || v.Major > since.Major || v.Major == since.Major && v.Minor >= since.Minor
}
