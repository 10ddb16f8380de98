package certs

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/intent"
)

// template is a pod template with a role, or with what is given.
func template(annotations map[string]string) corev1.PodTemplateSpec {
	pod := annotated("", annotations)
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}, Annotations: pod.Annotations}, Spec: pod.Spec}
}

// changed is the owner with what the test changes.
func changed[T client.Object](obj T, name string, change func(T)) client.Object {
	object(obj, name)
	change(obj)
	return obj
}

func deploymentOf(annotations map[string]string, more ...func(*appsv1.Deployment)) client.Object {
	return changed(&appsv1.Deployment{}, "web", func(d *appsv1.Deployment) {
		d.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
		d.Spec.Template = template(annotations)
		for _, f := range more {
			f(d)
		}
	})
}

func jobOf(kind batchv1.JobConditionType, is corev1.ConditionStatus) client.Object {
	return changed(&batchv1.Job{}, "once", func(j *batchv1.Job) {
		j.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
		j.Spec.Template = template(server)
		j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobSuspended, Status: corev1.ConditionTrue}, {Type: kind, Status: is}}
	})
}

func setOf(obj client.Object, name string, annotations map[string]string) client.Object {
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
	switch set := obj.(type) {
	case *appsv1.StatefulSet:
		set.Spec.Selector, set.Spec.Template = selector, template(annotations)
	case *appsv1.DaemonSet:
		set.Spec.Selector, set.Spec.Template = selector, template(annotations)
	case *appsv1.ReplicaSet:
		set.Spec.Selector, set.Spec.Template = selector, template(annotations)
	case *batchv1.CronJob:
		set.Spec.JobTemplate.Spec.Template = template(annotations)
	case *corev1.ReplicationController:
		set.Spec.Selector = map[string]string{"app": "web"}
		set.Spec.Template = new(template(annotations))
	}
	return object(obj, name)
}

// TestCleanUpWithoutPods: what becomes of Certificate and Secret when the last injected pod
// has gone is the workload's to say.
func TestCleanUpWithoutPods(t *testing.T) {
	pod := func(name, label string, change ...func(*corev1.Pod)) client.Object {
		p := annotated(name, nil)
		p.Labels = map[string]string{"app": label}
		for _, f := range change {
			f(p)
		}
		return p
	}
	terminating := func(p *corev1.Pod) { p.DeletionTimestamp, p.Finalizers = at(5), []string{"x"} }
	injected := func(p *corev1.Pod) { p.Labels[intent.LabelInjected] = "true" }
	withVolume := func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{{Name: intent.CertificateVolume}} }
	refuse := func(err error) func(client.Object, client.ObjectKey) error {
		return func(obj client.Object, _ client.ObjectKey) error {
			if obj.GetObjectKind().GroupVersionKind().Kind == "SparkApplication" {
				return err
			}
			return nil
		}
	}
	web := controlledBy("apps/v1", "Deployment", "web")
	spark := controlledBy("sparkoperator.k8s.io/v1beta2", "SparkApplication", "spark")
	tidy, once := controlledBy("batch/v1", "CronJob", "tidy"), controlledBy("batch/v1", "Job", "once")
	deleted := func(d *appsv1.Deployment) { d.DeletionTimestamp, d.Finalizers = at(5), []string{"foregroundDeletion"} }
	made := withCompanion(t, webMTLS, deployed("web-5d9-first", "5d9", server)).companion(t)
	for name, test := range map[string]struct {
		owner   metav1.OwnerReference
		objects []client.Object
		refuse  func(client.Object, client.ObjectKey) error
		kept    bool
	}{
		"gone":                          {owner: web},
		"a namesake":                    {owner: web, objects: []client.Object{changed(&appsv1.Deployment{}, "web", func(d *appsv1.Deployment) { d.UID, d.Spec.Template = "another", template(server) })}},
		"being deleted":                 {owner: web, objects: []client.Object{deploymentOf(server, deleted)}},
		"opted out":                     {owner: web, objects: []client.Object{deploymentOf(nil)}},
		"companion: false":              {owner: web, objects: []client.Object{deploymentOf(optedOut)}},
		"scaled to zero":                {owner: web, objects: []client.Object{deploymentOf(server)}, kept: true},
		"refused by now":                {owner: web, objects: []client.Object{deploymentOf(map[string]string{"role": "server", "dns-names": "www.example.com"})}, kept: true},
		"runs without our label":        {owner: web, objects: []client.Object{deploymentOf(server), pod("web-5d9-a", "web")}},
		"our label taken away":          {owner: web, objects: []client.Object{deploymentOf(server), pod("web-5d9-a", "web", withVolume)}, kept: true},
		"another's pods do":             {owner: web, objects: []client.Object{deploymentOf(server), pod("api-5d9-a", "api")}, kept: true},
		"going pods without our label":  {owner: web, objects: []client.Object{deploymentOf(server), pod("web-5d9-a", "web", terminating)}, kept: true},
		"some with, some without":       {owner: web, objects: []client.Object{deploymentOf(server), pod("web-5d9-a", "web"), pod("other", "web", injected)}, kept: true},
		"with an empty selector":        {owner: web, objects: []client.Object{deploymentOf(server, func(d *appsv1.Deployment) { d.Spec.Selector = &metav1.LabelSelector{} }), pod("web-5d9-a", "web")}, kept: true},
		"StatefulSet":                   {owner: controlledBy("apps/v1", "StatefulSet", "db"), objects: []client.Object{setOf(&appsv1.StatefulSet{}, "db", server)}, kept: true},
		"StatefulSet, opted out":        {owner: controlledBy("apps/v1", "StatefulSet", "db"), objects: []client.Object{setOf(&appsv1.StatefulSet{}, "db", nil)}},
		"DaemonSet":                     {owner: controlledBy("apps/v1", "DaemonSet", "log"), objects: []client.Object{setOf(&appsv1.DaemonSet{}, "log", server)}, kept: true},
		"ReplicaSet":                    {owner: controlledBy("apps/v1", "ReplicaSet", "rs"), objects: []client.Object{setOf(&appsv1.ReplicaSet{}, "rs", server)}, kept: true},
		"ReplicationController":         {owner: controlledBy("v1", "ReplicationController", "rc"), objects: []client.Object{setOf(&corev1.ReplicationController{}, "rc", server), pod("rc-x", "web")}, kept: true},
		"CronJob between Jobs":          {owner: tidy, objects: []client.Object{setOf(&batchv1.CronJob{}, "tidy", server)}, kept: true},
		"CronJob, opted out":            {owner: tidy, objects: []client.Object{setOf(&batchv1.CronJob{}, "tidy", optedOut)}},
		"Job between pods":              {owner: once, objects: []client.Object{jobOf(batchv1.JobComplete, corev1.ConditionFalse)}, kept: true},
		"Job complete":                  {owner: once, objects: []client.Object{jobOf(batchv1.JobComplete, corev1.ConditionTrue)}},
		"Job failed":                    {owner: once, objects: []client.Object{jobOf(batchv1.JobFailed, corev1.ConditionTrue)}},
		"bare pod that has ended":       {owner: controlledBy("v1", "Pod", "alone"), objects: []client.Object{pod("alone", "x")}, kept: true},
		"bare pod that is gone":         {owner: controlledBy("v1", "Pod", "alone")},
		"custom owner":                  {owner: spark, objects: []client.Object{custom("spark")}, kept: true},
		"custom owner that is gone":     {owner: spark},
		"custom owner, may not be read": {owner: spark, refuse: refuse(errForbidden), kept: true},
		"custom owner of no such kind":  {owner: spark, refuse: refuse(&meta.NoKindMatchError{})},
		"orphaned":                      {},
	} {
		t.Run(name, func(t *testing.T) {
			cert := made.DeepCopy()
			cert.OwnerReferences = []metav1.OwnerReference{test.owner}
			if test.owner.Name == "" {
				cert.OwnerReferences = nil
			}
			s := newBareStage(t, append(test.objects, cert, secretNamed("web-mtls"))...)
			s.world.refuseGet = test.refuse
			s.slots.hold(webMTLS.NamespacedName, s.clock)
			defer func() { assert.Empty(t, s.slots.held) }()
			if test.kept {
				assert.Equal(t, time.Hour, s.look(t, noPod).RequeueAfter, "what happens without injected pods is no news")
				assert.Equal(t, "Certificate Secret", s.left(t))
				return
			}
			assert.Equal(t, 30*time.Second, s.look(t, removed).RequeueAfter)
			assert.Empty(t, s.left(t))
		})
	}
}

func TestCleanUpReportsErrors(t *testing.T) {
	oops := errors.New("oops")
	made := withCompanion(t, webMTLS, deployed("web-5d9-first", "5d9", server)).companion(t)
	refuse := func(kind string, err error) func(client.Object, client.ObjectKey) error {
		return func(obj client.Object, _ client.ObjectKey) error {
			if obj.GetObjectKind().GroupVersionKind().Kind == kind {
				return err
			}
			return nil
		}
	}
	lists := 0
	for name, test := range map[string]struct {
		get  func(client.Object, client.ObjectKey) error
		list func(client.ObjectList) error
		want string
	}{
		"workload":                {get: refuse("Deployment", oops), want: "get Deployment web: oops"},
		"workload, without right": {get: refuse("Deployment", errForbidden), want: `get Deployment web: things "x" is forbidden: no`},
		"its pods": {list: func(list client.ObjectList) error {
			if _, ok := list.(*corev1.PodList); ok {
				lists++
			}
			if lists > 1 { // the first is the cache's
				return oops
			}
			return nil
		}, want: "list pods: oops"},
		"cached pods": {list: func(client.ObjectList) error { return oops }, want: "list pods: oops"},
		"Services": {list: func(list client.ObjectList) error {
			if _, ok := list.(*corev1.ServiceList); ok {
				return oops
			}
			return nil
		}, want: "list Services: oops"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newBareStage(t, made.DeepCopy(), deploymentOf(server), secretNamed("web-mtls"))
			s.world.refuseGet, s.world.refuseList = test.get, test.list
			s.fails(t, test.want)
			s.world.refuseGet, s.world.refuseList = nil, nil
			assert.Equal(t, "Certificate Secret", s.left(t))
			s.look(t, noPod)
		})
	}
}

func TestTemplateOfStrangeWorkloads(t *testing.T) {
	web := controlledBy("apps/v1", "Deployment", "web")
	workload := func(spec any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	}
	for name, test := range map[string]struct {
		spec any
		want string
	}{
		"without a template": {map[string]any{}, ""},
		"a text":             {map[string]any{"template": "none"}, ".spec.template accessor error: none is of the type string, expected map[string]interface{}"},
		"another form":       {map[string]any{"template": map[string]any{"spec": "none"}}, "pod template of Deployment web: cannot restore struct from: string"},
	} {
		t.Run(name, func(t *testing.T) {
			_, found, err := templateOf(&web, workload(test.spec))
			assert.False(t, found)
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, test.want)
		})
	}
	r := &reconciler{live: newWorld(t)}
	for name, selector := range map[string]map[string]any{
		"no such operator": {"matchExpressions": []any{map[string]any{"key": "a", "operator": "Likes"}}},
		"another form":     {"matchLabels": "none"},
	} {
		t.Run("selector/"+name, func(t *testing.T) {
			optedOut, _ := r.runsWithoutUs(t.Context(), namespace, workload(map[string]any{"selector": selector}))
			assert.False(t, optedOut)
		})
	}
}

// TestCleanUpOfANamespaceThatIsNotOptedIn: admission sees no pod there, so that the label
// of one is its own word.
func TestCleanUpOfANamespaceThatIsNotOptedIn(t *testing.T) {
	s := withCompanion(t, webMTLS, deployed("web-5d9-a", "5d9", server))
	s.create(t, secretNamed("web-mtls"))
	optOut := func() {
		ns := &corev1.Namespace{}
		require.NoError(t, s.world.Get(t.Context(), client.ObjectKey{Name: namespace}, ns))
		ns.Labels = nil
		require.NoError(t, s.world.Update(t.Context(), ns))
	}
	optOut()
	s.look(t, removed)
	assert.Empty(t, s.left(t))
	s.look(t, notWanted)

	s = newBareStage(t, deploymentOf(server), s.remade(t))
	optOut()
	s.look(t, removed)
	assert.Empty(t, s.left(t))
}

// remade is the companion as another stage has it.
func (s *stage) remade(t *testing.T) client.Object {
	t.Helper()
	return withCompanion(t, s.request, deployed("web-5d9-a", "5d9", server)).companion(t)
}
