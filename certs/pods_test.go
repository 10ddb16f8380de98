package certs

import (
	"math/rand/v2"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/randfill"

	"example.io/mtls-injector/intent"
)

// TestSlimPodKeepsWhatDecides resolves random pods as they are and as the cache keeps
// them. A field that Resolve begins to read and slimPod drops fails here.
func TestSlimPodKeepsWhatDecides(t *testing.T) {
	resolvable := 0
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 2))
		pod := randomPod(random)
		kept, err := slimPod(pod)
		require.NoError(t, err)
		slim, ok := kept.(*corev1.Pod)
		require.True(t, ok)

		services := []intent.Service{{Name: "web", Selector: map[string]string{"app": "web"}, Headless: seed%2 == 0}}
		ns := intent.Namespace{Name: namespace, Annotations: map[string]string{intent.Prefix + "role": "server"}}
		full := intent.Resolve(defaultsWithGrants(), &ns, intent.PodOf(pod), services)
		if full.Intent != nil {
			resolvable++
		}
		if diff := cmp.Diff(full, intent.Resolve(defaultsWithGrants(), &ns, intent.PodOf(slim), services)); diff != "" {
			t.Fatalf("seed %d: full -, slim +:\n%s", seed, diff)
		}
		assert.Equal(t, companionOf(pod), companionOf(slim))
		assert.Equal(t, isAlive(pod), isAlive(slim))
		assert.Equal(t, pod.ResourceVersion, slim.ResourceVersion)
	}
	assert.Greater(t, resolvable, 100, "too few of the random pods get an Intent")
}

// randomPod is random wherever the API allows it, with the annotations of a real one.
func randomPod(random *rand.Rand) *corev1.Pod {
	pod := &corev1.Pod{}
	fill := randfill.NewWithSeed(int64(random.Uint64()>>1)).NilChance(0.3).NumElements(1, 3).MaxDepth(9)
	fill.Fill(&pod.ObjectMeta)
	fill.Fill(&pod.Spec)
	fill.Fill(&pod.Status)
	pod.Namespace, pod.Labels = namespace, map[string]string{"app": "web"}
	pod.Annotations = map[string]string{"other": "x", intent.AnnotationStatus: "{}"}
	pod.Spec.ServiceAccountName = []string{"", "web"}[random.IntN(2)]
	choices := map[string][]string{
		"role": {"server", "client", "both", "none"}, "delivery": {"csi", "secret"}, "service": {"web", "gone"},
		"containers": {"app", "side"}, "fs-group": {"3000"}, "key-algorithm": {"rsa"}, "pre-stop-seconds": {"0", "30"},
	}
	for key, values := range choices {
		if random.IntN(3) == 0 {
			pod.Annotations[intent.Prefix+key] = values[random.IntN(len(values))]
		}
	}
	if random.IntN(20) == 0 {
		pod.Annotations[corev1.MirrorPodAnnotationKey] = "x"
	}
	for i := range pod.Spec.Containers {
		pod.Spec.Containers[i].Name = []string{"app", "side", "istio-proxy"}[random.IntN(3)]
	}
	if random.IntN(12) == 0 {
		pod.Spec.NodeSelector = map[string]string{corev1.LabelOSStable: "windows"}
	}
	if pod.Spec.OS != nil {
		pod.Spec.OS.Name = []corev1.OSName{corev1.Linux, corev1.Linux, corev1.Linux, corev1.Windows}[random.IntN(4)]
	}
	return pod
}

func TestSlimPodDropsTheRest(t *testing.T) {
	pod := annotated("web-1", map[string]string{"role": "server", "status": "{}"})
	pod.Annotations["kubectl.kubernetes.io/last-applied-configuration"] = "long"
	pod.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	pod.Spec.Volumes = []corev1.Volume{{Name: "data"}}
	pod.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "SECRET", Value: "x"}}
	pod.Status.PodIP = "10.0.0.1"
	kept, err := slimPod(pod)
	require.NoError(t, err)
	want := annotated("web-1", map[string]string{"role": "server"})
	if diff := cmp.Diff(want, kept); diff != "" {
		t.Errorf("want -, kept +:\n%s", diff)
	}
}

func TestSlimCertificateKeepsOurFields(t *testing.T) {
	cert := &cmapi.Certificate{Status: cmapi.CertificateStatus{Revision: new(3)}}
	cert.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "cert-manager"}, {Manager: FieldManager}, {Manager: "kubectl"}}
	kept, err := slimCertificate(cert)
	require.NoError(t, err)
	want := &cmapi.Certificate{Status: cmapi.CertificateStatus{Revision: new(3)}}
	want.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: FieldManager}}
	assert.Equal(t, want, kept)
}

func TestSlimmingLeavesWhatItDoesNotKnow(t *testing.T) {
	gone := toolscache.DeletedFinalStateUnknown{Key: "a/b"}
	for _, slim := range []toolscache.TransformFunc{slimPod, slimCertificate} {
		kept, err := slim(gone)
		require.NoError(t, err)
		assert.Equal(t, gone, kept)
	}
}

func TestCacheByObjectSelectsOurs(t *testing.T) {
	ours := map[string]labels.Set{
		"Pod":         {intent.LabelInjected: "true"},
		"Certificate": labels.Set(Desired(resolved(t, deployed("web-5d9-a", "5d9", map[string]string{"role": "server"}))).Labels),
	}
	seen := map[string]bool{}
	for obj, by := range CacheByObject() {
		kind := "Pod"
		if _, ok := obj.(*cmapi.Certificate); ok {
			kind = "Certificate"
		}
		seen[kind] = true
		assert.True(t, by.Label.Matches(ours[kind]), kind)
		assert.False(t, by.Label.Matches(labels.Set{"app": "web"}), kind)
	}
	assert.Len(t, seen, 2)
}

func TestNewestFirst(t *testing.T) {
	made := func(name string, second int64, change ...func(*corev1.Pod)) corev1.Pod {
		pod := annotated(name, nil)
		pod.CreationTimestamp = metav1.Unix(second, 0)
		for _, f := range change {
			f(pod)
		}
		return *pod
	}
	phase := func(phase corev1.PodPhase) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Status.Phase = phase } }
	deleted := func(p *corev1.Pod) { p.DeletionTimestamp = new(metav1.Unix(9, 0)) }
	for name, test := range map[string]struct {
		pods []corev1.Pod
		want []string
	}{
		"none":              {nil, nil},
		"by time":           {[]corev1.Pod{made("a", 1), made("c", 3), made("b", 2)}, []string{"c", "b", "a"}},
		"then by name":      {[]corev1.Pod{made("b", 1), made("a", 1), made("c", 1)}, []string{"c", "b", "a"}},
		"the living only":   {[]corev1.Pod{made("a", 1), made("b", 2, phase(corev1.PodSucceeded)), made("c", 3, phase(corev1.PodFailed)), made("d", 4, deleted)}, []string{"a"}},
		"pending and lost":  {[]corev1.Pod{made("a", 1, phase(corev1.PodPending)), made("b", 2, phase(corev1.PodUnknown)), made("c", 3, phase(""))}, []string{"c", "b", "a"}},
		"nobody left alive": {[]corev1.Pod{made("a", 1, deleted)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, pod := range newestFirst(test.pods) {
				got = append(got, pod.Name)
			}
			assert.Equal(t, test.want, got)
		})
	}
}

func TestPodChanged(t *testing.T) {
	base := func() *corev1.Pod { return deployed("web-5d9-a", "5d9", map[string]string{"role": "server"}) }
	for name, test := range map[string]struct {
		change func(p *corev1.Pod)
		want   bool
	}{
		"nothing":          {func(*corev1.Pod) {}, false},
		"resource version": {func(p *corev1.Pod) { p.ResourceVersion = "2" }, false},
		"became pending":   {func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }, false},
		"ended":            {func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }, true},
		"terminates":       {func(p *corev1.Pod) { p.DeletionTimestamp = new(metav1.Now()) }, true},
		"label":            {func(p *corev1.Pod) { p.Labels["app"] = "other" }, true},
		"annotation":       {func(p *corev1.Pod) { p.Annotations[intent.Prefix+"role"] = "client" }, true},
		"adopted":          {func(p *corev1.Pod) { p.OwnerReferences[0].UID = "other" }, true},
		"released":         {func(p *corev1.Pod) { p.OwnerReferences[0].Controller = nil }, true},
		"orphaned":         {func(p *corev1.Pod) { p.OwnerReferences = nil }, true},
	} {
		t.Run(name, func(t *testing.T) {
			after := base()
			test.change(after)
			assert.Equal(t, test.want, podChanged(base(), after))
		})
	}
}

func TestIndexPod(t *testing.T) {
	assert.Equal(t, []string{"web-mtls"}, indexPod(deployed("web-5d9-a", "5d9", nil)))
	assert.Equal(t, []string{"alone-mtls-pod"}, indexPod(annotated("alone", nil)))
	assert.Nil(t, indexPod(&corev1.Service{}))
}

func TestIsAliveNeedsNoClock(t *testing.T) {
	pod := annotated("web", nil)
	pod.DeletionTimestamp = new(metav1.NewTime(time.Now().Add(time.Hour)))
	assert.False(t, isAlive(pod), "a pod that terminates is not served, however long that takes")
}
