package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/intent"
)

// podNamed is the request for a bare pod in the namespace shop.
func podNamed(name, annotations, volumes string) []byte {
	return []byte(reviewText(fmt.Sprintf(
		`{"metadata":{"name":%q,"labels":{"app":%q},"annotations":{%s}},"spec":{"volumes":[%s],"containers":[{"name":"app"}]}}`,
		name, name, annotations, volumes)))
}

// behind is a source that always says the same: that one Service selects pods of its name.
func behind(name string) *memory {
	found := map[string]Surroundings{"shop": {
		Namespace: &intent.Namespace{Name: "shop"},
		Services:  []intent.Service{{Name: name, Selector: map[string]string{"app": name}}},
	}}
	return &memory{cached: found, live: found}
}

const serverRole = `"mtls.example.io/role":"server"`

// TestWorkloadIsVerified: where a name rests on the workload's, somebody else's word for
// that is asked for; nowhere else.
func TestWorkloadIsVerified(t *testing.T) {
	orders := `{"name":"tls","csi":{"driver":"csi.cert-manager.io","readOnly":true,"volumeAttributes":{` +
		`"csi.cert-manager.io/issuer-name":"mtls-ca","csi.cert-manager.io/issuer-kind":"ClusterIssuer","csi.cert-manager.io/dns-names":"NAME"}}}`
	handWritten := func(name string) string { return strings.Replace(orders, "NAME", name, 1) }
	problem := field.Invalid(field.NewPath("metadata", "name"), "x", "is not of it")
	for name, c := range map[string]struct {
		body            []byte
		verified, named bool
	}{
		"a server without a Service":       {podNamed("reports", serverRole, ""), true, true},
		"a server behind a Service":        {podNamed("orders", serverRole, ""), false, false},
		"a client":                         {podNamed("reports", `"mtls.example.io/role":"client"`, ""), false, false},
		"a client with a Secret":           {podNamed("reports", `"mtls.example.io/role":"client","mtls.example.io/delivery":"secret"`, ""), true, false},
		"a hand-written volume":            {podNamed("reports", "", handWritten("reports.shop")), true, true},
		"a hand-written one for a Service": {podNamed("orders", "", handWritten("orders.shop")), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			for _, answer := range []struct {
				problem *field.Error
				err     error
			}{{nil, nil}, {problem, nil}, {nil, errors.New("the API server is not there")}} {
				source := behind("orders")
				asked := 0
				handler := NewPodHandler(PodOptions{Source: source, Metrics: newMetrics(t), Defaults: intent.BuiltinDefaults, Log: logr.Discard(),
					VerifyWorkload: func(_ context.Context, pod *intent.Pod, named bool) (*field.Error, error) {
						asked++
						assert.Equal(t, c.named, named)
						assert.Equal(t, "shop", pod.Metadata.Namespace)
						return answer.problem, answer.err
					}})
				w := send(handler, c.body)
				if !c.verified {
					assert.Zero(t, asked)
					assert.True(t, decodeResponse(t, w.Body.Bytes()).Allowed)
					continue
				}
				assert.Equal(t, 1, asked)
				assert.Equal(t, c.named, source.lives.Load() == 1, "who has a name is decided on what the API server says")
				switch {
				case answer.err != nil:
					assert.Equal(t, http.StatusInternalServerError, w.Code)
					assert.Equal(t, "verifying the pod's workload: the API server is not there\n", w.Body.String())
				case answer.problem != nil:
					response := decodeResponse(t, w.Body.Bytes())
					assert.False(t, response.Allowed)
					assert.EqualValues(t, http.StatusUnprocessableEntity, response.Result.Code)
					assert.Contains(t, response.Result.Message, `metadata.name: Invalid value: "x": is not of it`)
				default:
					assert.True(t, decodeResponse(t, w.Body.Bytes()).Allowed)
				}
			}
		})
	}
}

// TestGuardSeesEveryPod: also one that says nothing of us, in a namespace that does not.
func TestGuardSeesEveryPod(t *testing.T) {
	body := podNamed("plain", "", `{"name":"tls","csi":{"driver":"csi.cert-manager.io","readOnly":true,"volumeAttributes":{`+
		`"csi.cert-manager.io/issuer-name":"mtls-ca","csi.cert-manager.io/issuer-kind":"ClusterIssuer","csi.cert-manager.io/is-ca":"true"}}}`)
	defaults := intent.BuiltinDefaults()
	handler := NewPodHandler(PodOptions{Source: behind("orders"), Metrics: newMetrics(t), VerifyWorkload: believe, Log: logr.Discard(),
		Defaults: func() *intent.Defaults { return defaults }})
	response := post(t, handler, body)
	assert.False(t, response.Allowed)
	assert.Contains(t, response.Result.Message, "no pod is a certificate authority: leave it out")

	defaults.Guard = intent.ModeWarn
	response = post(t, handler, body)
	assert.True(t, response.Allowed)
	assert.Len(t, response.Warnings, 1)
	assert.Equal(t, "no-role", response.AuditAnnotations["skip-reason"])

	defaults.Guard = intent.ModeOff
	response = post(t, handler, body)
	assert.True(t, response.Allowed)
	assert.Empty(t, response.Warnings)
}
