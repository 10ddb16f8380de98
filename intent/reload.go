package intent

import (
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// What happens once a certificate has been renewed.

// checkRestart refuses a restart that nothing could ever set off, and warns where
// nobody can restart the workload.
func (r *resolution) checkRestart(workload Workload) {
	if r.settings.reload != ReloadRestart {
		return
	}
	if !r.settings.companion && r.sound(keyReload, keyCompanion) {
		r.refuse(r.firstSet(keyCompanion, keyReload), "reload: restart needs the companion Certificate, "+
			"whose renewal restarts the workload: set companion: true or reload: none")
	}
	switch {
	case workload.Restartable():
	case !workload.Ends():
		r.warn(Prefix + keyReload + ": restart does not restart " + quote(workload.String()) +
			", which is no Deployment, StatefulSet or DaemonSet: it gets an Event RestartNeeded instead")
	default:
		// What a namespace says is meant for its other workloads.
		if set, byNamespace := r.isSet(keyReload); set && !byNamespace {
			r.warn(Prefix + keyReload + ": restart does not restart " + quote(workload.String()) +
				", which is to end by itself: its certificate must outlast it")
		}
	}
}

// Restartable reports whether the workload is one that [ReloadRestart] restarts: a
// Deployment, StatefulSet or DaemonSet of Kubernetes' own.
func (w Workload) Restartable() bool {
	switch kind := w.groupKind(); kind.Kind {
	case "Deployment", "StatefulSet", "DaemonSet":
		return kind.Group == appsv1.GroupName
	}
	return false
}

// Ends reports whether the workload's pods are to end by themselves.
func (w Workload) Ends() bool {
	switch kind := w.groupKind(); kind.Kind {
	case "Job", "CronJob":
		return kind.Group == batchv1.GroupName
	}
	return false
}

func (w Workload) groupKind() schema.GroupKind {
	return schema.FromAPIVersionAndKind(w.APIVersion, w.Kind).GroupKind()
}
