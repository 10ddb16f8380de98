package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.io/mtls-injector/intent"
)

// TestYoungServices: what was made together with a Service that is known may not be known.
func TestYoungServices(t *testing.T) {
	const second = time.Second
	now := time.Now()
	old, unknown := now.Add(-time.Hour), time.Time{}
	cart := map[string]string{"app": "cart"}
	other := map[string]string{"app": "other"}
	for name, tt := range map[string]struct {
		selectors []map[string]string
		created   []time.Time
		lives     int64
	}{
		"long ago":                        {[]map[string]string{cart}, []time.Time{old}, 0},
		"nobody knows when":               {[]map[string]string{cart}, []time.Time{unknown}, 0},
		"no times at all":                 {[]map[string]string{cart}, nil, 0},
		"just now":                        {[]map[string]string{cart}, []time.Time{now}, 1},
		"some seconds ago":                {[]map[string]string{cart}, []time.Time{now.Add(-5 * second)}, 1},
		"no longer young":                 {[]map[string]string{cart}, []time.Time{now.Add(-11 * second)}, 0},
		"by a clock that is ahead":        {[]map[string]string{cart}, []time.Time{now.Add(3 * second)}, 1},
		"a second one just now":           {[]map[string]string{cart, cart}, []time.Time{old, now}, 1},
		"the first of two just now":       {[]map[string]string{cart, cart}, []time.Time{now, old}, 1},
		"another's just now":              {[]map[string]string{cart, other}, []time.Time{old, now}, 0},
		"another's just now, known first": {[]map[string]string{other, cart}, []time.Time{now, old}, 0},
		"only another's, long ago":        {[]map[string]string{other}, []time.Time{old}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			near := surroundings(nil)
			near.Services, near.Created = nil, tt.created
			for i, selector := range tt.selectors {
				near.Services = append(near.Services, intent.Service{Name: "s" + string(rune('0'+i)), Selector: selector})
			}
			source := &memory{cached: map[string]Surroundings{"shop": near}, live: map[string]Surroundings{"shop": surroundings(nil)}}
			response := post(t, newTestHandler(t, source), reviewOf(t, podFiles(t)["deployment"]))
			assert.Equal(t, tt.lives, source.lives.Load())
			assert.Equal(t, tt.lives == 1, bytes.Contains(response.Patch, []byte("cart.shop.svc.cluster.local")), "the answer is made of what is live")
		})
	}
}

// TestYoungServicesOfClients: a client has no names of Services.
func TestYoungServicesOfClients(t *testing.T) {
	near := surroundings(nil)
	pod := podFiles(t)["client-job"]
	near.Services, near.Created = []intent.Service{{Name: "s", Selector: pod.Labels}}, []time.Time{time.Now()}
	source := &memory{cached: map[string]Surroundings{"shop": near}}
	assert.NotEmpty(t, post(t, newTestHandler(t, source), reviewOf(t, pod)).Patch)
	assert.Zero(t, source.lives.Load())
}

const takenWarning = `Secret "db-mtls-statefulset" was made by somebody else: the pod mounts it as it is, and no companion Certificate is written while it is there`

// TestTakenSecret: the warning comes for pods that mount the Secret, and only for them is
// the API server asked.
func TestTakenSecret(t *testing.T) {
	injected := func(t *testing.T) []byte {
		t.Helper()
		review := reviewOf(t, podFiles(t)["statefulset"])
		handler := newTestHandler(t, everywhere(surroundings(nil)))
		return reviewOf(t, json.RawMessage(patchedObject(t, review, post(t, handler, review))))
	}
	fixtureOf := func(name string) func(*testing.T) []byte {
		return func(t *testing.T) []byte { t.Helper(); return reviewOf(t, podFiles(t)[name]) }
	}
	conflict := func(t *testing.T) []byte {
		t.Helper()
		pod := podFiles(t)["conflict"]
		pod.Annotations["mtls.example.io/delivery"] = "secret"
		return reviewOf(t, pod)
	}
	dryRun := func(t *testing.T) []byte {
		t.Helper()
		review := reviewOf(t, podFiles(t)["statefulset"])
		dry := bytes.Replace(review, []byte(`"dryRun":false`), []byte(`"dryRun":true`), 1)
		require.NotEqual(t, review, dry)
		return dry
	}
	for name, tt := range map[string]struct {
		review func(*testing.T) []byte
		taken  string
		reads  int64
		warned bool
	}{
		"taken":                    {fixtureOf("statefulset"), "shop/db-mtls-statefulset", 1, true},
		"taken, the second call":   {injected, "shop/db-mtls-statefulset", 1, true},
		"taken, a dry run":         {dryRun, "shop/db-mtls-statefulset", 1, true},
		"free":                     {fixtureOf("statefulset"), "", 1, false},
		"taken elsewhere":          {fixtureOf("statefulset"), "bank/db-mtls-statefulset", 1, false},
		"taken, of another kind":   {fixtureOf("statefulset"), "shop/db-mtls", 1, false},
		"csi":                      {fixtureOf("deployment"), "shop/cart-mtls", 0, false},
		"no role":                  {fixtureOf("bare"), "shop/solo-mtls-pod", 0, false},
		"opted out":                {fixtureOf("opted-out"), "shop/opted-out-mtls-pod", 0, false},
		"refused for its mistakes": {fixtureOf("mistaken"), "", 0, false},
		"refused for a conflict":   {conflict, "", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			source := everywhere(surroundings(nil))
			source.taken = map[string]bool{tt.taken: true}
			response := post(t, newTestHandler(t, source), tt.review(t))
			assert.Equal(t, tt.reads, source.secrets.Load())
			warned := false
			for _, text := range response.Warnings {
				warned = warned || text == takenWarning
			}
			assert.Equal(t, tt.warned, warned, "%q", response.Warnings)
			assert.False(t, strings.Contains(strings.Join(response.Warnings, " "), "somebody else") && !tt.warned)
		})
	}
}

// TestTakenSecretUnknown: when nobody can tell, the pod is injected as usual and the log
// says why nothing was said.
func TestTakenSecretUnknown(t *testing.T) {
	review := reviewOf(t, podFiles(t)["statefulset"])
	usual := post(t, newTestHandler(t, everywhere(surroundings(nil))), review)

	source := everywhere(surroundings(nil))
	source.onSecret = func(ctx context.Context) error {
		deadline, ok := ctx.Deadline()
		assert.True(t, ok)
		assert.WithinRange(t, deadline, time.Now(), time.Now().Add(9*time.Second))
		return errors.New("secrets is forbidden")
	}
	source.taken = map[string]bool{"shop/db-mtls-statefulset": true}
	var log strings.Builder
	metrics := newMetrics(t)
	handler := NewPodHandler(PodOptions{Source: source, Metrics: metrics, Defaults: intent.BuiltinDefaults, VerifyWorkload: believe, Log: textLogger(&log, 0)})
	assert.Equal(t, usual, post(t, handler, review))
	assertCounted(t, metrics, label{outcomeInjected, reasonPatched})
	first, _, _ := strings.Cut(log.String(), "\n")
	assert.Equal(t, `"msg"="cannot tell whose Secret the pod will mount" "error"="secrets is forbidden" `+
		`"uid"="3f9f0d1c-7c3e-4f55-9a51-6b7f0c1d2e3a" "namespace"="shop"`, first)
}

// TestTakenSecretAfterLive: both reads of a request end with its one deadline.
func TestTakenSecretAfterLive(t *testing.T) {
	var deadlines []time.Time
	note := func(ctx context.Context) {
		deadline, _ := ctx.Deadline()
		deadlines = append(deadlines, deadline)
	}
	source := &memory{
		onLive:   func(ctx context.Context) (Surroundings, error) { note(ctx); return surroundings(nil), nil },
		onSecret: func(ctx context.Context) error { note(ctx); return nil },
	}
	handler := NewPodHandler(PodOptions{Source: source, Metrics: newMetrics(t), Defaults: intent.BuiltinDefaults, VerifyWorkload: believe, Log: logr.Discard()})
	post(t, handler, reviewOf(t, podFiles(t)["statefulset"]))
	require.Len(t, deadlines, 2)
	assert.Equal(t, deadlines[0], deadlines[1])
	assert.False(t, deadlines[0].IsZero())
}
