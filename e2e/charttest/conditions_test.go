package charttest

// The conditions on which the API server asks the webhook, evaluated by the API server's own
// code, with no more of CEL than the oldest version that the chart supports.

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel/environment"
	"sigs.k8s.io/yaml"
)

const (
	podsWebhook       = "pods.mtls.example.io"
	workloadsWebhook  = "workloads.mtls.example.io"
	namespacesWebhook = "namespaces.mtls.example.io"
)

// oldest is that of kubeVersion in Chart.yaml.
var oldest = version.MajorMinor(1, 28)

// conditionsOf returns the conditions of every webhook, by the webhook's name.
func conditionsOf(t *testing.T, args ...string) map[string][]admissionv1.MatchCondition {
	t.Helper()
	objects := template(t, args...)
	all := map[string][]admissionv1.MatchCondition{}
	for _, webhook := range must[admissionv1.MutatingWebhookConfiguration](t, objects, "MutatingWebhookConfiguration", Release).Webhooks {
		all[webhook.Name] = webhook.MatchConditions
	}
	for _, webhook := range must[admissionv1.ValidatingWebhookConfiguration](t, objects, "ValidatingWebhookConfiguration", Release).Webhooks {
		all[webhook.Name] = webhook.MatchConditions
	}
	return all
}

// matcherOf compiles conditions; what is wrong with them comes with the first match.
func matcherOf(conditions []admissionv1.MatchCondition) matchconditions.Matcher {
	expressions := make([]cel.ExpressionAccessor, len(conditions))
	for i := range conditions {
		expressions[i] = (*matchconditions.MatchCondition)(&conditions[i])
	}
	compiler := cel.NewConditionCompiler(environment.MustBaseEnvSet(oldest))
	declared := cel.OptionalVariableDeclarations{HasAuthorizer: true}
	fail := admissionv1.Fail
	return matchconditions.NewMatcher(compiler.CompileCondition(expressions, declared, environment.NewExpressions), &fail, "webhook", "admit", "test")
}

// asked is a request to write an object, as YAML in flow style; old is set for an update.
type asked struct {
	object, old string
	groups      []string
}

func (a asked) attributes(t *testing.T) *admission.VersionedAttributes {
	t.Helper()
	parse := func(text string) runtime.Object {
		if text == "" {
			return nil
		}
		object := &unstructured.Unstructured{}
		require.NoError(t, yaml.Unmarshal([]byte(text), &object.Object))
		return object
	}
	object, old := parse(a.object), parse(a.old)
	kind := object.GetObjectKind().GroupVersionKind()
	operation := admission.Create
	if old != nil {
		operation = admission.Update
	}
	resource := schema.GroupVersionResource{Group: kind.Group, Version: kind.Version, Resource: strings.ToLower(kind.Kind) + "s"}
	who := &user.DefaultInfo{Name: "somebody", Groups: a.groups}
	record := admission.NewAttributesRecord(object, old, kind, "shop", "cart", resource, "", operation, nil, false, who)
	return &admission.VersionedAttributes{Attributes: record, VersionedObject: object, VersionedOldObject: old, VersionedKind: kind}
}

// unasked asserts that the request fails the condition of that name; empty is for none.
func (a asked) unasked(t *testing.T, matcher matchconditions.Matcher, condition string) {
	t.Helper()
	result := matcher.Match(t.Context(), a.attributes(t), nil, nil)
	require.NoError(t, result.Error)
	assert.Equal(t, condition, result.FailedConditionName)
	assert.Equal(t, condition == "", result.Matches)
}

// TestPodsThatAreAskedAbout: only a kubelet's mirror pods are not.
func TestPodsThatAreAskedAbout(t *testing.T) {
	const mirror = "{apiVersion: v1, kind: Pod, metadata: {name: cart, annotations: {kubernetes.io/config.mirror: abc}}}"
	nodes := []string{"system:nodes", "system:authenticated"}
	for name, tt := range map[string]struct {
		asked
		failed string
	}{
		"a kubelet's mirror":            {asked{object: mirror, groups: nodes}, "not-a-mirror-pod"},
		"a mirror of somebody's":        {asked{object: mirror, groups: []string{"system:authenticated"}}, ""},
		"a mirror of somebody without":  {asked{object: mirror}, ""},
		"another pod of a kubelet's":    {asked{object: "{apiVersion: v1, kind: Pod, metadata: {name: cart, annotations: {a: b}}}", groups: nodes}, ""},
		"a pod without annotations":     {asked{object: "{apiVersion: v1, kind: Pod, metadata: {name: cart}}"}, ""},
		"a kubelet's, no annotations":   {asked{object: "{apiVersion: v1, kind: Pod, metadata: {name: cart}}", groups: nodes}, ""},
		"the annotation's name as text": {asked{object: "{apiVersion: v1, kind: Pod, metadata: {name: cart, annotations: {x: kubernetes.io/config.mirror}}}", groups: nodes}, ""},
	} {
		t.Run(name, func(t *testing.T) { tt.unasked(t, matcherOf(conditionsOf(t)[podsWebhook]), tt.failed) })
	}
}

// TestWorkloadsThatAreAskedAbout: what is created, unless owned, and what changes that a
// decision rests on.
func TestWorkloadsThatAreAskedAbout(t *testing.T) {
	const owned, changed = "not-owned", "changes-what-is-checked"
	matcher := matcherOf(conditionsOf(t)[workloadsWebhook])
	base := func(apiVersion, kind, metadata, spec string) string {
		return "{apiVersion: " + apiVersion + ", kind: " + kind + ", metadata: {name: cart" + metadata + "}, spec: {replicas: 1" + spec + "}}"
	}
	const template = ", template: {metadata: {annotations: {mtls.example.io/role: server}}, spec: {containers: [{name: main, image: a}]}}"
	const another = ", template: {metadata: {annotations: {mtls.example.io/role: server}}, spec: {containers: [{name: main, image: b}]}}"
	kinds := map[string]string{
		"Deployment": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1", "ReplicaSet": "apps/v1",
		"Job": "batch/v1", "CronJob": "batch/v1", "ReplicationController": "v1", "Rollout": "argoproj.io/v1alpha1",
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		with := func(metadata, template string) string {
			if kind == "CronJob" && template != "" {
				template = ", jobTemplate: {spec: {" + strings.TrimPrefix(template, ", ") + "}}"
			}
			return base(kinds[kind], kind, metadata, template)
		}
		const note, other = ", annotations: {mtls.example.io/role: server}", ", annotations: {mtls.example.io/role: client}"
		const controlled = ", ownerReferences: [{apiVersion: v1, kind: X, name: x, uid: y}, {apiVersion: v1, kind: X, name: x, uid: y, controller: true}]"
		const referred = ", ownerReferences: [{apiVersion: v1, kind: X, name: x, uid: y, controller: false}, {apiVersion: v1, kind: X, name: z, uid: z}]"
		for name, tt := range map[string]struct {
			asked
			failed string
		}{
			"created":                     {asked{object: with("", template)}, ""},
			"created, empty":              {asked{object: with("", "")}, ""},
			"created, owned":              {asked{object: with(controlled, template)}, owned},
			"created, referred to":        {asked{object: with(referred, template)}, ""},
			"changed, owned":              {asked{object: with(controlled, another), old: with(controlled, template)}, owned},
			"released by its owner":       {asked{object: with("", template), old: with(controlled, template)}, changed},
			"nothing":                     {asked{object: with(note, template), old: with(note, template)}, changed},
			"a label":                     {asked{object: with(", labels: {a: b}", template), old: with("", template)}, changed},
			"an annotation":               {asked{object: with(note, template), old: with(other, template)}, ""},
			"an annotation more":          {asked{object: with(note, template), old: with("", template)}, ""},
			"an annotation less":          {asked{object: with("", template), old: with(note, template)}, ""},
			"the template":                {asked{object: with("", another), old: with("", template)}, ""},
			"a template where none was":   {asked{object: with("", template), old: with("", "")}, ""},
			"no template where there was": {asked{object: with("", ""), old: with("", template)}, ""},
			"replicas": {asked{object: with("", template),
				old: strings.Replace(with("", template), "replicas: 1", "replicas: 3, paused: true", 1)}, changed},
			"without a spec": {asked{object: "{apiVersion: " + kinds[kind] + ", kind: " + kind + ", metadata: {name: cart}}",
				old: "{apiVersion: " + kinds[kind] + ", kind: " + kind + ", metadata: {name: cart}}"}, changed},
		} {
			t.Run(kind+" "+name, func(t *testing.T) { tt.unasked(t, matcher, tt.failed) })
		}
	}
}

// TestJobsOfCronJobs: annotations on the Jobs of a CronJob are warned of, so they count.
func TestJobsOfCronJobs(t *testing.T) {
	job := func(annotation string) string {
		return "{apiVersion: batch/v1, kind: CronJob, metadata: {name: cart}, spec: {jobTemplate: {metadata: {annotations: {a: " + annotation + "}}}}}"
	}
	asked{object: job("b"), old: job("c")}.unasked(t, matcherOf(conditionsOf(t)[workloadsWebhook]), "")
}

// TestNamespacesThatAreAskedAbout: what is created, and what changes labels or annotations.
func TestNamespacesThatAreAskedAbout(t *testing.T) {
	const changed = "changes-what-is-checked"
	matcher := matcherOf(conditionsOf(t)[namespacesWebhook])
	of := func(metadata, rest string) string {
		return "{apiVersion: v1, kind: Namespace, metadata: {name: shop" + metadata + "}" + rest + "}"
	}
	for name, tt := range map[string]struct {
		asked
		failed string
	}{
		"created":       {asked{object: of("", "")}, ""},
		"nothing":       {asked{object: of("", ""), old: of("", "")}, changed},
		"finalizers":    {asked{object: of(", labels: {a: b}", ", spec: {finalizers: [a]}"), old: of(", labels: {a: b}", "")}, changed},
		"a label":       {asked{object: of(", labels: {a: b}", ""), old: of(", labels: {a: c}", "")}, ""},
		"the first":     {asked{object: of(", labels: {a: b}", ""), old: of("", "")}, ""},
		"an annotation": {asked{object: of("", ""), old: of(", annotations: {a: b}", "")}, ""},
	} {
		t.Run(name, func(t *testing.T) { tt.unasked(t, matcher, tt.failed) })
	}
}

// TestMoreConditions: the user's come after ours, and every variation's compile.
func TestMoreConditions(t *testing.T) {
	for name, args := range variations(t) {
		if name == "small" { // without the validating webhooks
			continue
		}
		for webhook, conditions := range conditionsOf(t, args...) {
			kind := map[string]string{podsWebhook: "Pod", namespacesWebhook: "Namespace"}[webhook]
			if kind == "" {
				kind = "Fleet"
			}
			result := matcherOf(conditions).Match(t.Context(),
				asked{object: "{apiVersion: v1, kind: " + kind + ", metadata: {name: cart}}", groups: []string{"x"}}.attributes(t), nil, nil)
			assert.NoError(t, result.Error, "%s %s", name, webhook)
			assert.True(t, result.Matches, "%s %s", name, webhook)
		}
	}
	args := variations(t)["everything"]
	asked{object: "{apiVersion: v1, kind: Pod, metadata: {name: cart, labels: {job-name: x}}}"}.unasked(t, matcherOf(conditionsOf(t, args...)[podsWebhook]), "not-a-job")
	asked{object: "{apiVersion: v1, kind: Namespace, metadata: {name: preview-1}}"}.unasked(t, matcherOf(conditionsOf(t, args...)[namespacesWebhook]), "not-a-preview")
}
