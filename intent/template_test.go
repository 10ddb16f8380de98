package intent_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"example.io/mtls-injector/intent"
)

// TestPodOfATemplate: the names that controllers make up are only stand-ins, the form is
// theirs, and the workload can be told from it.
func TestPodOfATemplate(t *testing.T) {
	owned := func(apiVersion, kind, name string, labels map[string]string) intent.PodMetadata {
		return intent.PodMetadata{
			GenerateName: name + "-", Labels: labels, Annotations: map[string]string{"a": "1"},
			OwnerReferences: []intent.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: name, Controller: true}},
		}
	}
	for name, c := range map[string]struct {
		workload intent.Workload
		want     intent.PodMetadata
	}{
		"Deployment":  {intent.Workload{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}, owned("apps/v1", "ReplicaSet", "web-5d9c7f8b6d", map[string]string{"app": "x", "pod-template-hash": "5d9c7f8b6d"})},
		"Rollout":     {intent.Workload{APIVersion: "argoproj.io/v1alpha1", Kind: "Rollout", Name: "web"}, owned("apps/v1", "ReplicaSet", "web-5d9c7f8b6d", map[string]string{"app": "x", "rollouts-pod-template-hash": "5d9c7f8b6d"})},
		"StatefulSet": {intent.Workload{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "db"}, owned("apps/v1", "StatefulSet", "db", map[string]string{"app": "x"})},
		"CronJob":     {intent.Workload{APIVersion: "batch/v1", Kind: "CronJob", Name: "night"}, owned("batch/v1", "Job", "night-29000000", map[string]string{"app": "x"})},
		"Job":         {intent.Workload{APIVersion: "batch/v1", Kind: "Job", Name: "load"}, owned("batch/v1", "Job", "load", map[string]string{"app": "x", "job-name": "load", "batch.kubernetes.io/job-name": "load"})},
		"custom":      {intent.Workload{APIVersion: "x.io/v1", Kind: "Fleet", Name: "ships"}, owned("x.io/v1", "Fleet", "ships", map[string]string{"app": "x"})},
		"a Deployment that is none": {
			intent.Workload{APIVersion: "x.io/v1", Kind: "Deployment", Name: "web"}, owned("x.io/v1", "Deployment", "web", map[string]string{"app": "x"}),
		},
	} {
		if c.workload.Kind == "StatefulSet" {
			c.want.Name = "db-0"
		}
		t.Run(name, func(t *testing.T) {
			template := &intent.Pod{
				Metadata: intent.PodMetadata{Name: "ignored", Labels: map[string]string{"app": "x"}, Annotations: map[string]string{"a": "1"}},
				Spec:     intent.PodSpec{ServiceAccountName: "robot"},
			}
			pod := c.workload.PodOf(template)
			assert.Equal(t, &intent.Pod{Metadata: c.want, Spec: intent.PodSpec{ServiceAccountName: "robot"}}, pod)
			assert.Equal(t, map[string]string{"app": "x"}, template.Metadata.Labels, "the template stays as it is")
			assert.Equal(t, c.workload, intent.WorkloadOf(pod))
		})
	}
}

func TestPodOfATemplateWithoutLabels(t *testing.T) {
	assert.NotEmpty(t, intent.Workload{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}.PodOf(&intent.Pod{}).Metadata.Labels["pod-template-hash"])
	assert.Nil(t, intent.Workload{APIVersion: "apps/v1", Kind: "DaemonSet", Name: "web"}.PodOf(&intent.Pod{}).Metadata.Labels)
}
