package tap

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestStepOf(t *testing.T) {
	for name, tc := range map[string]struct {
		method, path string
		want         Step
		namespace    string
	}{
		"core, created": {http.MethodPost, "/api/v1/namespaces/shop/secrets", Step{Method: "POST", Resource: "secrets"}, "shop"},
		"core, deleted": {http.MethodDelete, "/api/v1/namespaces/shop/secrets/web-mtls", Step{Method: "DELETE", Resource: "secrets", Name: "web-mtls"}, "shop"},
		"a group, applied": {http.MethodPatch, "/apis/apps/v1/namespaces/shop/deployments/web?fieldManager=us&force=true",
			Step{Method: "PATCH", Resource: "deployments.apps", Name: "web"}, "shop"},
		"a subresource": {http.MethodPut, "/apis/cert-manager.io/v1/namespaces/shop/certificates/web-mtls/status",
			Step{Method: "PUT", Resource: "certificates.cert-manager.io/status", Name: "web-mtls"}, "shop"},
		"a collection":                  {http.MethodDelete, "/api/v1/namespaces/shop/pods", Step{Method: "DELETE", Resource: "pods"}, "shop"},
		"in no namespace":               {http.MethodPost, "/apis/authentication.k8s.io/v1/tokenreviews", Step{Method: "POST", Resource: "tokenreviews.authentication.k8s.io"}, ""},
		"a namespace":                   {http.MethodPatch, "/api/v1/namespaces/shop", Step{Method: "PATCH", Resource: "namespaces", Name: "shop"}, ""},
		"a namespace's status":          {http.MethodPatch, "/api/v1/namespaces/shop/status", Step{Method: "PATCH", Resource: "namespaces/status", Name: "shop"}, ""},
		"a new Event":                   {http.MethodPost, "/apis/events.k8s.io/v1/namespaces/shop/events", Step{Method: "POST", Resource: "events.events.k8s.io"}, "shop"},
		"an Event again":                {http.MethodPatch, "/apis/events.k8s.io/v1/namespaces/shop/events/web.18a1", Step{Method: "PATCH", Resource: "events.events.k8s.io"}, "shop"},
		"a core Event again":            {http.MethodPatch, "/api/v1/namespaces/shop/events/web.18a1", Step{Method: "PATCH", Resource: "events"}, "shop"},
		"a namespace of a telling name": {http.MethodDelete, "/api/v1/namespaces/status/pods/web", Step{Method: "DELETE", Resource: "pods", Name: "web"}, "status"},
		"no resource":                   {http.MethodPost, "/healthz", Step{Method: "POST", Resource: "/healthz"}, ""},
		"nothing":                       {http.MethodPost, "/api/v1", Step{Method: "POST", Resource: "/api/v1"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			step, namespace, changes := stepOf(httptest.NewRequest(tc.method, tc.path, nil))
			assert.True(t, changes)
			assert.Equal(t, tc.want, step)
			assert.Equal(t, tc.namespace, namespace)
		})
	}
}

func TestWhatIsNoStep(t *testing.T) {
	for name, tc := range map[string]struct{ method, path string }{
		"a read":           {http.MethodGet, "/api/v1/namespaces/shop/secrets/web-mtls"},
		"a watch":          {http.MethodGet, "/api/v1/pods?watch=true"},
		"options":          {http.MethodOptions, "/api/v1/pods"},
		"a Lease, renewed": {http.MethodPut, "/apis/coordination.k8s.io/v1/namespaces/mtls-injector/leases/mtls-injector"},
		"a Lease, made":    {http.MethodPost, "/apis/coordination.k8s.io/v1/namespaces/mtls-injector/leases"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, changes := stepOf(httptest.NewRequest(tc.method, tc.path, nil))
			assert.False(t, changes)
		})
	}
}

func TestStepInWords(t *testing.T) {
	assert.Equal(t, "PATCH deployments.apps web", Step{"PATCH", "deployments.apps", "web", 1}.String())
	assert.Equal(t, "POST events (2)", Step{"POST", "events", "", 2}.String())
}
