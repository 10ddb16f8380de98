package intent_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/validation"

	"example.io/mtls-injector/intent"
)

// ownedBy returns a pod with one controlling owner.
func ownedBy(apiVersion, kind, name string, labels ...string) *intent.Pod {
	pod := &intent.Pod{Metadata: intent.PodMetadata{
		GenerateName:    name + "-",
		Labels:          map[string]string{},
		OwnerReferences: []intent.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: name, UID: "u", Controller: true}},
	}}
	for i := 0; i < len(labels); i += 2 {
		pod.Metadata.Labels[labels[i]] = labels[i+1]
	}
	return pod
}

func TestWorkloadOf(t *testing.T) {
	const hash, argoHash = "pod-template-hash", "rollouts-pod-template-hash"
	for name, c := range map[string]struct {
		pod  *intent.Pod
		want intent.Workload
	}{
		"Deployment":                    {ownedBy("apps/v1", "ReplicaSet", "web-5d89", hash, "5d89"), intent.Workload{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}},
		"Deployment with dots":          {ownedBy("apps/v1", "ReplicaSet", "web.v2-5d89", hash, "5d89"), intent.Workload{APIVersion: "apps/v1", Kind: "Deployment", Name: "web.v2"}},
		"Rollout":                       {ownedBy("apps/v1", "ReplicaSet", "web-77aa", argoHash, "77aa"), intent.Workload{APIVersion: "argoproj.io/v1alpha1", Kind: "Rollout", Name: "web"}},
		"Rollout with a stray hash":     {ownedBy("apps/v1", "ReplicaSet", "web-77aa", argoHash, "77aa", hash, "5d89"), intent.Workload{APIVersion: "argoproj.io/v1alpha1", Kind: "Rollout", Name: "web"}},
		"ReplicaSet of its own":         {ownedBy("apps/v1", "ReplicaSet", "web"), intent.Workload{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web", UID: "u"}},
		"ReplicaSet, foreign hash":      {ownedBy("apps/v1", "ReplicaSet", "web-5d89", hash, "9999"), intent.Workload{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-5d89", UID: "u"}},
		"ReplicaSet, hash inside":       {ownedBy("apps/v1", "ReplicaSet", "web5d89", hash, "5d89"), intent.Workload{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web5d89", UID: "u"}},
		"ReplicaSet, nothing but hash":  {ownedBy("apps/v1", "ReplicaSet", "-5d89", hash, "5d89"), intent.Workload{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "-5d89", UID: "u"}},
		"ReplicaSet of another group":   {ownedBy("example.com/v1", "ReplicaSet", "web-5d89", hash, "5d89"), intent.Workload{APIVersion: "example.com/v1", Kind: "ReplicaSet", Name: "web-5d89", UID: "u"}},
		"StatefulSet":                   {ownedBy("apps/v1", "StatefulSet", "db"), intent.Workload{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "db", UID: "u"}},
		"StatefulSet that ends in hash": {ownedBy("apps/v1", "StatefulSet", "db-5d89", hash, "5d89"), intent.Workload{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "db-5d89", UID: "u"}},
		"DaemonSet":                     {ownedBy("apps/v1", "DaemonSet", "agent"), intent.Workload{APIVersion: "apps/v1", Kind: "DaemonSet", Name: "agent", UID: "u"}},
		"ReplicationController":         {ownedBy("v1", "ReplicationController", "old"), intent.Workload{APIVersion: "v1", Kind: "ReplicationController", Name: "old", UID: "u"}},
		"CronJob":                       {ownedBy("batch/v1", "Job", "report-29391840"), intent.Workload{APIVersion: "batch/v1", Kind: "CronJob", Name: "report"}},
		"CronJob with dashes":           {ownedBy("batch/v1", "Job", "a-b-29391840"), intent.Workload{APIVersion: "batch/v1", Kind: "CronJob", Name: "a-b"}},
		"Job":                           {ownedBy("batch/v1", "Job", "migrate"), intent.Workload{APIVersion: "batch/v1", Kind: "Job", Name: "migrate", UID: "u"}},
		"Job, date":                     {ownedBy("batch/v1", "Job", "migrate-20261121"), intent.Workload{APIVersion: "batch/v1", Kind: "Job", Name: "migrate-20261121", UID: "u"}},
		"Job, seconds since 1970":       {ownedBy("batch/v1", "Job", "migrate-1795291200"), intent.Workload{APIVersion: "batch/v1", Kind: "Job", Name: "migrate-1795291200", UID: "u"}},
		"Job, minute of the day":        {ownedBy("batch/v1", "Job", "migrate-202611211435"), intent.Workload{APIVersion: "batch/v1", Kind: "Job", Name: "migrate-202611211435", UID: "u"}},
		"Job, number":                   {ownedBy("batch/v1", "Job", "migrate-7"), intent.Workload{APIVersion: "batch/v1", Kind: "Job", Name: "migrate-7", UID: "u"}},
		"Job, leading zero":             {ownedBy("batch/v1", "Job", "migrate-09391840"), intent.Workload{APIVersion: "batch/v1", Kind: "Job", Name: "migrate-09391840", UID: "u"}},
		"Job, signed number":            {ownedBy("batch/v1", "Job", "migrate-+9391840"), intent.Workload{APIVersion: "batch/v1", Kind: "Job", Name: "migrate-+9391840", UID: "u"}},
		"Job, nothing but a number":     {ownedBy("batch/v1", "Job", "-29391840"), intent.Workload{APIVersion: "batch/v1", Kind: "Job", Name: "-29391840", UID: "u"}},
		"Job, trailing dash":            {ownedBy("batch/v1", "Job", "migrate-"), intent.Workload{APIVersion: "batch/v1", Kind: "Job", Name: "migrate-", UID: "u"}},
		"Volcano's Job":                 {ownedBy("batch.volcano.sh/v1alpha1", "Job", "train-29391840"), intent.Workload{APIVersion: "batch.volcano.sh/v1alpha1", Kind: "Job", Name: "train-29391840", UID: "u"}},
		"CRD":                           {ownedBy("postgresql.cnpg.io/v1", "Cluster", "pg"), intent.Workload{APIVersion: "postgresql.cnpg.io/v1", Kind: "Cluster", Name: "pg", UID: "u"}},
		"bare pod":                      {&intent.Pod{Metadata: intent.PodMetadata{Name: "solo", UID: "p"}}, intent.Workload{APIVersion: "v1", Kind: "Pod", Name: "solo", UID: "p"}},
		"bare pod, generateName":        {&intent.Pod{Metadata: intent.PodMetadata{GenerateName: "solo-"}}, intent.Workload{APIVersion: "v1", Kind: "Pod", Name: "solo"}},
		"the same after admission":      {&intent.Pod{Metadata: intent.PodMetadata{GenerateName: "solo-", Name: "solo-x7k2p", UID: "p"}}, intent.Workload{APIVersion: "v1", Kind: "Pod", Name: "solo", UID: "p"}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, c.want, intent.WorkloadOf(c.pod))
		})
	}
}

func TestRestartable(t *testing.T) {
	for w, want := range map[intent.Workload]bool{
		{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}:                 true,
		{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "web", UID: "u"}:      true,
		{APIVersion: "apps/v1", Kind: "DaemonSet", Name: "web"}:                  true,
		{APIVersion: "apps/v1beta1", Kind: "DaemonSet", Name: "web"}:             true,
		{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web"}:                 false,
		{APIVersion: "v1", Kind: "ReplicationController", Name: "web"}:           false,
		{APIVersion: "v1", Kind: "Pod", Name: "web"}:                             false,
		{APIVersion: "batch/v1", Kind: "Job", Name: "web"}:                       false,
		{APIVersion: "batch/v1", Kind: "CronJob", Name: "web"}:                   false,
		{APIVersion: "argoproj.io/v1alpha1", Kind: "Rollout", Name: "web"}:       false,
		{APIVersion: "apps.kruise.io/v1beta1", Kind: "StatefulSet", Name: "web"}: false,
		{APIVersion: "v1", Kind: "Deployment", Name: "web"}:                      false,
		{APIVersion: "a/b/c", Kind: "Deployment", Name: "web"}:                   false,
		{}: false,
	} {
		assert.Equal(t, want, w.Restartable(), "%+v", w)
	}
}

func TestOnlyTheControllerIsTheOwner(t *testing.T) {
	pod := ownedBy("apps/v1", "StatefulSet", "db")
	pod.Metadata.OwnerReferences = append([]intent.OwnerReference{
		{APIVersion: "v1", Kind: "ConfigMap", Name: "cleaner", UID: "c"},
	}, pod.Metadata.OwnerReferences...)
	assert.Equal(t, "StatefulSet/db", intent.WorkloadOf(pod).String())

	pod.Metadata.OwnerReferences[1].Controller = false
	assert.Equal(t, "Pod/db", intent.WorkloadOf(pod).String())
}

func TestCompanionName(t *testing.T) {
	long := strings.Repeat("a", 253)
	for name, c := range map[string]struct {
		apiVersion, kind, workload, want string
	}{
		"Deployment":               {"apps/v1", "Deployment", "web", "web-mtls"},
		"ReplicaSet":               {"apps/v1", "ReplicaSet", "web", "web-mtls-replicaset"},
		"StatefulSet":              {"apps/v1", "StatefulSet", "web", "web-mtls-statefulset"},
		"DaemonSet":                {"apps/v1", "DaemonSet", "web", "web-mtls-daemonset"},
		"Job":                      {"batch/v1", "Job", "web", "web-mtls-job"},
		"CronJob":                  {"batch/v1", "CronJob", "web", "web-mtls-cronjob"},
		"Pod":                      {"v1", "Pod", "web", "web-mtls-pod"},
		"ReplicationController":    {"v1", "ReplicationController", "web", "web-mtls-replicationcontroller"},
		"Rollout":                  {"argoproj.io/v1alpha1", "Rollout", "web", "web-mtls-rollout-3a40451a"},
		"version makes no other":   {"argoproj.io/v1", "Rollout", "web", "web-mtls-rollout-3a40451a"},
		"group does":               {"example.com/v1", "Rollout", "web", "web-mtls-rollout-0cadb1b3"},
		"Deployment of a CRD":      {"example.com/v1", "Deployment", "web", "web-mtls-deployment-e76dd67e"},
		"Job of a CRD":             {"batch.volcano.sh/v1alpha1", "Job", "web", "web-mtls-job-87ce103b"},
		"Pod of a CRD":             {"example.com/v1", "Pod", "web", "web-mtls-pod-bf16adc6"},
		"longest whole":            {"apps/v1", "Deployment", long[:248], long[:248] + "-mtls"},
		"first shortened":          {"apps/v1", "Deployment", long[:249], long[:239] + "-d2cdb8b7-mtls"},
		"shortened at a dash":      {"apps/v1", "Deployment", long[:238] + "-" + long[:14], long[:238] + "-c1908ca2-mtls"},
		"kind that cannot be":      {"example.com/v1", "No_Kind", "web", "web-mtls-1e8d438f"},
		"endless kind":             {"example.com/v1", strings.Repeat("K", 4096), "web", "web-mtls-1fcfc4e2"},
		"name that cannot be":      {"apps/v1", "StatefulSet", "We,b$", "workload-f45ea4dc-mtls-statefulset"},
		"endless name":             {"apps/v1", "StatefulSet", strings.Repeat("web.", 1024), strings.Repeat("web.", 56) + "web-005a6897-mtls-statefulset"},
		"no name":                  {"apps/v1", "StatefulSet", "", "workload-e3b0c442-mtls-statefulset"},
		"apiVersion of many parts": {"a/b/c", "StatefulSet", "web", "web-mtls-statefulset-a1ddd2fd"},
	} {
		t.Run(name, func(t *testing.T) {
			got := intent.CompanionName(intent.Workload{APIVersion: c.apiVersion, Kind: c.kind, Name: c.workload})
			assert.Equal(t, c.want, got)
			assert.Empty(t, validation.IsDNS1123Subdomain(got))
		})
	}
}

// TestCompanionNamesAreUnique draws workloads whose names look like other workloads'
// companions: no two of different group, kind or name may share one.
func TestCompanionNamesAreUnique(t *testing.T) {
	kinds := []intent.Workload{
		{APIVersion: "apps/v1", Kind: "Deployment"}, {APIVersion: "apps/v1", Kind: "StatefulSet"}, {APIVersion: "apps/v1", Kind: "DaemonSet"},
		{APIVersion: "apps/v1", Kind: "ReplicaSet"}, {APIVersion: "batch/v1", Kind: "Job"}, {APIVersion: "batch/v1", Kind: "CronJob"},
		{APIVersion: "v1", Kind: "Pod"}, {APIVersion: "v1", Kind: "ReplicationController"},
		{APIVersion: "argoproj.io/v1alpha1", Kind: "Rollout"}, {APIVersion: "example.com/v1", Kind: "Deployment"},
		{APIVersion: "example.com/v1", Kind: "StatefulSet"}, {APIVersion: "example.org/v1", Kind: "StatefulSet"},
	}
	parts := []string{"a", "b", "web", "-mtls", "-mtls-pod", "-mtls-statefulset", "-statefulset", ".x", "-0", strings.Repeat("l", 60), strings.Repeat("m", 120)}
	random := rand.New(rand.NewPCG(1, 2))
	owner := map[string]intent.Workload{}
	for range 100_000 {
		w := kinds[random.IntN(len(kinds))]
		w.Name = "w"
		for range random.IntN(6) {
			w.Name += parts[random.IntN(len(parts))]
		}
		if len(w.Name) > validation.DNS1123SubdomainMaxLength {
			continue
		}
		companion := intent.CompanionName(w)
		if other, taken := owner[companion]; taken && other != w {
			t.Fatalf("%v and %v share %s", w, other, companion)
		}
		owner[companion] = w
		require.Empty(t, validation.IsDNS1123Subdomain(companion), "%v", w)
	}
	require.Greater(t, len(owner), 10_000, "the draw was varied")
}

// TestCompanionNameIsKnownAtAdmission: the pod's own name, UID and the owner's UID come
// later and must not matter.
func TestCompanionNameIsKnownAtAdmission(t *testing.T) {
	before := newPod("role", "server")
	after := newPod("role", "server")
	after.Metadata.Name, after.Metadata.UID = "web-5d89f7c6b4-x7k2p", "pod-uid"
	for _, pod := range []*intent.Pod{before, after} {
		in := mustIntent(t, intent.Resolve(intent.BuiltinDefaults(), newNamespace(), pod, nil))
		assert.Equal(t, "web-mtls", in.CompanionName)
		assert.Equal(t, "Deployment/web", fmt.Sprint(in.Workload))
	}
}
