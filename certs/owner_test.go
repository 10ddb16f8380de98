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
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var errForbidden = apierrors.NewForbidden(schema.GroupResource{Resource: "things"}, "x", errors.New("no"))

func TestVerifiedChain(t *testing.T) {
	deployment := controlledBy("apps/v1", "Deployment", "web")
	another := controlledBy("apps/v1", "Deployment", "other")
	cronJob := controlledBy("batch/v1", "CronJob", "tidy")
	rollout := controlledBy("argoproj.io/v1alpha1", "Rollout", "web")
	spark := controlledBy("sparkoperator.k8s.io/v1beta2", "SparkApplication", "spark")
	rolledOut := annotated("web-5d9-a", nil, controlledBy("apps/v1", "ReplicaSet", "web-5d9"))
	rolledOut.Labels["rollouts-pod-template-hash"] = "5d9"
	deleted := object(&appsv1.ReplicaSet{}, "web-5d9", deployment)
	deleted.SetDeletionTimestamp(new(metav1.Now()))
	deleted.SetFinalizers([]string{"foregroundDeletion"})
	remade := object(&appsv1.ReplicaSet{}, "web-5d9", deployment)
	remade.SetUID("another")
	jobPod := annotated("tidy-29000000-x", nil, controlledBy("batch/v1", "Job", "tidy-29000000"))

	unselective, indiscriminate := object(&appsv1.ReplicaSet{}, "web-5d9", deployment), object(&appsv1.ReplicaSet{}, "web-5d9", deployment)
	unselective.(*appsv1.ReplicaSet).Spec.Selector = nil
	indiscriminate.(*appsv1.ReplicaSet).Spec.Selector = &metav1.LabelSelector{}
	without := func(label string, pod *corev1.Pod) *corev1.Pod {
		delete(pod.Labels, label)
		return pod
	}

	for name, test := range map[string]struct {
		pod     *corev1.Pod
		objects []client.Object
		refuse  error
		// want is the owners as Kind/name, wantErr the error's full text.
		want    []string
		wantErr string
	}{
		"bare pod":                     {pod: annotated("alone", nil), want: []string{"Pod/alone"}},
		"deployment":                   {pod: deployed("web-5d9-a", "5d9", nil), objects: []client.Object{object(&appsv1.ReplicaSet{}, "web-5d9", deployment)}, want: []string{"ReplicaSet/web-5d9", "Deployment/web"}},
		"replica set of nobody":        {pod: deployed("web-5d9-a", "5d9", nil), objects: []client.Object{object(&appsv1.ReplicaSet{}, "web-5d9")}, want: []string{"ReplicaSet/web-5d9"}},
		"replica set of a rollout":     {pod: rolledOut, objects: []client.Object{object(&appsv1.ReplicaSet{}, "web-5d9", rollout)}, want: []string{"ReplicaSet/web-5d9", "Rollout/web"}},
		"replica set of another":       {pod: deployed("web-5d9-a", "5d9", nil), objects: []client.Object{object(&appsv1.ReplicaSet{}, "web-5d9", another)}, wantErr: "owner not verified: the controller of ReplicaSet web-5d9 is Deployment other, not Deployment/web"},
		"replica set of another kind":  {pod: deployed("web-5d9-a", "5d9", nil), objects: []client.Object{object(&appsv1.ReplicaSet{}, "web-5d9", rollout)}, wantErr: "owner not verified: the controller of ReplicaSet web-5d9 is Rollout web, not Deployment/web"},
		"invented replica set":         {pod: deployed("web-5d9-a", "5d9", nil), wantErr: "owner not verified: there is no ReplicaSet web-5d9"},
		"replica set of the same name": {pod: deployed("web-5d9-a", "5d9", nil), objects: []client.Object{remade}, wantErr: "owner not verified: ReplicaSet web-5d9 is another one than the pod's"},
		"replica set on its way out":   {pod: deployed("web-5d9-a", "5d9", nil), objects: []client.Object{deleted}, wantErr: "owner not verified: ReplicaSet web-5d9 is being deleted"},
		"a real one of other pods":     {pod: without("app", deployed("web-5d9-a", "5d9", nil)), objects: []client.Object{object(&appsv1.ReplicaSet{}, "web-5d9", deployment)}, wantErr: "owner not verified: ReplicaSet web-5d9 does not select the pod"},
		"one that selects nothing":     {pod: deployed("web-5d9-a", "5d9", nil), objects: []client.Object{unselective}, wantErr: "owner not verified: ReplicaSet web-5d9 does not select the pod"},
		"one that selects everything":  {pod: deployed("web-5d9-a", "5d9", nil), objects: []client.Object{indiscriminate}, wantErr: "owner not verified: ReplicaSet web-5d9 does not select the pod"},
		"a controller of version 1":    {pod: annotated("rc-x", nil, controlledBy("v1", "ReplicationController", "rc")), objects: []client.Object{object(&corev1.ReplicationController{}, "rc")}, want: []string{"ReplicationController/rc"}},
		"another's of version 1":       {pod: without("app", annotated("rc-x", nil, controlledBy("v1", "ReplicationController", "rc"))), objects: []client.Object{object(&corev1.ReplicationController{}, "rc")}, wantErr: "owner not verified: ReplicationController rc does not select the pod"},
		"a Secret":                     {pod: annotated("a", nil, controlledBy("v1", "Secret", "web")), objects: []client.Object{object(&corev1.Secret{}, "web")}, wantErr: "owner not verified: a Secret makes no pods"},
		"rights are missing":           {pod: deployed("web-5d9-a", "5d9", nil), refuse: errForbidden, wantErr: `get ReplicaSet web-5d9: things "x" is forbidden: no`},
		"stateful set":                 {pod: annotated("db-0", nil, controlledBy("apps/v1", "StatefulSet", "db")), objects: []client.Object{object(&appsv1.StatefulSet{}, "db", spark)}, want: []string{"StatefulSet/db"}},
		"job":                          {pod: annotated("once-x", nil, controlledBy("batch/v1", "Job", "once")), objects: []client.Object{object(&batchv1.Job{}, "once", spark)}, want: []string{"Job/once"}},
		"cron job":                     {pod: jobPod, objects: []client.Object{object(&batchv1.Job{}, "tidy-29000000", cronJob)}, want: []string{"Job/tidy-29000000", "CronJob/tidy"}},
		"job like a cron job's":        {pod: jobPod, objects: []client.Object{object(&batchv1.Job{}, "tidy-29000000")}, want: []string{"Job/tidy-29000000"}},
		"invented cron job":            {pod: jobPod, objects: []client.Object{object(&batchv1.Job{}, "tidy-29000000", spark)}, wantErr: "owner not verified: the controller of Job tidy-29000000 is SparkApplication spark, not CronJob/tidy"},
		"custom, may not be read":      {pod: annotated("spark-1", nil, spark), refuse: errForbidden, want: []string{"SparkApplication/spark"}},
		"custom, no such kind":         {pod: annotated("spark-1", nil, spark), refuse: &meta.NoKindMatchError{}, wantErr: "owner not verified: there is no SparkApplication spark"},
		"custom, API server ails":      {pod: annotated("spark-1", nil, spark), refuse: apierrors.NewInternalError(errors.New("etcd")), wantErr: "get SparkApplication spark: Internal error occurred: etcd"},
		"built-in of no such version":  {pod: annotated("a", nil, controlledBy("apps/v9", "ReplicaSet", "web")), refuse: &meta.NoKindMatchError{}, wantErr: "owner not verified: there is no ReplicaSet web"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, test.objects...)
			w.refuseGet = func(client.Object, client.ObjectKey) error { return test.refuse }
			got, _, err := verifiedChain(t.Context(), w, test.pod)
			if test.wantErr != "" {
				require.EqualError(t, err, test.wantErr)
				assert.Equal(t, strings.HasPrefix(test.wantErr, "owner not verified"), errors.Is(err, errUnverified))
				return
			}
			require.NoError(t, err)
			var names []string
			for _, ref := range got {
				names = append(names, ref.Kind+"/"+ref.Name)
				assert.Equal(t, types.UID("uid-of-"+ref.Name), ref.UID)
				assert.NotEmpty(t, ref.APIVersion)
			}
			assert.Equal(t, test.want, names)
			assert.Equal(t, got[len(got)-1], got.owner())
		})
	}
}

func TestGetOwnerFindsCustomOwners(t *testing.T) {
	spark := &unstructured.Unstructured{}
	spark.SetGroupVersionKind(schema.GroupVersionKind{Group: "sparkoperator.k8s.io", Version: "v1beta2", Kind: "SparkApplication"})
	w := newWorld(t, object(spark, "spark"))
	ref := controlledBy("sparkoperator.k8s.io/v1beta2", "SparkApplication", "spark")
	got, err := getOwner(t.Context(), w, namespace, &ref)
	require.NoError(t, err)
	assert.Equal(t, "spark", got.GetName())
	ref.UID = "forged"
	_, err = getOwner(t.Context(), w, namespace, &ref)
	require.EqualError(t, err, "owner not verified: SparkApplication spark is another one than the pod's")
}

func TestOwnerReference(t *testing.T) {
	got := ownerReference(controlledBy("apps/v1", "Deployment", "web"))
	assert.Equal(t, metav1.OwnerReference{
		APIVersion: "apps/v1", Kind: "Deployment", Name: "web", UID: "uid-of-web", Controller: new(true), BlockOwnerDeletion: new(false),
	}, got)
}

func TestIsBuiltin(t *testing.T) {
	for name, test := range map[string]struct {
		apiVersion, kind string
		want             bool
	}{
		"deployment":       {"apps/v1", "Deployment", true},
		"another's":        {"example.org/v1", "Deployment", false},
		"job":              {"batch/v1", "Job", true},
		"another's job":    {"apps/v1", "Job", false},
		"pod":              {"v1", "Pod", true},
		"node":             {"v1", "Node", false},
		"controller of v1": {"v1", "ReplicationController", true},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.want, isBuiltin(&metav1.OwnerReference{APIVersion: test.apiVersion, Kind: test.kind}))
		})
	}
}
