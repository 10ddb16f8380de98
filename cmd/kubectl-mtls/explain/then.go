package explain

import (
	"encoding/json"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"example.io/mtls-injector/cmd/kubectl-mtls/manifest"
	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

// statusOf reads what a pod says that it got. What is not the injector's says nothing.
func statusOf(pod *intent.Pod) (status injector.Status) {
	if err := json.Unmarshal([]byte(pod.Metadata.Annotations[intent.AnnotationStatus]), &status); err != nil {
		return injector.Status{}
	}
	return status
}

// foundIn tells what the pod's own spec has of an injection.
func foundIn(pod *intent.Pod) []string {
	var found []string
	for i := range pod.Spec.Volumes {
		if v := &pod.Spec.Volumes[i]; isOurs(v.Name) {
			found = append(found, "volume "+v.Name+": "+sourceOf(v))
		}
	}
	for _, list := range [][]intent.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if mounts := mountsOf(&list[i]); mounts != "" {
				found = append(found, "container "+list[i].Name+": "+mounts)
			}
		}
	}
	return found
}

func isOurs(volume string) bool {
	return volume == intent.CertificateVolume || volume == intent.BundleVolume
}

func mountsOf(c *intent.Container) string {
	var mounts []string
	for i := range c.VolumeMounts {
		if m := &c.VolumeMounts[i]; isOurs(m.Name) {
			mounts = append(mounts, m.MountPath)
		}
	}
	return strings.Join(mounts, ", ")
}

func sourceOf(v *intent.Volume) string {
	switch {
	case v.CSI != nil:
		return "CSI driver " + v.CSI.Driver + ", issuer " + v.CSI.VolumeAttributes[intent.CSIDriver+"/issuer-name"]
	case v.Secret != nil:
		return "Secret " + v.Secret.SecretName
	case v.ConfigMap != nil:
		return "ConfigMap " + v.ConfigMap.Name
	case v.Projected != nil:
		return "projected"
	default:
		return "of another kind"
	}
}

// comparableText returns a pod's or template's text in an order of its own: the places of things
// in their lists, which others move, are no difference; nor is the status annotation, for what
// it says is told besides.
func comparableText(o *manifest.Object, path []string) (string, error) {
	raw, err := o.JSON(path...)
	if err != nil {
		return "", err
	}
	var tree any
	if err := json.Unmarshal(raw, &tree); err != nil {
		return "", err
	}
	text, err := yaml.Marshal(ordered(tree, ""))
	return string(text), err
}

// ordered sorts those lists whose order means nothing here: a variable that refers to another
// one is rare, and the injector's come first.
func ordered(tree any, field string) any {
	switch v := tree.(type) {
	case map[string]any:
		delete(v, intent.AnnotationStatus)
		for key, member := range v {
			v[key] = ordered(member, key)
		}
	case []any:
		for i := range v {
			v[i] = ordered(v[i], "")
		}
		if key := sortKey(field); key != "" {
			slices.SortStableFunc(v, func(a, b any) int { return strings.Compare(text(a, key), text(b, key)) })
		}
	}
	return tree
}

func sortKey(field string) string {
	switch field {
	case "volumes", "env":
		return "name"
	case "volumeMounts":
		return "mountPath"
	}
	return ""
}

func text(item any, key string) string {
	fields, _ := item.(map[string]any)
	value, _ := fields[key].(string)
	return value
}
