package webhook

import (
	"bytes"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metafuzzer "k8s.io/apimachinery/pkg/apis/meta/fuzzer"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/randfill"

	"example.io/mtls-injector/intent"
)

func requireSameAsTyped(t testing.TB, data []byte) {
	t.Helper()
	want, err := decodeTyped(data)
	require.NoError(t, err)
	got, err := decode(data, always)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(want, got))
}

func TestDecodeFixtures(t *testing.T) {
	for _, name := range []string{"injected", "passthrough"} {
		requireSameAsTyped(t, fixture(t, name))
	}
}

func TestDecodeManifests(t *testing.T) {
	for name, pod := range podFiles(t) {
		t.Run(name, func(t *testing.T) { requireSameAsTyped(t, reviewOf(t, pod)) })
	}
}

// TestDecodeRandomPods compares on pods in which any field of core/v1 may be set, with
// the values that Kubernetes' own round trip tests use.
func TestDecodeRandomPods(t *testing.T) {
	codecs := serializer.NewCodecFactory(scheme.Scheme)
	fill := randfill.NewWithSeed(1).NilChance(.5).NumElements(0, 3).Funcs(metafuzzer.Funcs(codecs)...).Funcs(
		func(v *intstr.IntOrString, c randfill.Continue) {
			*v = intstr.FromInt32(c.Int31())
			if c.Bool() {
				*v = intstr.FromString(c.String(0))
			}
		},
	)
	r := new(reader) // the same for all, as in the pool
	for range 300 {
		var pod corev1.Pod
		fill.Fill(&pod)
		data := reviewOf(t, &pod)
		want, err := decodeTyped(data)
		require.NoError(t, err)
		got, err := decodeWith(r, data, always)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(want, got))
	}
}

// TestDecodeReadsEveryField fails when intent.Pod has a field that the decoder leaves out.
func TestDecodeReadsEveryField(t *testing.T) {
	fill := randfill.NewWithSeed(1).NilChance(0).NumElements(1, 3).MaxDepth(100).Funcs(
		func(v *intstr.IntOrString, c randfill.Continue) { *v = intstr.FromInt32(c.Int31() | 1) },
		func(v *string, c randfill.Continue) { *v = "x" + c.String(0) },
		func(v *bool, _ randfill.Continue) { *v = true },
	)
	for range 50 {
		var want intent.Pod
		fill.Fill(&want)
		got, err := decode(reviewOf(t, &want), always)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(&want, got.Pod))
	}
}

// reviewText is a review around the text of an object.
func reviewText(object string) string {
	return `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","kind":{"group":"","version":"v1","kind":"Pod"},` +
		`"namespace":"shop","operation":"CREATE","object":` + object + `}}`
}

// TestDecodeOddPods are texts that no API server sends, but that mean something all the same.
func TestDecodeOddPods(t *testing.T) {
	for name, object := range map[string]string{
		"null members":        `{"metadata":null,"spec":null}`,
		"null lists and maps": `{"metadata":{"labels":null,"annotations":null,"ownerReferences":null},"spec":{"containers":null,"volumes":null,"nodeSelector":null}}`,
		"null elements":       `{"metadata":{"labels":{"a":null}},"spec":{"containers":[null,{"name":"a","env":[null],"volumeMounts":[null]}],"volumes":[null]}}`,
		"null values":         `{"metadata":{"name":null,"ownerReferences":[{"controller":null}]},"spec":{"terminationGracePeriodSeconds":null,"os":null,"containers":[{"livenessProbe":{"httpGet":{"port":null}}}]}}`,
		"empty members":       `{"metadata":{"labels":{},"annotations":{},"ownerReferences":[]},"spec":{"containers":[],"volumes":[],"nodeSelector":{},"securityContext":{}}}`,
		"spec before all":     `{"spec":{"serviceAccountName":"sa"},"metadata":{"name":"n"}}`,
		"escaped names":       `{"m\u0065tadata":{"labels":{"\u0061/b":"\"c\"\n\ud83d\ude00"}},"\u0073pec":{}}`,
		"escaped values":      `{"metadata":{"name":"a\/b","generateName":"\\"}}`,
		"other case":          `{"Metadata":{"name":"not ours"},"metadata":{"Name":"nor this","name":"n"}}`,
		"unknown members":     `{"metadata":{"managedFields":[{"fieldsV1":{"f:a":{".":{}}}}]},"spec":{"quantum":{"entangled":[1,2.5e300,true,null]}},"status":{}}`,
		"white space":         " { \"metadata\" : { \"labels\" : { \"a\" : \"b\" } ,\n\t\"name\" : \"n\" } } ",
		"negative numbers":    `{"spec":{"terminationGracePeriodSeconds":-0,"securityContext":{"runAsUser":-9223372036854775808}}}`,
		"ports":               `{"spec":{"containers":[{"livenessProbe":{"httpGet":{"port":"http"}},"readinessProbe":{"httpGet":{"port":-1}},"startupProbe":{"httpGet":{"port":2147483647}}}]}}`,
		"other hooks":         `{"spec":{"containers":[{"lifecycle":{"preStop":{"httpGet":{"port":1}}}},{"lifecycle":{"postStart":{}}},{"lifecycle":null}]}}`,
		"own volumes": `{"spec":{"volumes":[{"name":"a","csi":{"driver":"d","readOnly":true,"volumeAttributes":{"k":"v"},"nodePublishSecretRef":{"name":"s"}}},` +
			`{"name":"b","secret":{"secretName":"s","items":[{"key":"k","path":"p","mode":256}],"defaultMode":288,"optional":true}},` +
			`{"name":"c","configMap":{"name":"c","items":[]}},{"name":"d","projected":{"sources":[{"clusterTrustBundle":{"signerName":"s","labelSelector":{"matchLabels":{"a":"b"}},"path":"p"}}]}},{"name":"e","emptyDir":{}}]}}`,
		"null object": `null`,
	} {
		t.Run(name, func(t *testing.T) { requireSameAsTyped(t, []byte(reviewText(object))) })
	}
}

// TestDecodeRefuses: "…" begins a part of an error, where the whole is very long or the
// library varies its words on purpose.
func TestDecodeRefuses(t *testing.T) {
	long := strings.Repeat("[", 20000)
	for name, tt := range map[string]struct{ text, err string }{
		"nothing":                {``, `EOF`},
		"half a review":          {`{"kind":`, `jsontext: unexpected EOF within "/kind" after offset 8`},
		"another kind of JSON":   {`[]`, `the whole text: want an object, got an array`},
		"no review":              {`{}`, `the body is "" "", but this webhook speaks admission.k8s.io/v1 AdmissionReview only: set admissionReviewVersions to [v1]`},
		"an older review":        {`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1","request":{"uid":"u"}}`, `the body is "admission.k8s.io/v1beta1" "AdmissionReview", but this webhook speaks admission.k8s.io/v1 AdmissionReview only: set admissionReviewVersions to [v1]`},
		"no request":             {`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}`, `the AdmissionReview has no request`},
		"null request":           {`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":null}`, `the AdmissionReview has no request`},
		"no uid":                 {`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{}}`, `the request has no uid`},
		"trailing data":          {reviewText(`{}`) + `{}`, `data after the end of the value, at byte 184`},
		"trailing garbage":       {reviewText(`{}`) + `x`, `jsontext: invalid character 'x' at start of value after offset 183`},
		"a name twice":           {reviewText(`{"metadata":{"name":"a","name":"b"}}`), `jsontext: duplicate object member name "name" within "/request/object/metadata"`},
		"a name twice, escaped":  {reviewText(`{"metadata":{"name":"a","n\u0061me":"b"}}`), `jsontext: duplicate object member name "name" within "/request/object/metadata"`},
		"a label twice":          {reviewText(`{"metadata":{"labels":{"a":"1","a":"2"}}}`), `jsontext: duplicate object member name "a" within "/request/object/metadata/labels"`},
		"unwanted, but twice":    {reviewText(`{"status":{"x":{"a":1,"a":2}}}`), `jsontext: duplicate object member name "a" within "/request/object/status/x"`},
		"in a volume, twice":     {reviewText(`{"spec":{"volumes":[{"csi":{"driver":"a","driver":"b"}}]}}`), `jsontext: duplicate object member name "driver" within "/request/object/spec/volumes/0/csi"`},
		"invalid UTF-8":          {reviewText("{\"metadata\":{\"name\":\"\xff\"}}"), `jsontext: invalid UTF-8 within "/request/object/metadata/name" after offset 200`},
		"unwanted invalid UTF-8": {reviewText("{\"status\":{\"x\":\"\xff\"}}"), `jsontext: invalid UTF-8 within "/request/object/status/x" after offset 195`},
		"half a surrogate pair":  {reviewText(`{"metadata":{"name":"\ud800"}}`), "jsontext: invalid surrogate pair `\\ud800\"}}}}` in string within \"/request/object/metadata/name\" after offset 200"},
		"a number for a name":    {reviewText(`{"metadata":{"name":5}}`), `/request/object/metadata/name: want a string, got a number`},
		"an object for a label":  {reviewText(`{"metadata":{"labels":{"a":{}}}}`), `/request/object/metadata/labels/a: want a string, got an object`},
		"a list for a map":       {reviewText(`{"metadata":{"labels":[]}}`), `/request/object/metadata/labels: want an object, got an array`},
		"an object for a list":   {reviewText(`{"spec":{"containers":{}}}`), `/request/object/spec/containers: want an array, got an object`},
		"a string for a pod":     {reviewText(`"pod"`), `/request/object: want an object, got a string`},
		"a string for a boolean": {reviewText(`{"metadata":{"ownerReferences":[{"controller":"true"}]}}`), `/request/object/metadata/ownerReferences/0/controller: want a boolean, got a string`},
		"a boolean for a port":   {reviewText(`{"spec":{"containers":[{"livenessProbe":{"httpGet":{"port":true}}}]}}`), `/request/object/spec/containers/0/livenessProbe/httpGet/port: want a number, got a boolean`},
		"a fraction":             {reviewText(`{"spec":{"terminationGracePeriodSeconds":1.5}}`), `/request/object/spec/terminationGracePeriodSeconds: strconv.ParseInt: parsing "1.5": invalid syntax`},
		"a number too large":     {reviewText(`{"spec":{"terminationGracePeriodSeconds":9223372036854775808}}`), `/request/object/spec/terminationGracePeriodSeconds: strconv.ParseInt: parsing "9223372036854775808": value out of range`},
		"a port too large":       {reviewText(`{"spec":{"containers":[{"livenessProbe":{"httpGet":{"port":2147483648}}}]}}`), `/request/object/spec/containers/0/livenessProbe/httpGet/port: 2147483648 is out of range`},
		"a volume's wrong type":  {reviewText(`{"spec":{"volumes":[{"csi":{"driver":5}}]}}`), `… unmarshal JSON number into Go string within "/request/object/spec/volumes/0/csi/driver"`},
		"too deep":               {reviewText(`{"status":` + long), `…jsontext: exceeded max depth within`},
	} {
		t.Run(name, func(t *testing.T) {
			q, err := decode([]byte(tt.text), always)
			require.Error(t, err)
			assert.Nil(t, q)
			if part, ok := strings.CutPrefix(tt.err, "…"); ok {
				assert.ErrorContains(t, err, part)
				return
			}
			assert.EqualError(t, err, tt.err)
		})
	}
}

// TestDecodeOrder: the members of a request may come in any order, even if the API server
// has one of its own.
func TestDecodeOrder(t *testing.T) {
	for name, text := range map[string]string{
		"object first":              `{"request":{"object":{"metadata":{"name":"n"},"spec":{"serviceAccountName":"sa"}},"uid":"u","kind":{"version":"v1","kind":"Pod"},"operation":"CREATE","namespace":"shop"},"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`,
		"object between":            `{"request":{"uid":"u","operation":"CREATE","object":{"metadata":{"labels":{"a":"b"}}},"kind":{"version":"v1","kind":"Pod"}},"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`,
		"first, and not to be read": `{"request":{"object":{"metadata":{"name":5}},"uid":"u","kind":{"version":"v1","kind":"Pod"},"operation":"DELETE"},"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`,
		"first, and null":           `{"request":{"object":null,"uid":"u","kind":{"version":"v1","kind":"Pod"},"operation":"CREATE"},"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`,
	} {
		t.Run(name, func(t *testing.T) { requireSameAsTyped(t, []byte(text)) })
	}
	t.Run("first, and wrong", func(t *testing.T) {
		_, err := decode([]byte(`{"request":{"object":{"metadata":{"name":5}},"uid":"u","kind":{"version":"v1","kind":"Pod"},"operation":"CREATE"},"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`), always)
		assert.EqualError(t, err, "/metadata/name: want a string, got a number")
	})
}

// TestDecodeUnwantedSpec: the spec is checked, but not read.
func TestDecodeUnwantedSpec(t *testing.T) {
	var asked []*request
	never := func(q *request) bool {
		asked = append(asked, q)
		return false
	}
	q, err := decode([]byte(reviewText(`{"metadata":{"name":"n","annotations":{"a":"b"}},"spec":{"serviceAccountName":"sa","containers":7}}`)), never)
	require.NoError(t, err)
	assert.Equal(t, &intent.Pod{Metadata: intent.PodMetadata{Name: "n", Annotations: map[string]string{"a": "b"}}}, q.Pod)
	require.Len(t, asked, 1, "asked once, after the metadata")
	assert.Same(t, q, asked[0])

	_, err = decode([]byte(reviewText(`{"metadata":{},"spec":{"a":1,"a":2}}`)), never)
	assert.ErrorIs(t, err, jsontext.ErrDuplicateName)

	asked = nil
	q, err = decode([]byte(reviewText(`{"spec":{"serviceAccountName":"sa"},"metadata":{"name":"n"}}`)), never)
	require.NoError(t, err)
	assert.Equal(t, "sa", q.Pod.Spec.ServiceAccountName, "without metadata nobody can tell")
	assert.Empty(t, asked)
}

// TestDecodeKeepsNothing: what was decoded must not change with the buffer it came from,
// which is used for the next request.
func TestDecodeKeepsNothing(t *testing.T) {
	r := new(reader)
	data := fixture(t, "injected")
	buffer := bytes.Clone(data)
	got, err := decodeWith(r, buffer, always)
	require.NoError(t, err)
	for i := range buffer {
		buffer[i] = '!'
	}
	_, err = decodeWith(r, fixture(t, "passthrough"), always)
	require.NoError(t, err)
	want, err := decodeTyped(data)
	require.NoError(t, err)
	assert.Empty(t, cmp.Diff(want, got))
}

// TestReaderAfterError: an error leaves nothing behind for the next request.
func TestReaderAfterError(t *testing.T) {
	r := new(reader)
	data := fixture(t, "injected")
	want, err := decodeTyped(data)
	require.NoError(t, err)
	for cut := 1; cut < len(data)-1; cut += 97 {
		_, err := decodeWith(r, data[:cut], always)
		require.Error(t, err)
		got, err := decodeWith(r, data, always)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(want, got))
	}
}

func TestGroupVersionKindString(t *testing.T) {
	assert.Equal(t, "v1 Pod", groupVersionKind{Version: "v1", Kind: "Pod"}.String())
	assert.Equal(t, "apps/v1 Deployment", groupVersionKind{"apps", "v1", "Deployment"}.String())
}

func TestPodName(t *testing.T) {
	named := &intent.Pod{Metadata: intent.PodMetadata{Name: "object", GenerateName: "generated-"}}
	generated := &intent.Pod{Metadata: intent.PodMetadata{GenerateName: "generated-"}}
	for want, q := range map[string]*request{
		"request":    {Name: "request", Pod: named},
		"object":     {Pod: named},
		"generated-": {Pod: generated},
		"":           {},
	} {
		assert.Equal(t, want, q.podName())
	}
}
