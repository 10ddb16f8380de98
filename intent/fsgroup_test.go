package intent_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"example.io/mtls-injector/intent"
)

// runs returns a security context; negative numbers stand for "not set".
func runs(user, group int64, nonRoot ...bool) *intent.SecurityContext {
	sc := &intent.SecurityContext{}
	if user >= 0 {
		sc.RunAsUser = &user
	}
	if group >= 0 {
		sc.RunAsGroup = &group
	}
	for _, value := range nonRoot {
		sc.RunAsNonRoot = &value
	}
	return sc
}

// podRuns is runs for a pod, with its fsGroup.
func podRuns(sc *intent.SecurityContext, fsGroup int64) *intent.PodSecurityContext {
	pod := &intent.PodSecurityContext{RunAsUser: sc.RunAsUser, RunAsGroup: sc.RunAsGroup, RunAsNonRoot: sc.RunAsNonRoot}
	if fsGroup >= 0 {
		pod.FSGroup = &fsGroup
	}
	return pod
}

func TestFSGroup(t *testing.T) {
	const unset = -1
	unknown := func(container string) string {
		return `container "` + container + `" runs as a non-root user without a known group and may not be able to read its key: ` +
			"set its runAsGroup or the pod's securityContext.fsGroup"
	}
	const differ = "the containers run with 2 different groups, so not all can read the key: set the pod's securityContext.fsGroup"
	const noEffect = "mtls.example.io/fs-group has no effect with delivery: secret, for Secret volumes follow the pod's securityContext.fsGroup"
	for name, c := range map[string]struct {
		pod       *intent.PodSecurityContext
		migrate   *intent.SecurityContext
		app       *intent.SecurityContext
		pairs     []string
		want      *int64
		wantWarns []string
	}{
		"nothing is said":             {},
		"root, explicitly":            {pod: podRuns(runs(0, unset), unset)},
		"the pod's fsGroup":           {pod: podRuns(runs(1000, 3000), 2000)},
		"fsGroup of a nameless group": {pod: podRuns(runs(1000, unset, true), 2000)},
		"the pod's group":             {pod: podRuns(runs(1000, 3000), unset), want: new(int64(3000))},
		"the containers' group":       {migrate: runs(1, 3000), app: runs(2, 3000), want: new(int64(3000))},
		"container over pod":          {pod: podRuns(runs(1000, 1), unset), migrate: runs(unset, 2), app: runs(unset, 2), want: new(int64(2))},
		"one group and root":          {app: runs(1000, 3000), want: new(int64(3000))},
		"one group and explicit root": {migrate: runs(0, 5), app: runs(1000, 3000), want: new(int64(3000))},
		"differing groups":            {migrate: runs(1000, 3000), app: runs(1000, 4000), wantWarns: []string{differ}},
		"group 0 of a user":           {pod: podRuns(runs(1000, 0), unset)},
		"group 0 and another":         {migrate: runs(1000, 0), app: runs(1000, 3000), wantWarns: []string{differ}},
		"user without group":          {pod: podRuns(runs(1000, unset), unset), wantWarns: []string{unknown("migrate"), unknown("app")}},
		"non-root without user":       {app: runs(unset, unset, true), wantWarns: []string{unknown("app")}},
		"non-root of the pod":         {pod: podRuns(runs(unset, unset, true), unset), migrate: runs(unset, unset, false), wantWarns: []string{unknown("app")}},
		"group known of one only":     {migrate: runs(1000, unset), app: runs(1000, 3000), want: new(int64(3000)), wantWarns: []string{unknown("migrate")}},
		"group without a user":        {app: runs(unset, 3000), want: new(int64(3000))},
		"only selected ones count":    {migrate: runs(1000, 4000), app: runs(1000, 3000), pairs: []string{"containers", "app"}, want: new(int64(3000))},
		"annotation":                  {pairs: []string{"fs-group", "7"}, want: new(int64(7))},
		"annotation over fsGroup":     {pod: podRuns(runs(1000, 3000), 2000), pairs: []string{"fs-group", "7"}, want: new(int64(7))},
		"annotation settles it":       {migrate: runs(1000, 3000), app: runs(1000, unset), pairs: []string{"fs-group", "7"}, want: new(int64(7))},
		"secret":                      {pod: podRuns(runs(1000, 3000), unset), pairs: []string{"delivery", "secret"}},
		"secret and annotation":       {pairs: []string{"delivery", "secret", "fs-group", "7"}, wantWarns: []string{noEffect}},
	} {
		t.Run(name, func(t *testing.T) {
			pod := newPod(append(c.pairs, "role", "client")...)
			pod.Spec.SecurityContext = c.pod
			pod.Spec.InitContainers[0].SecurityContext = c.migrate
			pod.Spec.Containers[0].SecurityContext = c.app
			pod.Spec.Containers[1].SecurityContext = runs(1337, 1337) // istio-proxy is not served
			got := intent.Resolve(intent.BuiltinDefaults(), newNamespace(), pod, nil)
			assert.Equal(t, c.want, mustIntent(t, got).FSGroup)
			assert.Equal(t, c.wantWarns, got.Warnings)
		})
	}
}
