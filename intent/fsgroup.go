package intent

import (
	"slices"
	"strconv"
)

// fsGroup returns the group that the CSI driver must be told: the annotation's, else
// none when the pod has its own fsGroup (which the driver takes by itself), else the
// group that all selected containers run with.
func (r *resolution) fsGroup(selection *Selection) *int64 {
	group := r.settings.fsGroup
	switch pod := r.pod.Spec.SecurityContext; {
	case r.settings.delivery == DeliverySecret:
		r.why.fsGroup = reasonSecret
		if group != 0 {
			r.warn(Prefix + keyFSGroup + " has no effect with delivery: secret, for Secret volumes follow the pod's securityContext.fsGroup")
		}
		return nil
	case group != 0:
		return new(group)
	case pod != nil && pod.FSGroup != nil:
		r.why.fsGroup = reasonFSGroup
		return nil
	}
	r.why.fsGroup = reasonRunAsGroup
	return r.runAsGroup(selection)
}

// runAsGroup returns the group that the selected containers share, and warns where it
// cannot be known who will be able to read the key.
func (r *resolution) runAsGroup(selection *Selection) *int64 {
	var groups []int64
	for _, list := range [][]Container{r.pod.Spec.InitContainers, r.pod.Spec.Containers} {
		for i := range list {
			if list[i].IsAgent() || !selection.Includes(list[i].Name) || runsAsRoot(r.pod.Spec.SecurityContext, list[i].SecurityContext) {
				continue
			}
			id := groupOf(r.pod.Spec.SecurityContext, list[i].SecurityContext)
			if id == nil {
				r.warn("container " + quote(list[i].Name) + " runs as a non-root user without a known group and may not be able to read its key: " +
					"set its runAsGroup or the pod's securityContext.fsGroup")
			} else if !slices.Contains(groups, *id) {
				groups = append(groups, *id)
			}
		}
	}
	switch {
	case len(groups) > 1:
		r.warn("the containers run with " + strconv.Itoa(len(groups)) + " different groups, so not all can read the key: " +
			"set the pod's securityContext.fsGroup")
		return nil
	case len(groups) == 0 || groups[0] == 0: // the driver's files belong to group 0 anyway
		return nil
	}
	return &groups[0]
}

// runsAsRoot reports whether the container owns the driver's files, as far as the
// specification says: another user may stand in the image.
func runsAsRoot(pod *PodSecurityContext, container *SecurityContext) bool {
	pod, container = orEmpty(pod), orEmpty(container)
	user := firstNonNil(container.RunAsUser, pod.RunAsUser)
	if user != nil {
		return *user == 0
	}
	nonRoot := firstNonNil(container.RunAsNonRoot, pod.RunAsNonRoot)
	return (nonRoot == nil || !*nonRoot) && groupOf(pod, container) == nil
}

// groupOf returns the group that a container runs with, or nil where only the image's
// /etc/passwd may know.
func groupOf(pod *PodSecurityContext, container *SecurityContext) *int64 {
	return firstNonNil(orEmpty(container).RunAsGroup, orEmpty(pod).RunAsGroup)
}

func orEmpty[T any](context *T) *T {
	if context == nil {
		return new(T)
	}
	return context
}

func firstNonNil[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}
