package survey

import (
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/intent"
)

// kind is a built-in kind of workload.
type kind struct {
	apiVersion, kind string
	list             func() client.ObjectList
}

// kinds are those whose templates are read. ReplicaSets are left out, which hardly anybody
// makes by hand: their pods speak for them.
var kinds = [...]kind{
	{"apps/v1", "Deployment", func() client.ObjectList { return &appsv1.DeploymentList{} }},
	{"apps/v1", "StatefulSet", func() client.ObjectList { return &appsv1.StatefulSetList{} }},
	{"apps/v1", "DaemonSet", func() client.ObjectList { return &appsv1.DaemonSetList{} }},
	{"batch/v1", "CronJob", func() client.ObjectList { return &batchv1.CronJobList{} }},
	{"batch/v1", "Job", func() client.ObjectList { return &batchv1.JobList{} }},
}

// described is what an object of one of the kinds says of its pods.
type described struct {
	template *corev1.PodTemplateSpec
	// byHand says that its pods are replaced by hand only.
	byHand bool
}

// describe returns what the object says; nil if it makes no pods of its own any more.
func describe(object client.Object) *described {
	switch o := object.(type) {
	case *appsv1.Deployment:
		return &described{template: &o.Spec.Template}
	case *appsv1.StatefulSet:
		return &described{&o.Spec.Template, o.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType}
	case *appsv1.DaemonSet:
		return &described{&o.Spec.Template, o.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType}
	case *batchv1.CronJob:
		return &described{&o.Spec.JobTemplate.Spec.Template, true}
	case *batchv1.Job:
		if metav1.GetControllerOfNoCopy(o) != nil || hasFinished(o) {
			return nil
		}
		return &described{&o.Spec.Template, true}
	}
	return nil
}

func hasFinished(job *batchv1.Job) bool {
	for _, c := range job.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}

func podOf(template *corev1.PodTemplateSpec) *intent.Pod {
	return intent.PodOf(&corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec})
}
