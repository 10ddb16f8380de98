package certs

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/intent"
)

func TestWorkloadVerifier(t *testing.T) {
	const (
		why  = "the pod would get the identity of a workload that it is not of: owner not verified: "
		hint = "; make the pod by its workload, or create a Service that selects it"
	)
	deployment, rollout := controlledBy("apps/v1", "Deployment", "web"), controlledBy("argoproj.io/v1alpha1", "Rollout", "web")
	cronJob, spark := controlledBy("batch/v1", "CronJob", "tidy"), controlledBy("sparkoperator.k8s.io/v1beta2", "SparkApplication", "web")
	forged := deployed("web-5d9-a", "5d9", nil)
	forged.OwnerReferences[0].UID = "made-up"
	stranger := deployed("web-5d9-a", "5d9", nil)
	stranger.Labels["app"] = "other"
	rolledOut := annotated("web-5d9-a", nil, controlledBy("apps/v1", "ReplicaSet", "web-5d9"))
	rolledOut.Labels["rollouts-pod-template-hash"] = "5d9"
	generated := annotated("", nil)
	generated.GenerateName = "web-"
	another := object(&appsv1.DaemonSet{}, "web")
	another.SetUID("another")

	for name, test := range map[string]struct {
		pod     *corev1.Pod
		objects []client.Object
		want    string
	}{
		"a Deployment's":           {deployed("web-5d9-a", "5d9", nil), []client.Object{object(&appsv1.Deployment{}, "web"), object(&appsv1.ReplicaSet{}, "web-5d9", deployment)}, ""},
		"a Rollout's":              {rolledOut, []client.Object{object(&appsv1.Deployment{}, "web"), object(&appsv1.ReplicaSet{}, "web-5d9", rollout)}, ""},
		"a StatefulSet's":          {annotated("web-0", nil, controlledBy("apps/v1", "StatefulSet", "web")), []client.Object{object(&appsv1.StatefulSet{}, "web"), object(&appsv1.DaemonSet{}, "other")}, ""},
		"a Job's":                  {annotated("web-x", nil, controlledBy("batch/v1", "Job", "web")), []client.Object{object(&batchv1.Job{}, "web")}, ""},
		"a CronJob's":              {annotated("tidy-29000000-x", nil, controlledBy("batch/v1", "Job", "tidy-29000000")), []client.Object{object(&batchv1.Job{}, "tidy-29000000", cronJob)}, ""},
		"a bare pod":               {annotated("web", nil), []client.Object{object(&appsv1.Deployment{}, "other")}, ""},
		"of a custom resource":     {annotated("web-1", nil, spark), nil, ""},
		"a pod's":                  {annotated("web-exec-1", nil, controlledBy("v1", "Pod", "web-driver")), []client.Object{annotated("web-driver", nil)}, ""},
		"a ReplicaSet's of nobody": {deployed("web-5d9-a", "5d9", nil), []client.Object{object(&appsv1.ReplicaSet{}, "web-5d9")}, ""},

		"invented UID": {forged, []client.Object{object(&appsv1.ReplicaSet{}, "web-5d9", deployment)},
			`metadata.ownerReferences: Invalid value: "ReplicaSet/web-5d9": ` + why + "ReplicaSet web-5d9 is another one than the pod's" + hint},
		"real UID, other labels": {stranger, []client.Object{object(&appsv1.ReplicaSet{}, "web-5d9", deployment)},
			`metadata.ownerReferences: Invalid value: "ReplicaSet/web-5d9": ` + why + "ReplicaSet web-5d9 does not select the pod" + hint},
		"no such owner": {annotated("web-0", nil, controlledBy("apps/v1", "StatefulSet", "web")), nil,
			`metadata.ownerReferences: Invalid value: "StatefulSet/web": ` + why + "there is no StatefulSet web" + hint},
		"a bare pod like a Deployment": {annotated("web", nil), []client.Object{object(&appsv1.Deployment{}, "web")},
			`metadata.name: Invalid value: "web": ` + why + "Pod/web is the name of Deployment web" + hint},
		"a generated name like a CronJob": {generated, []client.Object{object(&batchv1.CronJob{}, "web")},
			`metadata.generateName: Invalid value: "web-": ` + why + "Pod/web is the name of CronJob web" + hint},
		"a custom resource like a DaemonSet": {annotated("web-1", nil, spark), []client.Object{another},
			`metadata.ownerReferences: Invalid value: "SparkApplication/web": ` + why + "SparkApplication/web is the name of DaemonSet web" + hint},
		"a ReplicaSet's like a Deployment": {deployed("web-5d9-a", "5d9", nil), []client.Object{object(&appsv1.ReplicaSet{}, "web-5d9"), object(&appsv1.Deployment{}, "web")},
			`metadata.ownerReferences: Invalid value: "ReplicaSet/web-5d9": ` + why + "Deployment/web is the name of Deployment web" + hint},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, test.objects...)
			w.refuseGet = func(obj client.Object, _ client.ObjectKey) error {
				if strings.HasPrefix(obj.GetObjectKind().GroupVersionKind().Group, "sparkoperator") {
					return errForbidden
				}
				return nil
			}
			problem, err := WorkloadVerifier{w}.Verify(t.Context(), intent.PodOf(test.pod), true)
			require.NoError(t, err)
			if test.want == "" {
				assert.Nil(t, problem)
				return
			}
			require.NotNil(t, problem)
			assert.Equal(t, test.want, problem.Error())
		})
	}
}

// TestWorkloadVerifierOfSecrets: the Secret is the owner's, whatever else bears its name.
func TestWorkloadVerifierOfSecrets(t *testing.T) {
	w := newWorld(t, object(&appsv1.Deployment{}, "web"))
	problem, err := WorkloadVerifier{w}.Verify(t.Context(), intent.PodOf(annotated("web", nil)), false)
	require.NoError(t, err)
	assert.Nil(t, problem, "a bare pod's own")

	problem, err = WorkloadVerifier{w}.Verify(t.Context(), intent.PodOf(deployed("web-5d9-a", "5d9", nil)), false)
	require.NoError(t, err)
	require.NotNil(t, problem)
	assert.Equal(t, `metadata.ownerReferences: Invalid value: "ReplicaSet/web-5d9": the pod would get the identity of a workload that it is not of: `+
		"owner not verified: there is no ReplicaSet web-5d9; make the pod by its workload, or leave the owner reference out", problem.Error())
}

func TestWorkloadVerifierReportsErrors(t *testing.T) {
	w := newWorld(t)
	for name, test := range map[string]struct {
		pod  *corev1.Pod
		want string
	}{
		"owner": {deployed("web-5d9-a", "5d9", nil), "get ReplicaSet web-5d9: Internal error occurred: etcd"},
		"name":  {annotated("web", nil), "get Deployment web: Internal error occurred: etcd"},
	} {
		t.Run(name, func(t *testing.T) {
			w.refuseGet = func(client.Object, client.ObjectKey) error { return apierrors.NewInternalError(errors.New("etcd")) }
			problem, err := WorkloadVerifier{w}.Verify(t.Context(), intent.PodOf(test.pod), true)
			require.EqualError(t, err, test.want)
			assert.Nil(t, problem)
		})
	}
}

// TestCompanionOfABorrowedName: a bare pod gets no companion with the names of a workload
// that exists.
func TestCompanionOfABorrowedName(t *testing.T) {
	bare := annotated("api", server)
	bare.Labels["app"] = "api"
	s := newStage(t, bare)
	s.request.Name = "api-mtls-pod"
	another := object(&appsv1.Deployment{}, "api")
	another.SetUID("another")
	s.create(t, another)
	s.look(t, ownerUnverified)
	assert.Zero(t, s.world.applies)

	s.delete(t, another)
	s.look(t, created)
	assert.Equal(t, []string{"api", "api.shop", "api.shop.svc", "api.shop.svc.cluster.local"}, s.companion(t).Spec.DNSNames)
}
