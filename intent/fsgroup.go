package intent

import "strconv"

// fsGroup returns the group that the CSI driver must be told: the annotation's, else
// none when the pod has its own fsGroup (which the driver takes by itself), else the
// group that all selected containers run with.
func (r *resolution) fsGroup(selection *Selection) *int64 {
	if group := r.settings.fsGroup; group != 0 {
		if r.settings.delivery == DeliverySecret {
			r.warn(Prefix + keyFSGroup + " has no effect with delivery: secret, for Secret volumes follow the pod's securityContext.fsGroup")
		}
		return &group
	}
	if pod := r.pod.Spec.SecurityContext; pod != nil && pod.FSGroup != nil || r.settings.delivery == DeliverySecret {
		return nil
	}
	return r.runAsGroup(selection)
}

// runAsGroup returns the group that the selected containers share, and warns where it
// cannot be known who will be able to read the key.
func (r *resolution) runAsGroup(selection *Selection) *int64 {
	groups := map[int64]bool{}
	for _, list := range [][]Container{r.pod.Spec.InitContainers, r.pod.Spec.Containers} {
		for i := range list {
			if !selection.Includes(list[i].Name) {
				continue
			}
			id, known := groupOf(r.pod.Spec.SecurityContext, list[i].SecurityContext)
			if !known {
				r.warn("container " + quote(list[i].Name) + " runs as a non-root user without a known group and may not be able to read its key: set " +
					Prefix + keyFSGroup + " or the pod's securityContext.fsGroup")
				continue
			}
			if id != 0 { // group 0 owns the files anyway
				groups[id] = true
			}
		}
	}
	switch len(groups) {
	case 0:
		return nil
	case 1:
		for id := range groups {
			return &id
		}
	}
	r.warn("the containers run with " + strconv.Itoa(len(groups)) + " different groups, so not all can read the key: set " +
		Prefix + keyFSGroup + " or the pod's securityContext.fsGroup")
	return nil
}

// groupOf returns the group that a container runs with, as far as the specification
// says. Root has group 0; another user's group may stand in the image's /etc/passwd only.
func groupOf(pod *PodSecurityContext, container *SecurityContext) (group int64, known bool) {
	if pod == nil {
		pod = &PodSecurityContext{}
	}
	if container == nil {
		container = &SecurityContext{}
	}
	if id := firstNonNil(container.RunAsGroup, pod.RunAsGroup); id != nil {
		return *id, true
	}
	user := firstNonNil(container.RunAsUser, pod.RunAsUser)
	nonRoot := firstNonNil(container.RunAsNonRoot, pod.RunAsNonRoot)
	runsAsRoot := user != nil && *user == 0 || user == nil && (nonRoot == nil || !*nonRoot)
	return 0, runsAsRoot
}

func firstNonNil[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}
