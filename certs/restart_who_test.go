package certs

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/intent"
)

func requestOf(name string) ctrl.Request {
	return ctrl.Request{NamespacedName: client.ObjectKey{Namespace: namespace, Name: name}}
}

// renewedFor is renewed for another companion than web's.
func renewedFor(t *testing.T, name string, objects ...client.Object) *stage {
	t.Helper()
	s := newStage(t, objects...)
	s.policy(10, 0)
	s.request = requestOf(name)
	s.look(t, created)
	s.issue(t, 2, renewal)
	s.again()
	s.clock = time.Unix(renewal+60, 0)
	s.asked()
	return s
}

// custom is an object of a kind that nobody knows.
func custom(name string) client.Object {
	spark := &unstructured.Unstructured{}
	spark.SetAPIVersion("sparkoperator.k8s.io/v1beta2")
	spark.SetKind("SparkApplication")
	return object(spark, name)
}

func TestRestartByKind(t *testing.T) {
	pod := func(name string, owner metav1.OwnerReference) *corev1.Pod {
		return aged(annotated(name, restarting, owner), renewal-3600)
	}
	hashed := pod("web-9zz-a", controlledBy("apps/v1", "ReplicaSet", "web-9zz"))
	needed := func(of, kind string) []string {
		return []string{of + " Normal RestartNeeded Restart: The certificate has been renewed, and pods that read theirs only once should be made anew: " +
			kind + " cannot be restarted by mtls-injector"}
	}
	for name, test := range map[string]struct {
		companion string
		objects   []client.Object
		restarts  float64
		told      []string
	}{
		"StatefulSet": {"db-mtls-statefulset", []client.Object{
			object(&appsv1.StatefulSet{}, "db"), pod("db-0", controlledBy("apps/v1", "StatefulSet", "db")),
		}, 1, []string{"StatefulSet/db uid-of-db Normal Restarted Restart: Restarting the pods for revision 2 of Certificate db-mtls-statefulset"}},
		"DaemonSet": {"log-mtls-daemonset", []client.Object{
			object(&appsv1.DaemonSet{}, "log"), pod("log-x", controlledBy("apps/v1", "DaemonSet", "log")),
		}, 1, []string{"DaemonSet/log uid-of-log Normal Restarted Restart: Restarting the pods for revision 2 of Certificate log-mtls-daemonset"}},
		"Job": {"once-mtls-job", []client.Object{
			object(&batchv1.Job{}, "once"), pod("once-x", controlledBy("batch/v1", "Job", "once")),
		}, 0, nil},
		"CronJob": {"tidy-mtls-cronjob", []client.Object{
			object(&batchv1.CronJob{}, "tidy"), object(&batchv1.Job{}, "tidy-29000000", controlledBy("batch/v1", "CronJob", "tidy")),
			pod("tidy-29000000-x", controlledBy("batch/v1", "Job", "tidy-29000000")),
		}, 0, nil},
		"bare pod": {"alone-mtls-pod", []client.Object{aged(annotated("alone", restarting), renewal-3600)}, 0, needed("Pod/alone uid-of-alone", "Pod")},
		"ReplicaSet": {"web-9zz-mtls-replicaset", []client.Object{object(&appsv1.ReplicaSet{}, "web-9zz"), hashed},
			0, needed("ReplicaSet/web-9zz uid-of-web-9zz", "ReplicaSet")},
		"custom owner": {companionOf(pod("s-1", controlledBy("sparkoperator.k8s.io/v1beta2", "SparkApplication", "spark"))), []client.Object{
			custom("spark"), pod("s-1", controlledBy("sparkoperator.k8s.io/v1beta2", "SparkApplication", "spark")),
		}, 0, needed("SparkApplication/spark uid-of-spark", "SparkApplication")},
	} {
		t.Run(name, func(t *testing.T) {
			s := renewedFor(t, test.companion, test.objects...)
			s.look(t, unchanged)
			s.clock = s.clock.Add(time.Minute)
			s.look(t, unchanged)
			assert.InDelta(t, test.restarts, s.restarts(updated), 0)
			assert.Equal(t, test.told, s.told())
			assert.Equal(t, s.world.applies-1, int(test.restarts))

			s.look(t, unchanged)
			assert.Empty(t, s.told(), "told once")
			s.issue(t, 3, renewal+3600)
			s.clock = time.Unix(renewal+3700, 0)
			s.look(t, unchanged)
			if test.restarts == 0 && test.told != nil {
				assert.Equal(t, test.told, s.told()[1:], "after Renewed, and once for each")
			}
		})
	}
}

// TestRestartIsOwedToNoImpostor: a pod's word about its owner is anybody's.
func TestRestartIsOwedToNoImpostor(t *testing.T) {
	forged := func(name, hash string, second int64) *corev1.Pod {
		pod := aged(deployed(name, hash, restarting), second)
		pod.OwnerReferences[0].UID = "forged"
		return pod
	}
	fresh := aged(deployed("web-7f1-a", "7f1", restarting), renewal+10)
	unwilling := aged(deployed("web-5d9-a", "5d9", server), renewal-3600)
	// A ReplicaSet of its own that is named as one of web's.
	alien := aged(deployed("web-ali-a", "ali", restarting), renewal-3600)
	for name, test := range map[string]struct {
		objects []client.Object
		want    float64
	}{
		"outdated, beside a fresh one":     {[]client.Object{fresh, forged("web-5d9-x", "5d9", renewal-3600)}, 0},
		"a namesake's, beside a fresh one": {[]client.Object{fresh, alien, object(&appsv1.ReplicaSet{}, "web-ali")}, 0},
		"newest, for one that is unwilling": {[]client.Object{
			unwilling, forged("web-5d9-x", "5d9", renewal+10),
		}, 0},
		"newest and outdated": {[]client.Object{unwilling, forged("web-5d9-x", "5d9", renewal-10)}, 0},
		"of no such owner":    {[]client.Object{fresh, aged(deployed("web-000-x", "000", restarting), 0)}, 0},
		"beside a true one":   {[]client.Object{fresh, forged("web-5d9-y", "5d9", renewal-60), old("web-5d9-a")}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := renewed(t, 2, test.objects...)
			s.look(t, unchanged)
			s.clock = s.clock.Add(time.Minute)
			assert.Zero(t, s.look(t, unchanged))
			assert.InDelta(t, test.want, s.restarts(updated), 0)
			assert.Len(t, s.told(), int(test.want))
			assert.Len(t, s.slots.held, int(test.want), "an impostor keeps nobody waiting")
			s.asked()
			s.look(t, unchanged)
			assert.LessOrEqual(t, len(s.asked()), 2, "nor the API server busy")

			// The word of the workload's own pods counts all the same.
			s.create(t, aged(deployed("web-5d9-z", "5d9", restarting), renewal-30))
			for _, pod := range test.objects {
				if pod == unwilling {
					return // but these are older, and have nothing to say beside it
				}
			}
			s.look(t, unchanged)
			assert.InDelta(t, 1, s.restarts(updated), 0)
		})
	}
}

func TestRestartLeavesWhatIsGone(t *testing.T) {
	s := renewed(t, 2, old("web-5d9-a"))
	require.NoError(t, s.world.Delete(t.Context(), object(&appsv1.Deployment{}, "web")))
	for range 2 {
		assert.Zero(t, s.look(t, unchanged))
	}
	namesake := object(&appsv1.Deployment{}, "web")
	namesake.SetUID("another")
	require.NoError(t, s.world.Create(t.Context(), namesake))
	assert.Zero(t, s.look(t, unchanged))
	assert.Equal(t, 1, s.world.applies, "the companion's own")
}

func TestRestartReportsAStrangeTemplate(t *testing.T) {
	spark, ok := custom("spark").(*unstructured.Unstructured)
	require.True(t, ok)
	spark.Object["spec"] = map[string]any{"template": "none"}
	r := &reconciler{live: newWorld(t, spark), journal: newJournal()}
	l := &look{key: requestOf("spark-mtls").NamespacedName, entry: &entry{},
		owner: controlledBy("sparkoperator.k8s.io/v1beta2", "SparkApplication", "spark")}
	_, err := r.isUnderWay(t.Context(), l, renewalHash)
	require.ErrorContains(t, err, "pod template of SparkApplication spark: .spec.template.metadata accessor error")
}

func TestRestartsAreLimited(t *testing.T) {
	s := renewed(t, 2, old("web-5d9-a"))
	other := requestOf("other-mtls").NamespacedName
	s.policy(1, 0)
	s.settle(t)
	s.slots.hold(other, s.clock)
	assert.Equal(t, 5*time.Second, s.look(t, unchanged).RequeueAfter, "no slot")
	assert.Empty(t, s.asked(), "asking costs no request")
	s.slots.release(other)
	assert.Zero(t, s.look(t, unchanged))
	assert.InDelta(t, 1, s.restarts(updated), 0)
	assert.False(t, s.slots.acquire(other, 1, s.clock), "web has it until its pods are new")

	// The last pod goes: nothing is left to wait for.
	require.NoError(t, s.world.Delete(t.Context(), old("web-5d9-a")))
	s.look(t, removed)
	assert.True(t, s.slots.acquire(other, 1, s.clock))
}

func TestRestartGivesItsSlotBack(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, s *stage){
		"when no companion is wanted": func(t *testing.T, s *stage) {
			t.Helper()
			optOut := aged(deployed("web-7f1-a", "7f1", map[string]string{"role": "server", "companion": "false"}), renewal+90)
			require.NoError(t, s.world.Create(t.Context(), optOut))
			s.look(t, removed)
		},
		"when it is issued anew": func(t *testing.T, s *stage) {
			t.Helper()
			s.issue(t, 2, renewal-7200)
			s.look(t, unchanged)
		},
		"when restarts are not wanted": func(t *testing.T, s *stage) {
			t.Helper()
			require.NoError(t, s.world.Create(t.Context(), aged(deployed("web-7f1-a", "7f1", server), renewal-5)))
			s.look(t, unchanged)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := renewed(t, 2, old("web-5d9-a"))
			s.settle(t)
			s.look(t, unchanged)
			require.Len(t, s.slots.held, 1)
			change(t, s)
			assert.Empty(t, s.slots.held)
		})
	}
}

func TestSlots(t *testing.T) {
	a, b, c := requestOf("a").NamespacedName, requestOf("b").NamespacedName, requestOf("c").NamespacedName
	start := time.Unix(renewal, 0)
	var s slots
	assert.True(t, s.acquire(a, 2, start))
	assert.True(t, s.acquire(b, 2, start.Add(time.Minute)))
	assert.False(t, s.acquire(c, 2, start.Add(time.Minute)))
	assert.True(t, s.acquire(a, 2, start.Add(9*time.Minute)), "it has one, and begins no new time")
	s.hold(b, start.Add(9*time.Minute))
	assert.False(t, s.acquire(c, 2, start.Add(10*time.Minute)))
	assert.True(t, s.acquire(c, 2, start.Add(10*time.Minute+1)), "a's time is over")
	assert.False(t, s.acquire(a, 2, start.Add(11*time.Minute)))
	assert.True(t, s.acquire(a, 2, start.Add(11*time.Minute+1)), "so is b's")
	s.release(c)
	s.release(requestOf("nobody").NamespacedName)
	assert.True(t, s.acquire(b, 2, start.Add(12*time.Minute)))
	s.hold(c, start.Add(12*time.Minute))
	assert.Len(t, s.held, 3, "what is under way is under way")
}

func TestClaims(t *testing.T) {
	cronJob, job := controlledBy("batch/v1", "CronJob", "tidy"), controlledBy("batch/v1", "Job", "tidy-29000000")
	deployment := controlledBy("apps/v1", "Deployment", "web")
	for name, test := range map[string]struct {
		owner *metav1.OwnerReference
		pod   *corev1.Pod
		want  bool
	}{
		"a Deployment's":     {&deployment, deployed("web-5d9-a", "5d9", nil), true},
		"a former version's": {new(controlledBy("apps/v1beta2", "Deployment", "web")), deployed("web-5d9-a", "5d9", nil), true},
		"another kind's":     {new(controlledBy("apps/v1", "StatefulSet", "web")), deployed("web-5d9-a", "5d9", nil), false},
		"another's name":     {new(controlledBy("apps/v1", "Deployment", "api")), deployed("web-5d9-a", "5d9", nil), false},
		"nobody's":           {nil, deployed("web-5d9-a", "5d9", nil), false},
		"a CronJob's":        {&cronJob, annotated("t", nil, job), true},
		"a Job's":            {&job, annotated("t", nil, job), true},
		"a StatefulSet's":    {new(controlledBy("apps/v1", "StatefulSet", "db")), annotated("db-0", nil, controlledBy("apps/v1", "StatefulSet", "db")), true},
		"a former StatefulSet's": {&metav1.OwnerReference{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "db", UID: "former", Controller: new(true)},
			annotated("db-0", nil, controlledBy("apps/v1", "StatefulSet", "db")), false},
		"a bare pod's":       {new(controlledBy("v1", "Pod", "alone")), annotated("alone", nil), true},
		"another bare pod's": {new(controlledBy("v1", "Pod", "other")), annotated("alone", nil), false},
	} {
		t.Run(name, func(t *testing.T) {
			cert := Desired(&intent.Intent{})
			if test.owner != nil {
				cert.OwnerReferences = []metav1.OwnerReference{*test.owner}
			}
			assert.Equal(t, test.want, claims(cert, test.pod))
		})
	}
}
