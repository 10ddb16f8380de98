package survey

import (
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"example.io/mtls-injector/intent"
)

func podWith(annotations map[string]string, volumes ...corev1.Volume) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Annotations: annotations},
		Spec:       corev1.PodSpec{Volumes: volumes, Containers: []corev1.Container{{Name: "app"}}},
	}
}

func TestCompare(t *testing.T) {
	client := map[string]string{intent.Prefix + "role": "client"}
	ours := corev1.Volume{Name: intent.CertificateVolume}
	resolve := func(pod *corev1.Pod) *intent.Result {
		result := intent.Resolve(intent.BuiltinDefaults(), &intent.Namespace{Name: "shop"}, intent.PodOf(pod), nil)
		return &result
	}
	for name, tc := range map[string]struct {
		pod     *corev1.Pod
		optedIn bool
		state   PodState
		told    bool
	}{
		"nothing of ours":         {podWith(nil), true, Missing, false},
		"should have it":          {podWith(client), true, Missing, true},
		"nobody looks at it":      {podWith(client), false, Missing, false},
		"opted out since":         {podWith(nil, ours), true, Stale, true},
		"other than today":        {podWith(client, ours), true, Stale, true},
		"would be refused by now": {podWith(map[string]string{intent.Prefix + "role": "sever"}, ours), true, Injected, true},
	} {
		t.Run(name, func(t *testing.T) {
			compared, told := compare(tc.pod, resolve(tc.pod), tc.optedIn)
			assert.Equal(t, tc.told, told)
			assert.Equal(t, tc.state, compared.State)
			assert.Equal(t, tc.state == Stale, len(compared.Lacks) > 0, "%v", compared.Lacks)
		})
	}
}

func TestPartsOfAPod(t *testing.T) {
	pod := podWith(nil, corev1.Volume{Name: "data"}, corev1.Volume{Name: intent.BundleVolume})
	for pointer, want := range map[string]string{
		"/metadata/annotations/mtls.example.io~1status": "",
		"/metadata/labels/mtls.example.io~1injected":    "label",
		"/spec/volumes/-":                          "certificate",
		"/spec/volumes/0":                          "certificate",
		"/spec/volumes/1":                          "CA bundle",
		"/spec/containers/0/env":                   "variables",
		"/spec/containers/0/env/-":                 "variables",
		"/spec/initContainers/2/volumeMounts/-":    "mounts",
		"/spec/containers/0/lifecycle":             "preStop hook",
		"/spec/containers/1/livenessProbe/httpGet": "probes",
		"/spec/containers/1/image":                 "image",
		"/spec/initContainers/0":                   "containers",
		"/spec/shareProcessNamespace":              "shareProcessNamespace",
	} {
		assert.Equal(t, want, partOf(pod, pointer), pointer)
	}
}
