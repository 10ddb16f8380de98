package webhook

// How a decision is written for the API server.

import (
	"encoding/base64"
	stdjson "encoding/json"

	"github.com/go-json-experiment/json/jsontext"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"example.io/mtls-injector/injector"
)

// The audit annotations. The API server puts the webhook's name and a slash before each
// (admission.k8s.io/v1, AdmissionResponse.auditAnnotations).
const (
	auditOutcome    = "outcome"
	auditRole       = "role"
	auditIdentity   = "identity"
	auditIssuer     = "issuer"
	auditSkipReason = "skip-reason"
)

// encode writes the AdmissionReview that tells the verdict. The text is put together
// from its parts, for there is little in it that could go wrong and marshalling the
// typed object costs several times as much; the tests read it back as the typed object.
func (s *scratch) encode(v *verdict) error {
	out := s.out[:0]
	out = append(out, `{"kind":"`+reviewKind+`","apiVersion":"`+reviewAPIVersion+`","response":{"uid":`...)
	out, err := jsontext.AppendQuote(out, v.request.UID)
	if err != nil {
		return err
	}
	if len(v.refused) == 0 {
		out = append(out, `,"allowed":true`...)
	} else if out, err = appendRefusal(out, v); err != nil {
		return err
	}
	if len(v.operations) > 0 {
		if s.patch, err = injector.AppendJSON(s.patch[:0], v.operations); err != nil {
			return err
		}
		out = append(out, `,"patchType":"JSONPatch","patch":"`...)
		out = base64.StdEncoding.AppendEncode(out, s.patch)
		out = append(out, '"')
	}
	if out, err = appendAudit(out, v); err != nil {
		return err
	}
	if out, err = appendWarnings(out, v.warnings); err != nil {
		return err
	}
	s.out = append(out, "}}\n"...)
	return nil
}

// appendRefusal writes the Status that kubectl shows, as the API server itself would
// refuse an invalid pod.
func appendRefusal(out []byte, v *verdict) ([]byte, error) {
	status := apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, v.request.podName(), v.refused).Status()
	text, err := stdjson.Marshal(status)
	if err != nil {
		return nil, err
	}
	out = append(out, `,"allowed":false,"status":`...)
	return append(out, text...), nil
}

func appendAudit(out []byte, v *verdict) ([]byte, error) {
	if v.outcome == outcomeAllowed {
		return out, nil
	}
	out = append(out, `,"auditAnnotations":{"`+auditOutcome+`":"`...)
	out = append(out, v.outcome...)
	out = append(out, '"')
	if v.outcome == outcomeSkipped {
		out = append(out, `,"`+auditSkipReason+`":"`...)
		out = append(out, v.reason...)
		out = append(out, '"')
	}
	if v.intent != nil {
		for _, pair := range [...][2]string{
			{auditRole, string(v.intent.Role)},
			{auditIdentity, v.intent.Identity.SPIFFEID},
			{auditIssuer, v.intent.Issuer.String()},
		} {
			var err error
			out = append(out, ',', '"')
			out = append(out, pair[0]...)
			out = append(out, '"', ':')
			if out, err = jsontext.AppendQuote(out, pair[1]); err != nil {
				return nil, err
			}
		}
	}
	return append(out, '}'), nil
}

func appendWarnings(out []byte, warnings []string) ([]byte, error) {
	if len(warnings) == 0 {
		return out, nil
	}
	out = append(out, `,"warnings":`...)
	separator := byte('[')
	for _, warning := range limitWarnings(warnings) {
		var err error
		out = append(out, separator)
		if out, err = jsontext.AppendQuote(out, warning); err != nil {
			return nil, err
		}
		separator = ','
	}
	return append(out, ']'), nil
}
