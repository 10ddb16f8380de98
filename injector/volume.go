package injector

import (
	"strconv"

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
	dst = append(dst, `{"driver":"`+intent.CSIDriver+`","readOnly":true,"volumeAttributes":{`...)
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
