package certs

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestRememberedAgreement: that Certificate and intent agree is worked out once for each
// pair of them. Managed fields that cannot be read betray who works it out again.
func TestRememberedAgreement(t *testing.T) {
	s := newStage(t, deployed("web-5d9-a", "5d9", server))
	s.look(t, created)
	s.look(t, unchanged)
	in, owner := resolved(t, deployed("web-5d9-a", "5d9", server)), controlledBy("apps/v1", "Deployment", "web")
	l := &look{key: webMTLS.NamespacedName, entry: &entry{}, cert: s.companion(t)}
	in.Identity.DNSNames = webNames
	current, err := s.agrees(l, ownedBy(owner, Desired(in)))
	require.NoError(t, err)
	require.True(t, current)

	l.cert.ManagedFields[0].FieldsV1 = metav1.NewFieldsV1(`{"x:y":{}}`)
	current, err = s.agrees(l, ownedBy(owner, Desired(in)))
	require.NoError(t, err)
	assert.True(t, current)
	for name, change := range map[string]func(l *look){
		"another process":  func(l *look) { l.entry = &entry{} },
		"another version":  func(l *look) { l.cert.ResourceVersion = "another" },
		"another intent":   func(*look) { in.Role = "both" },
		"another's intent": func(*look) { owner.UID = "another" },
	} {
		t.Run(name, func(t *testing.T) {
			again := &look{key: l.key, entry: new(*l.entry), cert: l.cert.DeepCopy()}
			roleBefore, ownerBefore := in.Role, owner
			change(again)
			_, err := s.agrees(again, ownedBy(owner, Desired(in)))
			require.ErrorContains(t, err, "managed fields of Certificate web-mtls: ")
			in.Role, owner = roleBefore, ownerBefore
		})
	}
}

func TestAtRestNothingIsAsked(t *testing.T) {
	s := newStage(t, deployed("web-5d9-a", "5d9", server))
	s.look(t, created)
	s.issue(t, 1, 0)
	s.asked()
	for range 3 {
		assert.Zero(t, s.look(t, unchanged))
	}
	assert.Empty(t, s.asked(), "not even at the first look after a restart")
	s.again()
	s.look(t, unchanged)
	assert.Empty(t, s.asked())

	// What it is about to write, it verifies first.
	s.create(t, serviceNamed("api"))
	s.look(t, updated)
	assert.Equal(t, []string{"get ReplicaSet/web-5d9", "apply"}, s.asked())
}

func TestSettled(t *testing.T) {
	start := time.Unix(renewal, 0)
	steps := []struct {
		name      string
		revision  int
		notBefore int64
		now, want time.Duration
	}{
		{"the first look", 1, 0, 0, 3 * time.Second},
		{"nothing new", 1, 0, time.Minute, 3 * time.Second},
		{"another revision", 2, 0, 2 * time.Minute, 2*time.Minute + 30*time.Second},
		{"nothing new again", 2, 0, 3 * time.Minute, 2*time.Minute + 30*time.Second},
		{"its time", 2, 60, 4 * time.Minute, 4*time.Minute + 3*time.Second},
		{"another time", 2, 120, 5 * time.Minute, 5*time.Minute + 3*time.Second},
		{"its revision", 3, 120, 6 * time.Minute, 6*time.Minute + 30*time.Second},
		{"both", 4, 180, 7 * time.Minute, 7*time.Minute + 3*time.Second},
	}
	e, s := &entry{}, newStage(t, deployed("web-5d9-a", "5d9", server))
	s.look(t, created)
	for _, step := range steps {
		s.issue(t, step.revision, step.notBefore)
		assert.Equal(t, step.want, e.settled(s.companion(t), start.Add(step.now)).Sub(start), step.name)
	}
}

func TestJournal(t *testing.T) {
	j := newJournal()
	a, b := client.ObjectKey{Namespace: "x", Name: "a"}, client.ObjectKey{Namespace: "y", Name: "a"}
	j.of(a).toldTaken = "taken"
	assert.Equal(t, "taken", j.of(a).toldTaken)
	assert.Empty(t, j.of(b).toldTaken)
	assert.Equal(t, 1, j.taken())
	j.forget(a)
	assert.Empty(t, j.of(a).toldTaken)
	assert.Zero(t, j.taken())

	var told string
	assert.True(t, tellOnce(&told, "a"))
	assert.False(t, tellOnce(&told, "a"))
	assert.True(t, tellOnce(&told, "b"))
	assert.False(t, tellOnce(&told, ""), "nothing is no news")
	assert.True(t, tellOnce(&told, "b"), "but after it the same is")
}

func TestReadingsThatFail(t *testing.T) {
	oops := errors.New("oops")
	s := newStage(t, deployed("web-5d9-a", "5d9", server))
	s.world.refuseGet = func(obj client.Object, _ client.ObjectKey) error {
		if obj.GetObjectKind().GroupVersionKind().Kind == "Secret" {
			return oops
		}
		return nil
	}
	s.fails(t, "get metadata of Secret shop/web-mtls: oops")
	s.world.refuseGet = nil
	s.look(t, created)
	s.world.refuseApply = func() error { return oops }
	s.create(t, serviceNamed("api"))
	s.fails(t, "apply Certificate web-mtls: oops")
	s.world.refuseApply = nil
	s.look(t, updated)
	s.world.refuseList = func(list client.ObjectList) error {
		if _, ok := list.(*corev1.ServiceList); ok {
			return oops
		}
		return nil
	}
	s.fails(t, "list Services: oops")
}

// TestSlimVolumes: what the cache keeps tells as much as the whole pod.
func TestSlimVolumes(t *testing.T) {
	web := func() *corev1.Pod { return deployed("web-5d9-a", "5d9", nil) }
	csi := withCSI(web(), "web")
	csi.Spec.Volumes[0].CSI.VolumeAttributes["csi.cert-manager.io/issuer-name"] = "x"
	anothers := withCSI(web(), "web")
	anothers.Spec.Volumes[0].CSI.Driver = "secrets-store.csi.k8s.io"
	for name, test := range map[string]struct {
		pod    *corev1.Pod
		want   []corev1.Volume
		mounts bool
	}{
		"none":                 {web(), nil, false},
		"CSI":                  {csi, withCSI(web(), "web").Spec.Volumes, false},
		"another driver's":     {anothers, nil, false},
		"Secret":               {mounting(web(), "web-mtls", false), mounting(web(), "web-mtls", false).Spec.Volumes, true},
		"projected":            {mounting(web(), "web-mtls", true), mounting(web(), "web-mtls", false).Spec.Volumes, true},
		"another Secret":       {mounting(web(), "web", false), nil, false},
		"projected, another's": {mounting(web(), "web", true), nil, false},
		"both": {mounting(withCSI(web(), "web"), "web-mtls", true),
			mounting(withCSI(web(), "web"), "web-mtls", false).Spec.Volumes, true},
	} {
		t.Run(name, func(t *testing.T) {
			before := test.pod.DeepCopy()
			got := slimVolumes(test.pod)
			assert.Equal(t, test.want, got)
			assert.Equal(t, before, test.pod)
			assert.Equal(t, test.mounts, mounts([]corev1.Pod{*test.pod}, "web-mtls"))
			slim := test.pod.DeepCopy()
			slim.Spec.Volumes = got
			assert.Equal(t, test.mounts, mounts([]corev1.Pod{*slim}, "web-mtls"))
			ended := slim.DeepCopy()
			ended.Status.Phase = corev1.PodFailed
			assert.False(t, mounts([]corev1.Pod{*ended}, "web-mtls"))
		})
	}
}
