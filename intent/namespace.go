package intent

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// CheckNamespace returns the problems that a Namespace's annotations will cause to its
// pods, with paths that begin at "metadata". What hangs together is checked only where the
// Namespace says all of it: pods may say the rest.
func CheckNamespace(defaults *Defaults, ns *Namespace) field.ErrorList {
	if !Concerns(ns.Annotations) {
		return nil
	}
	pod := Pod{Metadata: PodMetadata{Name: "any", Namespace: ns.Name}}
	if role, ok := ns.Annotations[Prefix+keyRole]; !ok || role == string(RoleNone) {
		// What the other annotations say is for the pods that have a role of their own.
		pod.Metadata.Annotations = map[string]string{Prefix + keyRole: string(RoleBoth)}
	}
	const above = "namespace."
	var errs field.ErrorList
	for _, err := range Resolve(defaults, ns, &pod, nil).Errors {
		var ours bool
		if err.Field, ours = strings.CutPrefix(err.Field, above); ours && !isForPods(ns, err.Field) {
			errs = append(errs, err)
		}
	}
	return errs
}

// isForPods reports whether a problem is one of keys together of which the Namespace sets
// some only.
func isForPods(ns *Namespace, at string) bool {
	for _, together := range []struct {
		key  string
		with []string
	}{
		{keyIssuer, nil},
		{keyIssuerKind, []string{keyIssuer}}, {keyIssuerGroup, []string{keyIssuer}},
		{keyKeyAlgorithm, []string{keyKeySize}}, {keyKeySize, []string{keyKeyAlgorithm}},
		{keyRenewBefore, []string{keyDuration}},
		{keyCompanion, []string{keyReload, keyDelivery}},
		{keyContainers, []string{keyExcludeContainers}},
	} {
		value, set := ns.Annotations[Prefix+together.key]
		if !set || at != annotationsPath(false).Key(Prefix+together.key).String() || Check(together.key, value) != nil {
			continue
		}
		isSet := func(key string) bool { _, set := ns.Annotations[Prefix+key]; return set }
		return len(together.with) > 0 && !slices.ContainsFunc(together.with, isSet)
	}
	return false
}
