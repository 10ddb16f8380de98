package webhook

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gomodules.xyz/jsonpatch/v2"
	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

// answerTyped is the oracle of the whole handler: the same decision, made on the typed
// objects and written by encoding/json.
func answerTyped(t testing.TB, source *memory, data []byte) *admissionv1.AdmissionResponse {
	t.Helper()
	q, err := decodeTyped(data)
	if err != nil || q.SubResource != "" || q.Operation != operationCreate || !q.Kind.isPod() || q.Pod == nil {
		return nil
	}
	found, ok := source.cached[q.Namespace]
	if !ok {
		return nil
	}
	response := &admissionv1.AdmissionResponse{UID: types.UID(q.UID), Allowed: true, AuditAnnotations: map[string]string{"outcome": "skipped"}}
	q.Pod.Metadata.Namespace = q.Namespace
	resolved := intent.Resolve(intent.BuiltinDefaults(), found.Namespace, q.Pod, found.Services)
	refused := resolved.Errors
	response.Warnings = resolved.Warnings
	if in := resolved.Intent; in != nil {
		patch := injector.Patch(q.Pod, in)
		response.AuditAnnotations = map[string]string{
			"outcome": "injected", "role": string(in.Role), "identity": in.Identity.SPIFFEID, "issuer": in.Issuer.String(),
		}
		response.Warnings = append(response.Warnings, patch.Warnings...)
		if refused = patch.Errors; len(patch.Operations) > 0 {
			response.PatchType = new(admissionv1.PatchTypeJSONPatch)
			response.Patch, err = json.Marshal(patch.Operations)
			require.NoError(t, err)
		}
	} else if len(refused) == 0 {
		response.AuditAnnotations["skip-reason"] = string(resolved.Skip)
	}
	if len(refused) > 0 {
		status := apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, q.podName(), refused).Status()
		response.Allowed, response.Result = false, &status
		response.AuditAnnotations["outcome"] = "refused"
	}
	response.Warnings = limitWarnings(response.Warnings)
	return response
}

// requireSameAnswer compares the patches as JSON, for the order of members means nothing.
func requireSameAnswer(t testing.TB, want, got *admissionv1.AdmissionResponse) {
	t.Helper()
	require.Equal(t, want.Patch == nil, got.Patch == nil)
	if want.Patch != nil {
		require.JSONEq(t, string(want.Patch), string(got.Patch))
	}
	want.Patch, got.Patch = nil, nil
	require.Equal(t, want, got)
}

// TestAnswersAreTheTypedOnes: for every pod in every namespace.
func TestAnswersAreTheTypedOnes(t *testing.T) {
	for name, annotations := range map[string]map[string]string{
		"silent":    nil,
		"a server":  {"mtls.example.io/role": "server"},
		"a client":  {"mtls.example.io/role": "client", "mtls.example.io/env": "postgres", "mtls.example.io/delivery": "secret"},
		"defaults":  {"mtls.example.io/mount-path": "/certs", "mtls.example.io/organizations": `Ümläut "GmbH" <&>`},
		"opted out": {"mtls.example.io/role": "none"},
		"mistaken":  {"mtls.example.io/role": "both", "mtls.example.io/probes": "udp"},
	} {
		t.Run(name, func(t *testing.T) {
			source := everywhere(surroundings(annotations))
			handler := newTestHandler(t, source)
			for _, pod := range podFiles(t) {
				review := reviewOf(t, pod)
				requireSameAnswer(t, answerTyped(t, source, review), post(t, handler, review))
			}
		})
	}
}

// TestStrangeText: whatever stands in uids and names comes back as it was.
func TestStrangeText(t *testing.T) {
	for _, text := range []string{`"`, `\`, "\u2028<&>", "\t\n\x00", "ü😀", strings.Repeat("x", 5000)} {
		review := strings.ReplaceAll(reviewText(`{"metadata":{"name":NAME,"annotations":{"mtls.example.io/role":NAME}},"spec":{}}`), "NAME", quote(t, text))
		review = strings.Replace(review, `"uid":"u"`, `"uid":`+quote(t, text), 1)
		source := everywhere(surroundings(nil))
		got := post(t, newTestHandler(t, source), []byte(review))
		assert.Equal(t, text, string(got.UID))
		assert.Equal(t, text, got.Result.Details.Name)
		requireSameAnswer(t, answerTyped(t, source, []byte(review)), got)
	}
}

func quote(t *testing.T, text string) string {
	t.Helper()
	quoted, err := json.Marshal(text)
	require.NoError(t, err)
	return string(quoted)
}

// TestManyWarnings: what the API server would cut is cut to fit, and still JSON.
func TestManyWarnings(t *testing.T) {
	v := verdict{label: label{outcomeInjected, reasonUnchanged}, request: &request{UID: "u"}, warnings: []string{"one", strings.Repeat("long ", 2000), "two\n"}}
	s := new(scratch)
	require.NoError(t, s.encode(&v))
	response := decodeResponse(t, s.out)
	assert.Equal(t, limitWarnings(v.warnings), response.Warnings)
	assert.Equal(t, "one", response.Warnings[0])
	assert.Contains(t, response.Warnings[len(response.Warnings)-1], "more lines of warnings")
	assert.Equal(t, map[string]string{"outcome": "injected"}, response.AuditAnnotations)
}

// TestEncodeFails: an answer that cannot be written is a failure that is told, not half
// an answer.
func TestEncodeFails(t *testing.T) {
	unmarshallable := jsonpatch.Operation{Operation: "add", Path: "/x", Value: func() {}}
	for name, tt := range map[string]struct {
		change func(*verdict)
		want   string
	}{
		"uid":      {func(v *verdict) { v.request.UID = "\xff" }, "jsontext: invalid UTF-8"},
		"patch":    {func(v *verdict) { v.operations = []jsonpatch.Operation{unmarshallable} }, "add /x: json: unsupported type: func()"},
		"identity": {func(v *verdict) { v.intent = &intent.Intent{Identity: intent.Identity{SPIFFEID: "\xff"}} }, "jsontext: invalid UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			v := verdict{label: label{outcomeInjected, reasonPatched}, request: &request{UID: "u"}}
			tt.change(&v)
			assert.EqualError(t, new(scratch).encode(&v), tt.want)
		})
	}
}

// FuzzAdmission sends anything at all. Where the typed decode makes sense of it, the
// answer is the typed one; where it does not, nothing is decided about a pod.
func FuzzAdmission(f *testing.F) {
	for _, pod := range podFiles(f) {
		f.Add(reviewOf(f, pod), "")
	}
	f.Add([]byte(reviewText(`{"metadata":{},"spec":{"containers":[{"name":"a"}]}}`)), "both")
	f.Add([]byte(reviewText(`{"metadata":{"annotations":{"mtls.example.io/x":"y"}}}`)), "none")
	f.Add([]byte(`{}`), "server")
	f.Fuzz(func(t *testing.T, data []byte, role string) {
		annotations := map[string]string{}
		if role != "" {
			annotations["mtls.example.io/role"] = role
		}
		source := everywhere(surroundings(annotations))
		w := send(newTestHandler(t, source), data)
		want := answerTyped(t, source, data)
		switch {
		case w.Code == http.StatusOK && want != nil:
			requireSameAnswer(t, want, decodeResponse(t, w.Body.Bytes()))
		case w.Code == http.StatusOK:
			got := decodeResponse(t, w.Body.Bytes())
			require.True(t, got.Allowed || got.Result.Code == http.StatusUnprocessableEntity)
		case w.Code == http.StatusInternalServerError:
			require.Equal(t, "the API server is not there\n", w.Body.String())
		default:
			require.Equal(t, http.StatusBadRequest, w.Code)
			_, err := decode(data, always)
			require.True(t, err != nil || want == nil)
		}
	})
}
