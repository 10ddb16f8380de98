package injector

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"example.io/mtls-injector/intent"
)

// volume describes a volume that is wanted, in one of the shapes that the injector
// writes: CSI when it has attributes, projected when it holds a key pair and a bundle or
// a ClusterTrustBundle, else Secret or ConfigMap.
type volume struct {
	name       string
	attributes []attribute
	// secret is the name of the Secret with the key pair, or empty.
	secret string
	// bundle is the CA bundle, or zero.
	bundle intent.Bundle
	mode   int32
}

func (v *volume) isProjected() bool {
	return v.bundle.Kind == intent.BundleClusterTrustBundle || v.bundle.Name != "" && v.secret != ""
}

// MarshalJSON makes the volume as core/v1 has it.
func (v *volume) MarshalJSON() ([]byte, error) { return v.appendJSON(nil), nil }

func (v *volume) appendJSON(dst []byte) []byte {
	dst = appendQuoted(append(dst, `{"name":`...), v.name)
	switch {
	case v.attributes != nil:
		dst = v.appendCSI(append(dst, `,"csi":`...))
	case v.isProjected():
		dst = v.appendProjected(append(dst, `,"projected":`...))
	case v.secret != "":
		dst = append(dst, `,"secret":{"secretName":`...)
		dst = v.appendKeyPair(appendQuoted(dst, v.secret))
		dst = v.appendMode(dst)
	default:
		dst = append(dst, `,"configMap":{"name":`...)
		dst = v.appendBundle(appendQuoted(dst, v.bundle.Name))
		dst = v.appendMode(dst)
	}
	return append(dst, '}')
}

func (v *volume) appendCSI(dst []byte) []byte {
	dst = append(dst, `{"driver":"`+csiDriver+`","readOnly":true,"volumeAttributes":{`...)
	for i := range v.attributes {
		dst = appendQuoted(comma(dst, i), v.attributes[i].key)
		dst = appendQuoted(append(dst, ':'), v.attributes[i].value)
	}
	return append(dst, `}}`...)
}

func (v *volume) appendProjected(dst []byte) []byte {
	dst = append(dst, `{"sources":[`...)
	if v.secret != "" {
		dst = append(dst, `{"secret":{"name":`...)
		dst = v.appendKeyPair(appendQuoted(dst, v.secret))
		dst = append(dst, `}},`...)
	}
	if v.bundle.Kind == intent.BundleClusterTrustBundle {
		dst = append(dst, `{"clusterTrustBundle":{"name":`...)
		dst = appendQuoted(dst, v.bundle.Name)
		dst = append(dst, `,"path":"`+bundleFile+`"}}]`...)
	} else {
		dst = append(dst, `{"configMap":{"name":`...)
		dst = v.appendBundle(appendQuoted(dst, v.bundle.Name))
		dst = append(dst, `}}]`...)
	}
	return v.appendMode(dst)
}

// appendKeyPair and appendBundle name each file, so that nothing else that the object
// holds (a ca.crt gone stale, another format) appears in the folder.
func (v *volume) appendKeyPair(dst []byte) []byte {
	return append(dst, `,"items":[{"key":"`+certificateFile+`","path":"`+certificateFile+
		`"},{"key":"`+keyFile+`","path":"`+keyFile+`"}]`...)
}

func (v *volume) appendBundle(dst []byte) []byte {
	dst = appendQuoted(append(dst, `,"items":[{"key":`...), v.bundle.Key)
	return append(dst, `,"path":"`+bundleFile+`"}]`...)
}

func (v *volume) appendMode(dst []byte) []byte {
	dst = strconv.AppendInt(append(dst, `,"defaultMode":`...), int64(v.mode), 10)
	return append(dst, '}')
}

// is reports whether the pod's volume is the one that is wanted. Nothing that we leave
// out is ever filled in by the API server, so a field more is a difference: one more CSI
// attribute is one more claim.
func (v *volume) is(have *intent.Volume) bool {
	switch {
	case have.CSI != nil:
		return v.isCSI(have.CSI)
	case have.Secret != nil:
		s := have.Secret
		return v.secret != "" && !v.isProjected() && s.SecretName == v.secret && v.isMode(s.DefaultMode, s.Optional) && isKeyPair(s.Items)
	case have.ConfigMap != nil:
		c := have.ConfigMap
		return v.attributes == nil && v.secret == "" && !v.isProjected() && v.isMode(c.DefaultMode, c.Optional) && v.isConfigMap(c.Name, c.Items)
	case have.Projected != nil:
		return v.isProjected() && v.isMode(have.Projected.DefaultMode, nil) && v.isSources(have.Projected.Sources)
	default:
		return false
	}
}

func (v *volume) isCSI(have *corev1.CSIVolumeSource) bool {
	if v.attributes == nil || have.Driver != csiDriver || have.ReadOnly == nil || !*have.ReadOnly ||
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

// isSources compares the bundle with the last source, and the key pair with the one
// before it.
func (v *volume) isSources(have []corev1.VolumeProjection) bool {
	if v.secret != "" {
		if len(have) == 0 || have[0].Secret == nil {
			return false
		}
		s := have[0].Secret
		if s.Name != v.secret || isTrue(s.Optional) || !isKeyPair(s.Items) {
			return false
		}
		have = have[1:]
	}
	if len(have) != 1 {
		return false
	}
	if v.bundle.Kind == intent.BundleClusterTrustBundle {
		b := have[0].ClusterTrustBundle
		return b != nil && b.Name != nil && *b.Name == v.bundle.Name && b.Path == bundleFile &&
			b.SignerName == nil && b.LabelSelector == nil && !isTrue(b.Optional)
	}
	c := have[0].ConfigMap
	return c != nil && !isTrue(c.Optional) && v.isConfigMap(c.Name, c.Items)
}

func (v *volume) isConfigMap(name string, items []corev1.KeyToPath) bool {
	return name == v.bundle.Name && len(items) == 1 && isItem(&items[0], v.bundle.Key, bundleFile)
}

func (v *volume) isMode(mode *int32, optional *bool) bool {
	return mode != nil && *mode == v.mode && !isTrue(optional)
}

func isKeyPair(items []corev1.KeyToPath) bool {
	return len(items) == 2 && isItem(&items[0], certificateFile, certificateFile) && isItem(&items[1], keyFile, keyFile)
}

func isItem(item *corev1.KeyToPath, key, path string) bool {
	return item.Key == key && item.Path == path && item.Mode == nil
}

func isTrue(b *bool) bool { return b != nil && *b }
