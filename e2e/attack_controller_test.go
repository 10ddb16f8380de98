package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/intent"
)

// TestAttackAtTheController: nothing that somebody with rights on pods alone can write, at
// any time, gives his companion another's name, or changes another's companion.
func TestAttackAtTheController(t *testing.T) { runAttacks(t, controllerAttacks()) }

// controllerAttacks are the rows of the second table in docs/security.md.
func controllerAttacks() []attack {
	return []attack{
		{"annotations changed after creation", changeAnnotations},
		{"labels changed after creation", changeLabels},
		{"owner references changed after creation", changeOwners},
		{"a forged owner, to change a companion", decide((*attackScene).strangers, map[string]string{"role": "client"})},
		{"a forged owner, to remove a companion", decide((*attackScene).strangers, map[string]string{"role": "none"})},
		{"a double of a neighbour's pod, to change its companion", decide((*attackScene).doubles, map[string]string{"role": "client"})},
		{"a double of a neighbour's pod, to remove its companion", decide((*attackScene).doubles, map[string]string{"role": "none"})},
		{"a neighbour's pod changed", changeVictims},
		{"pods made while the namespace is not opted in", optOut},
		{"ephemeral containers", addEphemeral},
		{"pods/status and pods/resize", changeStatus},
		{"a companion's name taken by a Certificate", takeCertificate},
		{"a companion's name taken by a Secret", takeSecret},
	}
}

// after does something that the controller has to look at, and waits until it has: until
// it has dealt with what came later, which is in the queue behind it.
func (s *attackScene) after(do func()) {
	s.Helper()
	do()
	canary := podWith(s.namespace, map[string]string{"role": "client"})
	s.canaries++
	canary.Name = fmt.Sprintf("canary-%d", s.canaries)
	require.NoError(s, s.Client.Create(s.Context(), canary))
	defer s.delete(canary)
	key := client.ObjectKey{Namespace: s.namespace, Name: companionName(canary)}
	require.NoError(s, s.WaitFor(s.Context(), "the controller", func(ctx context.Context) error {
		return s.Client.Get(ctx, key, &cmapi.Certificate{})
	}))
}

func companionName(pod *corev1.Pod) string { return intent.CompanionName(intent.WorkloadOfPod(pod)) }

// merge changes an object by a merge patch.
func merge(t *testing.T, who client.Client, object client.Object, patch string) {
	t.Helper()
	require.NoError(t, who.Patch(t.Context(), object, client.RawPatch("application/merge-patch+json", []byte(patch))))
}

// ownCompanion waits for the companion of the attacker's pod, and returns it.
func (s *attackScene) ownCompanion(t *testing.T, pod *corev1.Pod) *cmapi.Certificate {
	t.Helper()
	cert, err := s.WaitForCertificate(t.Context(), s.namespace, companionName(pod))
	require.NoError(t, err)
	return cert
}

// changeAnnotations gives a pod, once it is there, what admission would have refused.
func changeAnnotations(t *testing.T, s *attackScene) {
	t.Helper()
	pod := s.usualPod(t)
	before := s.ownCompanion(t, pod)
	for key, value := range map[string]string{
		"dns-names": payments, "service": "payments", "common-name": payments, "organizations": "system:masters", "issuer": "public",
		"status":           `{"role":"server","workload":"Deployment/payments","dns":["payments"],"companion":"payments-mtls","issuer":"ClusterIssuer/public"}`,
		"certificate-hash": "0123456789abcdef",
	} {
		t.Run(key, func(t *testing.T) {
			s := s.on(t)
			// The other one has the controller look in any case.
			patch := `{"metadata":{"annotations":{"mtls.example.io/%s":%s,"mtls.example.io/env":%s}}}`
			s.after(func() { merge(t, s.attacker, pod, fmt.Sprintf(patch, key, quoted(s.fill(value)), `"curl"`)) })
			assert.Equal(t, before.Spec, s.ownCompanion(t, pod).Spec)
			s.after(func() { merge(t, s.attacker, pod, fmt.Sprintf(patch, key, "null", "null")) })
		})
	}
	assert.Equal(t, before.Spec, s.ownCompanion(t, pod).Spec)
}

func quoted(text string) string { return fmt.Sprintf("%q", text) }

// changeLabels gives a pod labels that speak of another workload. (Those by which a
// Service selects pods are another matter: docs/security.md, what nobody can prevent.)
func changeLabels(t *testing.T, s *attackScene) {
	t.Helper()
	pod := s.usualPod(t)
	before := s.ownCompanion(t, pod)
	_, hash := s.replicaSet(t, "payments")
	labels := map[string]string{
		podHash: hash, rolloutHash: hash, "apps.kubernetes.io/pod-index": "0", "statefulset.kubernetes.io/pod-name": "db-0",
		"job-name": "worker-29000000", "batch.kubernetes.io/job-name": "worker", intent.LabelInjected: "false",
		intent.Prefix + "workload": "payments", "cert-type": "mtls", "app.kubernetes.io/managed-by": "mtls-injector",
	}
	for key, value := range labels {
		s.after(func() { merge(t, s.attacker, pod, fmt.Sprintf(`{"metadata":{"labels":{%q:%q}}}`, key, value)) })
	}
	s.after(func() {
		merge(t, s.attacker, pod, fmt.Sprintf(`{"metadata":{"labels":{%q:"true"}}}`, intent.LabelInjected))
	})
	assert.Equal(t, before.Spec, s.ownCompanion(t, pod).Spec)
}

// forgers are ways in which a pod can say that a victim is its owner.
type forgers map[string]func(*corev1.Pod)

// strangers says so with invented and with real references, but without the labels by
// which the victim knows its pods.
func (s *attackScene) strangers(t *testing.T) forgers {
	t.Helper()
	var deployment appsv1.Deployment
	s.read("payments", &deployment)
	var db appsv1.StatefulSet
	s.read("db", &db)
	set, hash := s.replicaSet(t, "payments")
	workers, workersHash := s.replicaSet(t, "worker")
	hashed := map[string]string{podHash: hash}
	return forgers{
		"a ReplicaSet, its UID invented":     ownedBy("apps/v1", "ReplicaSet", invented(set.Name), set.Spec.Template.Labels),
		"a ReplicaSet, its UID copied":       ownedBy("apps/v1", "ReplicaSet", set, hashed),
		"a ReplicaSet, without its labels":   ownedBy("apps/v1", "ReplicaSet", set, nil),
		"a workload without a Service":       ownedBy("apps/v1", "ReplicaSet", workers, map[string]string{podHash: workersHash}),
		"a Deployment, its UID invented":     ownedBy("apps/v1", "Deployment", invented("payments"), set.Spec.Template.Labels),
		"a Deployment, its UID copied":       ownedBy("apps/v1", "Deployment", &deployment, nil),
		"a StatefulSet, its UID invented":    ownedBy("apps/v1", "StatefulSet", invented("db"), db.Spec.Template.Labels),
		"a StatefulSet, its UID copied":      ownedBy("apps/v1", "StatefulSet", &db, nil),
		"another kind of Deployment":         ownedBy("example.io/v1", "Deployment", invented("payments"), nil),
		"an owner that is a Service account": ownedBy("v1", "ServiceAccount", invented("payments"), nil),
	}
}

// doubles says so with all that the victim's own pods have, which anybody can read from them.
func (s *attackScene) doubles(t *testing.T) forgers {
	t.Helper()
	var deployment appsv1.Deployment
	s.read("payments", &deployment)
	var db appsv1.StatefulSet
	s.read("db", &db)
	set, _ := s.replicaSet(t, "payments")
	workers, _ := s.replicaSet(t, "worker")
	return forgers{
		"of a ReplicaSet":                ownedBy("apps/v1", "ReplicaSet", set, set.Spec.Template.Labels),
		"of a ReplicaSet, no Service":    ownedBy("apps/v1", "ReplicaSet", workers, workers.Spec.Template.Labels),
		"of a Deployment, without a set": ownedBy("apps/v1", "Deployment", &deployment, deployment.Spec.Template.Labels),
		"of a StatefulSet":               ownedBy("apps/v1", "StatefulSet", &db, db.Spec.Template.Labels),
	}
}

// decide makes pods that would decide about a victim's companion if they were believed.
// They say what the victim's pods never said.
func decide(who func(*attackScene, *testing.T) forgers, annotations map[string]string) func(*testing.T, *attackScene) {
	return func(t *testing.T, s *attackScene) {
		t.Helper()
		for name, forge := range who(s, t) {
			t.Run(name, func(t *testing.T) {
				s := s.on(t)
				pod := s.pod(attempt{and: annotations, change: func(pod *corev1.Pod) {
					forge(pod)
					pod.Name = "zz-mallory" // of two pods of one second the later name decides
					pod.Labels[intent.LabelInjected] = "true"
				}})
				s.after(func() { require.NoError(t, s.attacker.Create(t.Context(), pod)) })
				s.after(func() { s.delete(pod) })
				s.check(t)
				s.recovered(t)
			})
		}
	}
}

// recovered waits until the victims' companions are as they were, so that one attack that
// succeeds does not hide another.
func (s *attackScene) recovered(t *testing.T) {
	t.Helper()
	require.NoError(t, s.WaitFor(t.Context(), "the victims' companions to be as they were", func(ctx context.Context) error {
		now, err := s.theVictims(ctx)
		if err != nil {
			return err
		}
		for name, cert := range now {
			if !assert.ObjectsAreEqual(s.before[name].Spec, cert.Spec) {
				return errors.New(name + " is not")
			}
		}
		s.before = now // perhaps made anew
		return nil
	}))
}

// changeOwners gives a pod an owner once it is there.
func changeOwners(t *testing.T, s *attackScene) {
	t.Helper()
	for name, forge := range s.strangers(t) {
		t.Run(name, func(t *testing.T) {
			s := s.on(t)
			pod := s.pod(attempt{change: func(pod *corev1.Pod) { pod.Name = "zz-mallory" }})
			s.after(func() { require.NoError(t, s.attacker.Create(t.Context(), pod)) })
			t.Cleanup(func() { s.delete(pod) })
			changed := pod.DeepCopy()
			forge(changed)
			s.after(func() { require.NoError(t, s.attacker.Patch(t.Context(), changed, client.MergeFrom(pod))) })
			s.after(func() { s.delete(pod) })
			s.check(t)
			s.recovered(t)
		})
	}
}

// changeVictims changes a victim's own pod, which somebody may who may change pods. It is
// the victim's template that says what the victim wants.
func changeVictims(t *testing.T, s *attackScene) {
	t.Helper()
	for name, patch := range map[string]string{
		"another's name":     `{"metadata":{"annotations":{"mtls.example.io/dns-names":"vault"}}}`,
		"another role":       `{"metadata":{"annotations":{"mtls.example.io/role":"client"}}}`,
		"role none":          `{"metadata":{"annotations":{"mtls.example.io/role":"none"}}}`,
		"no role":            `{"metadata":{"annotations":{"mtls.example.io/role":null}}}`,
		"no companion":       `{"metadata":{"annotations":{"mtls.example.io/companion":"false"}}}`,
		"a short lifetime":   `{"metadata":{"annotations":{"mtls.example.io/duration":"1h"}}}`,
		"no longer injected": `{"metadata":{"labels":{"mtls.example.io/injected":null}}}`,
		"a forged status":    `{"metadata":{"annotations":{"mtls.example.io/status":"{}","mtls.example.io/certificate-hash":"1"}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := s.on(t)
			pods, err := s.WaitForPods(t.Context(), s.namespace, map[string]string{"app": "payments"}, 1)
			require.NoError(t, err)
			pod := &pods[0]
			s.after(func() { merge(t, s.attacker, pod, patch) })
			s.after(func() { s.delete(pod) }) // so that the next one has an unchanged pod again
			s.check(t)
			s.recovered(t)
		})
	}
}
