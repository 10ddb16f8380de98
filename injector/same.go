package injector

import (
	corev1 "k8s.io/api/core/v1"

	"example.io/mtls-injector/intent"
)

// How a volume of the pod's is told from the one that is wanted. Nothing that we leave
// out is ever filled in by the API server, so a field more is a difference as well: one
// more CSI attribute is one more claim.

// is reports whether the pod's volume is the one that is wanted.
func (v *volume) is(have *intent.Volume) bool {
	switch {
	case v.attributes != nil:
		return have.CSI != nil && v.isCSI(have.CSI)
	case v.isProjected():
		return have.Projected != nil && v.isMode(have.Projected.DefaultMode) && v.isSources(have.Projected.Sources)
	case v.secret != "":
		s := have.Secret
		return s != nil && v.isMode(s.DefaultMode) && v.isKeyPair(s.SecretName, s.Items, s.Optional)
	default:
		c := have.ConfigMap
		return c != nil && v.isMode(c.DefaultMode) && v.isBundle(c.Name, c.Items, c.Optional)
	}
}

func (v *volume) isCSI(have *corev1.CSIVolumeSource) bool {
	if have.Driver != intent.CSIDriver || have.ReadOnly == nil || !*have.ReadOnly ||
		have.FSType != nil || have.NodePublishSecretRef != nil || len(have.VolumeAttributes) != len(v.attributes) {
		return false
	}
	for i := range v.attributes {
		if value, ok := have.VolumeAttributes[v.attributes[i].key]; !ok || value != v.attributes[i].value {
			return false
		}
	}
	return true
}

// isSources compares the key pair, if there is to be one, and then the bundle.
func (v *volume) isSources(have []corev1.VolumeProjection) bool {
	if v.secret != "" {
		if len(have) == 0 || have[0].Secret == nil || !v.isKeyPair(have[0].Secret.Name, have[0].Secret.Items, have[0].Secret.Optional) {
			return false
		}
		have = have[1:]
	}
	if len(have) != 1 {
		return false
	}
	if v.bundle.Kind == intent.BundleClusterTrustBundle {
		return have[0].ClusterTrustBundle != nil && v.isTrustBundle(have[0].ClusterTrustBundle)
	}
	c := have[0].ConfigMap
	return c != nil && v.isBundle(c.Name, c.Items, c.Optional)
}

func (v *volume) isTrustBundle(have *corev1.ClusterTrustBundleProjection) bool {
	return have.Name != nil && *have.Name == v.bundle.Name && have.Path == bundleFile &&
		have.SignerName == nil && have.LabelSelector == nil && !isTrue(have.Optional)
}

func (v *volume) isBundle(name string, items []corev1.KeyToPath, optional *bool) bool {
	return name == v.bundle.Name && !isTrue(optional) && len(items) == 1 && isItem(&items[0], v.bundle.Key, bundleFile)
}

func (v *volume) isKeyPair(name string, items []corev1.KeyToPath, optional *bool) bool {
	return name == v.secret && !isTrue(optional) && len(items) == 2 &&
		isItem(&items[0], certificateFile, certificateFile) && isItem(&items[1], keyFile, keyFile)
}

func (v *volume) isMode(mode *int32) bool { return mode != nil && *mode == v.mode }

func isItem(item *corev1.KeyToPath, key, path string) bool {
	return item.Key == key && item.Path == path && item.Mode == nil
}

func isTrue(b *bool) bool { return b != nil && *b }
