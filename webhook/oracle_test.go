package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kjson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"example.io/mtls-injector/intent"
)

func always(*request) bool { return true }

// decode reads with a reader of its own; decodeWith shows that one can be used again.
func decode(data []byte, wanted func(*request) bool) (*request, error) {
	return decodeWith(new(reader), data, wanted)
}

func decodeWith(r *reader, data []byte, wanted func(*request) bool) (*request, error) {
	r.reset(data)
	defer r.release()
	return r.decodeReview(wanted)
}

// decodeTyped is the oracle: it decodes as the API machinery does, into the typed objects,
// and takes from them what a decision needs.
func decodeTyped(data []byte) (*request, error) {
	var review admissionv1.AdmissionReview
	if err := kjson.Unmarshal(data, &review); err != nil {
		return nil, err
	}
	if review.APIVersion != "admission.k8s.io/v1" || review.Kind != "AdmissionReview" || review.Request == nil || review.Request.UID == "" {
		return nil, errors.New("no AdmissionReview v1 with a request and its uid")
	}
	typed := review.Request
	q := &request{
		UID:         string(typed.UID),
		Kind:        groupVersionKind{typed.Kind.Group, typed.Kind.Version, typed.Kind.Kind},
		SubResource: typed.SubResource,
		Name:        typed.Name,
		Namespace:   typed.Namespace,
		Operation:   string(typed.Operation),
		DryRun:      ptr.Deref(typed.DryRun, false),
	}
	if q.createsPod() && typed.Object.Raw != nil {
		var pod corev1.Pod
		if err := kjson.Unmarshal(typed.Object.Raw, &pod); err != nil {
			return nil, err
		}
		q.Pod = intent.PodOf(&pod)
	}
	return q, nil
}

// reviewOf wraps an object as the API server does.
func reviewOf(t testing.TB, pod any) []byte {
	t.Helper()
	raw, err := json.Marshal(pod)
	require.NoError(t, err)
	data, err := json.Marshal(&admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "3f9f0d1c-7c3e-4f55-9a51-6b7f0c1d2e3a", Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"}, Namespace: "shop", Operation: admissionv1.Create,
			Object: runtime.RawExtension{Raw: raw}, DryRun: new(false),
		},
	})
	require.NoError(t, err)
	return data
}

// podFiles are the manifests in testdata/pods by name.
func podFiles(t testing.TB) map[string]*corev1.Pod {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", "pods", "*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	pods := map[string]*corev1.Pod{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		var pod corev1.Pod
		require.NoError(t, yaml.UnmarshalStrict(data, &pod), path)
		pods[strings.TrimSuffix(filepath.Base(path), ".yaml")] = &pod
	}
	return pods
}

// FuzzDecode compares with the typed decode. Whatever that takes, we take and read alike, but
// for what only we refuse: names that stand twice, invalid UTF-8 and half surrogates. And
// whether the spec is wanted changes nothing but the spec.
func FuzzDecode(f *testing.F) {
	for _, pod := range podFiles(f) {
		f.Add(reviewOf(f, pod))
	}
	for _, object := range []string{`null`, `{"spec":{"volumes":[null,{"name":"\u0061"}]}}`, `{"metadata":{"labels":{"a":null}}}`} {
		f.Add([]byte(reviewText(object)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		want, wantErr := decodeTyped(data)
		got, err := decode(data, always)
		switch {
		case err == nil && wantErr == nil:
			requireEqual(t, want, got)
		case wantErr == nil:
			require.True(t, isStrictness(err), "only we refuse it: %v", err)
		}
		lazy, lazyErr := decode(data, func(*request) bool { return false })
		if err != nil {
			return
		}
		require.NoError(t, lazyErr)
		if got.Pod != nil {
			lazy.Pod.Spec = got.Pod.Spec
		}
		requireEqual(t, got, lazy)
	})
}

// requireEqual explains a difference only where there is one, for that is slow.
func requireEqual(t *testing.T, want, got *request) {
	t.Helper()
	if !reflect.DeepEqual(want, got) {
		t.Fatal(cmp.Diff(want, got))
	}
}

func isStrictness(err error) bool {
	text := fmt.Sprint(err)
	return errors.Is(err, jsontext.ErrDuplicateName) || strings.Contains(text, "invalid UTF-8") || strings.Contains(text, "invalid surrogate")
}
