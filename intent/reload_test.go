package intent_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"example.io/mtls-injector/intent"
)

func TestRestartNeedsTheCompanion(t *testing.T) {
	const detail = "reload: restart needs the companion Certificate, whose renewal restarts the workload: set companion: true or reload: none"
	for name, c := range map[string]struct {
		namespace, pod []string
		configured     func(*intent.Defaults)
		want           string
	}{
		"with it":                         {pod: []string{"reload", "restart", "companion", "true"}},
		"neither":                         {pod: []string{"reload", "none", "companion", "false"}},
		"without it":                      {pod: []string{"reload", "restart", "companion", "false"}, want: refusal("companion", "false", detail)},
		"the pod asks, its namespace not": {namespace: []string{"companion", "false"}, pod: []string{"reload", "restart"}, want: "namespace." + refusal("companion", "false", detail)},
		"the namespace asks, the pod not": {namespace: []string{"reload", "restart"}, pod: []string{"companion", "false"}, want: refusal("companion", "false", detail)},
		"asked back by the pod":           {namespace: []string{"companion", "false"}, pod: []string{"reload", "restart", "companion", "true"}},
		"given up by the pod":             {namespace: []string{"reload", "restart"}, pod: []string{"companion", "false", "reload", "none"}},
		"both by the namespace":           {namespace: []string{"reload", "restart", "companion", "false"}, want: "namespace." + refusal("companion", "false", detail)},
		"no companion by default":         {pod: []string{"reload", "restart"}, configured: withoutCompanion, want: refusal("reload", "restart", detail)},
		"restarted by default":            {pod: []string{"companion", "false"}, configured: restarting, want: refusal("companion", "false", detail)},
		"restarted by default, with it":   {configured: restarting},
	} {
		t.Run(name, func(t *testing.T) {
			d := intent.BuiltinDefaults()
			if c.configured != nil {
				c.configured(d)
			}
			got := intent.Resolve(d, newNamespace(c.namespace...), newPod(append(c.pod, "role", "client")...), nil)
			if c.want == "" {
				mustIntent(t, got)
				return
			}
			assert.Equal(t, []string{c.want}, texts(got.Errors))
		})
	}
}

func withoutCompanion(d *intent.Defaults) { d.Companion = false }

func restarting(d *intent.Defaults) { d.Reload = intent.ReloadRestart }

func TestWhoCannotBeRestarted(t *testing.T) {
	bare := &intent.Pod{Metadata: intent.PodMetadata{Name: "solo"}}
	event := func(workload string) []string {
		return []string{`mtls.example.io/reload: restart does not restart "` + workload +
			`", which is no Deployment, StatefulSet or DaemonSet: it gets an Event RestartNeeded instead`}
	}
	ends := func(workload string) []string {
		return []string{`mtls.example.io/reload: restart does not restart "` + workload +
			`", which is to end by itself: its certificate must outlast it`}
	}
	for name, c := range map[string]struct {
		pod         *intent.Pod
		ask, always []string // for a pod that asks, and for one whose namespace or configuration does
	}{
		"Deployment":    {pod: newPod()},
		"StatefulSet":   {pod: ownedBy("apps/v1", "StatefulSet", "db")},
		"DaemonSet":     {pod: ownedBy("apps/v1", "DaemonSet", "agent")},
		"ReplicaSet":    {ownedBy("apps/v1", "ReplicaSet", "old"), event("ReplicaSet/old"), event("ReplicaSet/old")},
		"Rollout":       {ownedBy("argoproj.io/v1alpha1", "Rollout", "web"), event("Rollout/web"), event("Rollout/web")},
		"bare pod":      {bare, event("Pod/solo"), event("Pod/solo")},
		"another's Job": {ownedBy("batch.volcano.sh/v1alpha1", "Job", "train"), event("Job/train"), event("Job/train")},
		"Job":           {ownedBy("batch/v1", "Job", "migrate"), ends("Job/migrate"), nil},
		"CronJob":       {ownedBy("batch/v1", "Job", "report-29391840"), ends("CronJob/report"), nil},
		"hostile kind":  {ownedBy("a/b", "Some\nKind", "x"), event(`Some\nKind/x`), event(`Some\nKind/x`)},
	} {
		t.Run(name, func(t *testing.T) {
			defaults, plain := intent.BuiltinDefaults(), newNamespace()
			warnings := func(d *intent.Defaults, namespace *intent.Namespace, pairs ...string) []string {
				pod := *c.pod
				pod.Metadata.Annotations = annotations(append(pairs, "role", "client")...)
				got := intent.Resolve(d, namespace, &pod, nil)
				mustIntent(t, got)
				return got.Warnings
			}
			assert.Nil(t, warnings(defaults, plain), "nobody asks")
			assert.Equal(t, c.ask, warnings(defaults, plain, "reload", "restart"))
			assert.Equal(t, c.always, warnings(defaults, newNamespace("reload", "restart")))
			restarting(defaults)
			assert.Equal(t, c.always, warnings(defaults, plain))
			assert.Nil(t, warnings(defaults, plain, "reload", "none"))
		})
	}
}
