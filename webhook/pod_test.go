package webhook

import (
	"encoding/json"
	"net/http"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/intent"
)

// services are those of the namespace in the tests.
func services() []intent.Service {
	return []intent.Service{
		{Name: "cart", Selector: map[string]string{"app": "cart"}},
		{Name: "db", Selector: map[string]string{"app": "db"}, Headless: true},
		{Name: "invoices", Selector: map[string]string{"app": "invoices"}},
		{Name: "vault-client", Selector: map[string]string{"app": "vault-client"}},
	}
}

func surroundings(annotations map[string]string) Surroundings {
	return Surroundings{
		Namespace: &intent.Namespace{Name: "shop", Labels: map[string]string{"kubernetes.io/metadata.name": "shop"}, Annotations: annotations},
		Services:  services(),
	}
}

// everywhere is a Source whose cache is up to date.
func everywhere(s Surroundings) *memory {
	all := map[string]Surroundings{s.Namespace.Name: s}
	return &memory{cached: all, live: all}
}

// TestAdmission sends the pods of testdata/pods and compares the answers.
func TestAdmission(t *testing.T) {
	pods := podFiles(t)
	for name, tt := range map[string]struct {
		pod       string
		namespace map[string]string
		// lives and secrets are how often the API server may be asked.
		lives, secrets int64
		label          label
	}{
		"a server":                          {pod: "deployment", label: label{outcomeInjected, reasonPatched}},
		"a client":                          {pod: "client-job", label: label{outcomeInjected, reasonPatched}},
		"both with a Secret and one folder": {pod: "statefulset", secrets: 1, label: label{outcomeInjected, reasonPatched}},
		"both and restricted":               {pod: "restricted", label: label{outcomeInjected, reasonPatched}},
		"a node agent":                      {pod: "daemonset", label: label{outcomeInjected, reasonPatched}},
		"a role of the namespace":           {pod: "bare", namespace: map[string]string{"mtls.example.io/role": "client"}, label: label{outcomeInjected, reasonPatched}},
		"a server without Service":          {pod: "bare", namespace: map[string]string{"mtls.example.io/role": "server"}, lives: 1, label: label{outcomeInjected, reasonPatched}},
		"no role":                           {pod: "bare", label: label{outcomeSkipped, "no-role"}},
		"no role but other keys":            {pod: "bare", namespace: map[string]string{"mtls.example.io/delivery": "csi"}, label: label{outcomeSkipped, "no-role"}},
		"opted out":                         {pod: "opted-out", namespace: map[string]string{"mtls.example.io/role": "client"}, label: label{outcomeSkipped, "role-none"}},
		"windows":                           {pod: "windows", label: label{outcomeSkipped, "windows"}},
		"a mirror pod":                      {pod: "mirror", label: label{outcomeSkipped, "mirror-pod"}},
		"mistakes":                          {pod: "mistaken", lives: 1, label: label{outcomeRefused, reasonInvalid}},
		"mistakes of the namespace":         {pod: "bare", namespace: map[string]string{"mtls.example.io/role": "client", "mtls.example.io/duration": "1s"}, lives: 1, label: label{outcomeRefused, reasonInvalid}},
		"names of others":                   {pod: "foreign-names", lives: 1, label: label{outcomeRefused, reasonInvalid}},
		"a conflict":                        {pod: "conflict", label: label{outcomeRefused, reasonConflict}},
	} {
		t.Run(name, func(t *testing.T) {
			source := everywhere(surroundings(tt.namespace))
			metrics := newMetrics(t)
			handler := NewPodHandler(PodOptions{Source: source, Metrics: metrics, Defaults: intent.BuiltinDefaults, VerifyWorkload: believe, Log: logr.Discard()})
			requireGolden(t, name, goldenOf(t, send(handler, reviewOf(t, pods[tt.pod]))))
			assert.Equal(t, tt.lives, source.lives.Load(), "reads of Namespace and Services")
			assert.Equal(t, tt.secrets, source.secrets.Load(), "reads of Secrets")
			assertCounted(t, metrics, tt.label)
		})
	}
}

// TestAdmissionTwice: called again on its own work, the handler has nothing to add.
func TestAdmissionTwice(t *testing.T) {
	for _, name := range []string{"deployment", "client-job", "statefulset", "daemonset", "restricted"} {
		t.Run(name, func(t *testing.T) {
			metrics := newMetrics(t)
			handler := NewPodHandler(PodOptions{Source: everywhere(surroundings(nil)), Metrics: metrics, Defaults: intent.BuiltinDefaults, VerifyWorkload: believe, Log: logr.Discard()})
			review := reviewOf(t, podFiles(t)[name])
			injected := patchedObject(t, review, post(t, handler, review))
			response := post(t, handler, reviewOf(t, json.RawMessage(injected)))
			assert.True(t, response.Allowed)
			assert.Empty(t, response.Patch)
			assert.Equal(t, 1, valueOf(metrics.counters[label{outcomeInjected, reasonUnchanged}]))
		})
	}
}

// TestNamespaceOfTheRequest: the object may claim what it likes.
func TestNamespaceOfTheRequest(t *testing.T) {
	pod := podFiles(t)["deployment"]
	pod.Namespace = "kube-system"
	response := post(t, newTestHandler(t, everywhere(surroundings(nil))), reviewOf(t, pod))
	assert.Equal(t, "spiffe://cluster.local/ns/shop/sa/cart", response.AuditAnnotations["identity"])
}

// TestSpecOfOthers: of a pod that is none of our business nothing but the metadata is
// read, so nothing else in it can be wrong for us. Of any other, it must make sense.
func TestSpecOfOthers(t *testing.T) {
	const spec = `"spec":{"serviceAccountName":7,"containers":"none"}}`
	handler := newTestHandler(t, everywhere(surroundings(nil)))
	w := send(handler, []byte(reviewText(`{"metadata":{"name":"n","annotations":{"example.com/role":"server"}},`+spec)))
	require.Equal(t, http.StatusOK, w.Code)
	assert.Equal(t, "no-role", decodeResponse(t, w.Body.Bytes()).AuditAnnotations["skip-reason"])

	for _, tt := range []struct {
		source *memory
		role   string
	}{
		{everywhere(surroundings(nil)), `"mtls.example.io/role":"server"`},
		{everywhere(surroundings(map[string]string{"mtls.example.io/role": "client"})), ``},
		{&memory{}, ``}, // who knows what the namespace says
	} {
		w := send(newTestHandler(t, tt.source), []byte(reviewText(`{"metadata":{"name":"n","annotations":{`+tt.role+`}},`+spec)))
		assert.Equal(t, http.StatusBadRequest, w.Code)
		assert.Equal(t, "reading the AdmissionReview: /request/object/spec/serviceAccountName: want a string, got a number\n", w.Body.String())
	}
}

// TestStaleCache: the cache is some milliseconds late, and decisions must not be wrong for it.
func TestStaleCache(t *testing.T) {
	now := surroundings(nil)
	without := surroundings(nil)
	without.Services = nil
	other := surroundings(nil)
	other.Services = services()[2:]
	for name, tt := range map[string]struct {
		pod    string
		source *memory
		lives  int64
		// dns is what the status says, allowed whether the pod is.
		dns     string
		allowed bool
	}{
		"a namespace just made": {"deployment", &memory{live: map[string]Surroundings{"shop": now}}, 1, `"dns":["cart","cart.shop",`, true},
		"a Service just made":   {"deployment", &memory{cached: map[string]Surroundings{"shop": without}, live: map[string]Surroundings{"shop": now}}, 1, `"dns":["cart","cart.shop",`, true},
		"a Service just made, besides others": {"deployment", &memory{cached: map[string]Surroundings{"shop": other}, live: map[string]Surroundings{"shop": now}},
			1, `"dns":["cart","cart.shop",`, true},
		"a Service that is known": {"deployment", &memory{cached: map[string]Surroundings{"shop": now}}, 0, `"dns":["cart","cart.shop",`, true},
		"a client needs none":     {"client-job", &memory{cached: map[string]Surroundings{"shop": without}}, 0, "", true},
		"a named Service just made": {"named-service", &memory{cached: map[string]Surroundings{"shop": without}, live: map[string]Surroundings{"shop": now}},
			1, `"dns":["cart","cart.shop",`, true},
		"a refusal that stands": {"mistaken", everywhere(now), 1, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			pods := podFiles(t)
			pods["named-service"] = pods["deployment"].DeepCopy()
			pods["named-service"].Annotations["mtls.example.io/service"] = "cart"
			response := post(t, newTestHandler(t, tt.source), reviewOf(t, pods[tt.pod]))
			assert.Equal(t, tt.allowed, response.Allowed)
			assert.Equal(t, tt.lives, tt.source.lives.Load())
			var operations []struct {
				Path  string
				Value any
			}
			if tt.allowed {
				require.NoError(t, json.Unmarshal(response.Patch, &operations))
			}
			for _, operation := range operations {
				if operation.Path == "/metadata/annotations/mtls.example.io~1status" {
					assert.Contains(t, operation.Value, tt.dns)
				}
			}
		})
	}
}

func TestLookupFails(t *testing.T) {
	metrics := newMetrics(t)
	handler := NewPodHandler(PodOptions{Source: &memory{}, Metrics: metrics, Defaults: intent.BuiltinDefaults, VerifyWorkload: believe, Log: logr.Discard()})
	w := send(handler, fixture(t, "injected"))
	assert.Equal(t, http.StatusInternalServerError, w.Code)
	assert.Equal(t, "the API server is not there\n", w.Body.String())
	assertCounted(t, metrics, label{outcomeError, reasonLookup})
}

// TestConcurrentRequests: requests share memory one after the other, never at a time.
func TestConcurrentRequests(t *testing.T) {
	handler := newTestHandler(t, everywhere(surroundings(nil)))
	pods := podFiles(t)
	want := map[string]string{}
	bodies := map[string][]byte{}
	for name, pod := range pods {
		bodies[name] = reviewOf(t, pod)
		want[name] = send(handler, bodies[name]).Body.String()
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 5 {
				for name, body := range bodies {
					assert.Equal(t, want[name], send(handler, body).Body.String())
				}
			}
		})
	}
	group.Wait()
}
