package e2e

// Attacks on who a pod's workload is: by its name, and by its owner references.

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	podHash     = appsv1.DefaultDeploymentUniqueLabelKey
	rolloutHash = "rollouts-pod-template-hash"
)

func workloadAttacks() []attack {
	generated := func(prefix string) func(*corev1.Pod) {
		return func(pod *corev1.Pod) {
			bare("")(pod)
			pod.GenerateName = prefix
		}
	}
	isDeployment := notOf("Pod/worker is the name of Deployment worker")
	return []attack{
		{"a pod named like a neighbour", tryAll(map[string]attempt{
			"its Service":            {change: bare("payments"), services: []string{}},
			"its Service, generated": {change: generated("payments-"), services: []string{}},
			"another namespace's":    {change: bare("vault.{other}.svc"), services: []string{}},
			"a workload":             {change: bare("worker"), field: "metadata.name", shown: "worker", why: isDeployment},
			"a workload, generated":  {change: generated("worker-"), field: "metadata.generateName", shown: "worker-", why: isDeployment},
			"a workload, as a client": {key: "dns-names", value: "worker.{ns}.svc", and: map[string]string{"role": "client"},
				change: bare("worker"), field: "metadata.name", shown: "worker", why: isDeployment},
			"a workload, dns-names": {key: "dns-names", value: "worker", change: bare("worker"), field: "metadata.name", shown: "worker", why: isDeployment},
			"a workload, volume": {attribute: "dns-names", value: "worker", and: map[string]string{"role": "none"},
				change: bare("worker"), field: "metadata.name", shown: "worker", why: isDeployment},
		})},
		{"owner references to another workload", tryOwners},
		{"a neighbour's Secret by a forged owner", trySecrets},
	}
}

// notOf is the refusal of a pod that would have the names of another workload.
func notOf(because string) string { return notItsOwn(because, "create a Service that selects it") }

func notItsOwn(because, remedy string) string {
	return "the pod would get the identity of a workload that it is not of: owner not verified: " + because +
		"; make the pod by its workload, or " + remedy
}

// replicaSet returns the ReplicaSet of a Deployment, and its hash.
func (s *attackScene) replicaSet(t *testing.T, deployment string) (*appsv1.ReplicaSet, string) {
	t.Helper()
	var list appsv1.ReplicaSetList
	require.NoError(t, s.Client.List(t.Context(), &list, client.InNamespace(s.namespace), client.MatchingLabels{"app": deployment}))
	require.Len(t, list.Items, 1)
	return &list.Items[0], list.Items[0].Labels[podHash]
}

// ownedBy makes a controller reference to the object, and gives the pod labels, none of
// which a Service selects.
func ownedBy(apiVersion, kind string, object metav1.Object, labels map[string]string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		pod.Labels = map[string]string{"app": "nobody"}
		maps.Copy(pod.Labels, labels)
		pod.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: apiVersion, Kind: kind, Name: object.GetName(), UID: object.GetUID(), Controller: new(true),
		}}
	}
}

// invented is an object that does not exist.
func invented(name string) metav1.Object {
	return &metav1.ObjectMeta{Name: name, UID: types.UID("6b6c1c2e-0000-4000-8000-000000000000")}
}

func tryOwners(t *testing.T, s *attackScene) {
	t.Helper()
	tryAll(s.forgedOwners(t))(t, s)
}

func trySecrets(t *testing.T, s *attackScene) {
	t.Helper()
	tryAll(s.forgedForSecrets(t))(t, s)
}

// forgedOwners are pods that say they are of a workload which they are not of. The names of
// "worker", which no Service has, would be theirs by that.
func (s *attackScene) forgedOwners(t *testing.T) map[string]attempt {
	t.Helper()
	var worker appsv1.Deployment
	s.read("worker", &worker)
	var db appsv1.StatefulSet
	s.read("db", &db)
	set, hash := s.replicaSet(t, "worker")
	behind, behindHash := s.replicaSet(t, "payments")
	batch, batchHash := s.replicaSet(t, "worker-batch")
	hashed := func(hash string) map[string]string { return map[string]string{podHash: hash} }
	another, others := " is another one than the pod's", " does not select the pod"
	attempts := map[string]attempt{}
	for name, tc := range map[string]struct {
		change  func(*corev1.Pod)
		because string // empty where the name is not the workload's, but its Service's
	}{
		"a ReplicaSet, its UID invented":       {ownedBy("apps/v1", "ReplicaSet", invented(set.Name), hashed(hash)), "ReplicaSet " + set.Name + another},
		"a ReplicaSet, all invented":           {ownedBy("apps/v1", "ReplicaSet", invented("worker-1"), hashed("1")), "there is no ReplicaSet worker-1"},
		"a ReplicaSet, its UID copied":         {ownedBy("apps/v1", "ReplicaSet", set, hashed(hash)), "ReplicaSet " + set.Name + others},
		"a ReplicaSet, without its labels":     {ownedBy("apps/v1", "ReplicaSet", set, nil), "ReplicaSet " + set.Name + others},
		"a ReplicaSet, its name cut elsewhere": {ownedBy("apps/v1", "ReplicaSet", batch, hashed("batch-"+batchHash)), "ReplicaSet " + batch.Name + others},
		"a Rollout's ReplicaSet":               {ownedBy("apps/v1", "ReplicaSet", set, map[string]string{rolloutHash: hash}), "ReplicaSet " + set.Name + others},
		"a Deployment, its UID invented":       {ownedBy("apps/v1", "Deployment", invented("worker"), nil), "Deployment worker" + another},
		"a Deployment, its UID copied":         {ownedBy("apps/v1", "Deployment", &worker, nil), "Deployment worker" + others},
		"a Job that looks like a CronJob's":    {ownedBy("batch/v1", "Job", invented("worker-29000000"), nil), "there is no Job worker-29000000"},
		"a kind that does not exist":           {ownedBy("example.io/v1", "Team", invented("worker"), nil), "there is no Team worker"},
		"a kind that nobody can ask":           {ownedBy("cert-manager.io/v1", "Issuer", invented("worker"), nil), "Issuer/worker is the name of Deployment worker"},
		"a pod, all invented":                  {ownedBy("v1", "Pod", invented("worker"), nil), "there is no Pod worker"},
		"a ReplicaSet behind a Service":        {ownedBy("apps/v1", "ReplicaSet", behind, hashed(behindHash)), ""},
		"a StatefulSet behind a Service":       {ownedBy("apps/v1", "StatefulSet", &db, nil), ""},
		"a Deployment behind a Service":        {ownedBy("apps/v1", "Deployment", invented("payments"), nil), ""},
		"a kind without pods":                  {ownedBy("v1", "ConfigMap", invented("kube-root-ca.crt"), nil), ""},
	} {
		attempts[name] = attempt{change: tc.change, services: []string{}, dryRun: true}
		if tc.because != "" {
			pod := &corev1.Pod{}
			tc.change(pod)
			owner := &pod.OwnerReferences[0]
			attempts[name] = attempt{change: tc.change, field: "metadata.ownerReferences", shown: owner.Kind + "/" + owner.Name, why: notOf(tc.because)}
		}
	}
	attempts["a reference that is no controller's"] = attempt{services: []string{}, dryRun: true, change: func(pod *corev1.Pod) {
		ownedBy("apps/v1", "ReplicaSet", set, hashed(hash))(pod)
		pod.OwnerReferences[0].Controller = nil
	}}
	return attempts
}

// forgedForSecrets are pods that would mount a victim's Secret, put there by the injector.
func (s *attackScene) forgedForSecrets(t *testing.T) map[string]attempt {
	t.Helper()
	set, hash := s.replicaSet(t, "payments")
	var db appsv1.StatefulSet
	s.read("db", &db)
	attempts := map[string]attempt{}
	for name, tc := range map[string]struct {
		change         func(*corev1.Pod)
		owner, because string
	}{
		"a Deployment's, invented": {ownedBy("apps/v1", "ReplicaSet", invented("payments-1"), map[string]string{podHash: "1"}), "ReplicaSet/payments-1", "there is no ReplicaSet payments-1"},
		"a Deployment's, copied": {ownedBy("apps/v1", "ReplicaSet", set, map[string]string{podHash: hash}), "ReplicaSet/" + set.Name,
			"ReplicaSet " + set.Name + " does not select the pod"},
		"a StatefulSet's, copied": {ownedBy("apps/v1", "StatefulSet", &db, nil), "StatefulSet/db", "StatefulSet db does not select the pod"},
	} {
		attempts[name] = attempt{
			and: map[string]string{"role": "client", "delivery": "secret"}, change: tc.change,
			field: "metadata.ownerReferences", shown: tc.owner, why: notItsOwn(tc.because, "leave the owner reference out"),
		}
	}
	return attempts
}
