package intent_test

// What hangs together in decide.go: containers, companion and delivery, reload and agent.

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"example.io/mtls-injector/intent"
)

func TestContainers(t *testing.T) {
	const absent = `mtls.example.io/containers names "`
	for name, c := range map[string]struct {
		namespace, pod []string
		included       []string
		warnings       []string
	}{
		"all but the configuration's":        {nil, nil, []string{"migrate", "app"}, nil},
		"one":                                {nil, []string{"containers", "app"}, []string{"app"}, nil},
		"one that is excluded by default":    {nil, []string{"containers", "istio-proxy"}, []string{"istio-proxy"}, nil},
		"less one":                           {nil, []string{"exclude-containers", "migrate"}, []string{"app"}, nil},
		"named and excluded":                 {nil, []string{"containers", "app,migrate", "exclude-containers", "migrate"}, []string{"app"}, nil},
		"named by the namespace, excluded":   {[]string{"containers", "app,migrate"}, []string{"exclude-containers", "app"}, []string{"migrate"}, nil},
		"absent":                             {nil, []string{"containers", "sidecar"}, nil, []string{absent + `sidecar", which the pod does not have`}},
		"mistyped":                           {nil, []string{"containers", "ap,migrate"}, []string{"migrate"}, []string{absent + `ap", which the pod does not have; did you mean "app"?`}},
		"absent ones of a namespace are not": {[]string{"containers", "app,worker"}, nil, []string{"app"}, nil},
		"absent ones to exclude are not":     {nil, []string{"exclude-containers", "worker"}, []string{"migrate", "app"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			pod := newPod(append(c.pod, "role", "client")...)
			got := intent.Resolve(intent.BuiltinDefaults(), newNamespace(c.namespace...), pod, nil)
			selection := mustIntent(t, got).Containers
			var included []string
			for _, container := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
				if selection.Includes(container.Name) {
					included = append(included, container.Name)
				}
			}
			assert.Equal(t, c.included, included)
			assert.Equal(t, c.warnings, got.Warnings)
		})
	}
}

func TestExclusionOfEveryNamedContainer(t *testing.T) {
	const detail = "exclude-containers takes out every one of them"
	onPod := resolveServer("containers", "app", "exclude-containers", "app")
	assert.Equal(t, []string{refusal("containers", "app", detail)}, texts(onPod.Errors))

	inherited := intent.Resolve(intent.BuiltinDefaults(), newNamespace("containers", "app"), newPod("role", "client", "exclude-containers", "app"), nil)
	assert.Equal(t, []string{"namespace." + refusal("containers", "app", detail)}, texts(inherited.Errors))
}

// TestSelectionDoesNotShareTheDefaults: two pods' exclusions must not meet in one array.
func TestSelectionDoesNotShareTheDefaults(t *testing.T) {
	d := intent.BuiltinDefaults()
	d.ExcludeContainers = append(make([]string, 0, 10), "envoy")
	first := mustIntent(t, intent.Resolve(d, newNamespace(), newPod("role", "client", "exclude-containers", "a"), nil))
	mustIntent(t, intent.Resolve(d, newNamespace(), newPod("role", "client", "exclude-containers", "b"), nil))
	assert.Equal(t, []string{"envoy", "a"}, first.Containers.Exclude)
}

func TestCompanionAndDelivery(t *testing.T) {
	const detail = "must be true with delivery: secret, whose Secret is the companion Certificate's"
	for name, c := range map[string]struct {
		namespace, pod []string
		configured     bool
		want           []string
	}{
		"secret with it":             {pod: []string{"delivery", "secret"}, configured: true},
		"csi without it":             {pod: []string{"companion", "false"}, configured: true},
		"secret without it":          {pod: []string{"delivery", "secret", "companion", "false"}, configured: true, want: []string{refusal("companion", "false", detail)}},
		"asked back":                 {pod: []string{"delivery", "secret", "companion", "true"}},
		"without by the namespace":   {namespace: []string{"companion", "false"}, pod: []string{"delivery", "secret"}, configured: true, want: []string{"namespace." + refusal("companion", "false", detail)}},
		"without by the default":     {pod: []string{"delivery", "secret"}, want: []string{refusal("companion", "", detail)}},
		"pod beats the namespace":    {namespace: []string{"companion", "false", "delivery", "secret"}, pod: []string{"delivery", "csi"}, configured: true},
		"secret of the namespace, +": {namespace: []string{"delivery", "secret"}, pod: []string{"companion", "false"}, configured: true, want: []string{refusal("companion", "false", detail)}},
	} {
		t.Run(name, func(t *testing.T) {
			d := intent.BuiltinDefaults()
			d.Companion = c.configured
			got := intent.Resolve(d, newNamespace(c.namespace...), newPod(append(c.pod, "role", "client")...), nil)
			assert.Equal(t, c.want, texts(got.Errors))
			if c.want == nil {
				assert.Equal(t, "web-mtls", mustIntent(t, got).CompanionName, "known even without a companion")
			}
		})
	}
}
