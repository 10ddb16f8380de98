package offline

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"example.io/mtls-injector/cmd/kubectl-mtls/manifest"
	"example.io/mtls-injector/intent"
)

// decide returns what is decided about the manifest with the builtin configuration.
func decide(t *testing.T, text string, options Options) ([]Decision, []Problem) {
	t.Helper()
	docs, errs := manifest.Read("in.yaml", []byte(text))
	require.Empty(t, errs)
	options.Defaults = intent.BuiltinDefaults()
	return Decide(docs, &options)
}

// workload returns a manifest with a pod template at spec.template, in flow style.
func workload(apiVersion, kind, metadata, annotations string) string {
	return fmt.Sprintf("{apiVersion: %s, kind: %s, metadata: {%s}, spec: {template: {metadata: {labels: {app: web}, annotations: {%s}}, "+
		"spec: {containers: [{name: main}]}}}}\n", apiVersion, kind, metadata, annotations)
}

const (
	server = "mtls.example.io/role: server"
	client = "mtls.example.io/role: client"
)

// The workload offline is the one that the webhook finds from owner references.
func TestWorkloads(t *testing.T) {
	const owned = "name: web, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: other, controller: true}]"
	for name, c := range map[string]struct {
		text string
		want intent.Workload
	}{
		"Deployment":            {workload("apps/v1", "Deployment", "name: web", client), intent.Workload{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}},
		"old Deployment":        {workload("extensions/v1beta1", "Deployment", "name: web", client), intent.Workload{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}},
		"StatefulSet":           {workload("apps/v1", "StatefulSet", "name: web", client), intent.Workload{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "web"}},
		"DaemonSet":             {workload("apps/v1", "DaemonSet", "name: web", client), intent.Workload{APIVersion: "apps/v1", Kind: "DaemonSet", Name: "web"}},
		"ReplicaSet":            {workload("apps/v1", "ReplicaSet", "name: web", client), intent.Workload{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web"}},
		"ReplicationController": {workload("v1", "ReplicationController", "name: web", client), intent.Workload{APIVersion: "v1", Kind: "ReplicationController", Name: "web"}},
		"Job":                   {workload("batch/v1", "Job", "name: web", client), intent.Workload{APIVersion: "batch/v1", Kind: "Job", Name: "web"}},
		"Rollout":               {workload("argoproj.io/v1alpha1", "Rollout", "name: web", client), intent.Workload{APIVersion: "argoproj.io/v1alpha1", Kind: "Rollout", Name: "web"}},
		"custom":                {workload("x.io/v1", "Fleet", "name: web", client), intent.Workload{APIVersion: "x.io/v1", Kind: "Fleet", Name: "web"}},
		"ReplicaSet of a Deployment, as the cluster shows it": {
			strings.Replace(workload("apps/v1", "ReplicaSet", "name: web-5c6d", client), "{app: web}", "{app: web, pod-template-hash: 5c6d}", 1),
			intent.Workload{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
		},
		"Job of a CronJob, as the cluster shows it": {
			workload("batch/v1", "Job", "name: web-29000001", client),
			intent.Workload{APIVersion: "batch/v1", Kind: "CronJob", Name: "web"},
		},
		"CronJob": {
			"{apiVersion: batch/v1, kind: CronJob, metadata: {name: web}, spec: {jobTemplate: {spec: {template: {metadata: {annotations: {" + client + "}}, spec: {containers: [{name: main}]}}}}}}",
			intent.Workload{APIVersion: "batch/v1", Kind: "CronJob", Name: "web"},
		},
		"PodTemplate": {
			"{apiVersion: v1, kind: PodTemplate, metadata: {name: web}, template: {metadata: {annotations: {" + client + "}}, spec: {containers: [{name: main}]}}}",
			intent.Workload{APIVersion: "v1", Kind: "PodTemplate", Name: "web"},
		},
		"Pod": {
			"{apiVersion: v1, kind: Pod, metadata: {name: web, annotations: {" + client + "}}, spec: {containers: [{name: main}]}}",
			intent.Workload{APIVersion: "v1", Kind: "Pod", Name: "web"},
		},
		"Pod of a workload": {
			"{apiVersion: v1, kind: Pod, metadata: {" + owned + ", annotations: {" + client + "}}, spec: {containers: [{name: main}]}}",
			intent.Workload{APIVersion: "apps/v1", Kind: "Deployment", Name: "other"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			decisions, problems := decide(t, c.text, Options{})
			require.Empty(t, problems)
			require.Len(t, decisions, 1)
			require.Empty(t, decisions[0].Errors)
			assert.Equal(t, c.want, decisions[0].Intent.Workload)
		})
	}
}

func TestThePodStaysAsWritten(t *testing.T) {
	decisions, _ := decide(t, workload("apps/v1", "Deployment", "name: web, namespace: shop", client), Options{})
	require.Len(t, decisions, 1)
	want := &intent.Pod{
		Metadata: intent.PodMetadata{Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"mtls.example.io/role": "client"}},
		Spec:     intent.PodSpec{Containers: []intent.Container{{Name: "main"}}},
	}
	assert.Empty(t, cmp.Diff(want, decisions[0].Pod))
	assert.Equal(t, []string{"spec", "template"}, decisions[0].Path)
}

func TestOnlyPodTemplatesCount(t *testing.T) {
	for name, text := range map[string]string{
		"no template":        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {}}",
		"no containers":      "{apiVersion: x.io/v1, kind: Service, metadata: {name: a}, spec: {template: {spec: {containers: []}}}}",
		"other containers":   "{apiVersion: x.io/v1, kind: Harbor, metadata: {name: a}, spec: {template: {spec: {containers: [40ft, 20ft]}}}}",
		"containers as text": "{apiVersion: x.io/v1, kind: Harbor, metadata: {name: a}, spec: {template: {spec: {containers: many}}}}",
		"template as text":   "{apiVersion: x.io/v1, kind: Letter, metadata: {name: a}, spec: {template: Dear customer}}",
		"another Pod":        "{apiVersion: whales.io/v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a}]}}",
	} {
		t.Run(name, func(t *testing.T) {
			decisions, problems := decide(t, text, Options{NamespaceAnnotations: map[string]string{"mtls.example.io/role": "client"}})
			assert.Empty(t, decisions)
			assert.Empty(t, problems)
		})
	}
}

func TestServicesOfTheSameInput(t *testing.T) {
	const services = `
---
{apiVersion: v1, kind: Service, metadata: {name: front}, spec: {selector: {app: web}}}
---
{apiVersion: v1, kind: ServiceList, items: [{metadata: {name: peers, namespace: default}, spec: {clusterIP: None, selector: {app: web}}}]}
---
{apiVersion: v1, kind: Service, metadata: {name: elsewhere, namespace: other}, spec: {selector: {app: web}}}
---
{apiVersion: v1, kind: Service, metadata: {name: stranger}, spec: {selector: {app: other}}}
---
{apiVersion: serving.x.io/v1, kind: Service, metadata: {name: serving}, spec: {selector: {app: web}}}
`
	decisions, problems := decide(t, workload("apps/v1", "Deployment", "name: web", server)+services, Options{})
	require.Empty(t, problems)
	require.Len(t, decisions, 1)
	require.Empty(t, decisions[0].Errors)
	identity := decisions[0].Intent.Identity
	assert.Contains(t, identity.DNSNames, "front.default.svc.cluster.local")
	assert.Contains(t, identity.DNSNames, "peers.default.svc.cluster.local")
	assert.Equal(t, []string{"peers.default.svc.cluster.local"}, identity.PerPodDomains)
	for _, name := range identity.DNSNames {
		assert.NotContains(t, name, "elsewhere")
		assert.NotContains(t, name, "stranger")
		assert.NotContains(t, name, "serving")
	}
}

func TestServicesThatSelectWhatTheControllerLabels(t *testing.T) {
	text := workload("batch/v1", "Job", "name: load", server) +
		"---\n{apiVersion: v1, kind: Service, metadata: {name: workers}, spec: {selector: {batch.kubernetes.io/job-name: load}}}\n"
	decisions, _ := decide(t, text, Options{})
	require.Len(t, decisions, 1)
	assert.Contains(t, decisions[0].Intent.Identity.DNSNames, "workers.default.svc.cluster.local")
}

func TestNamespaces(t *testing.T) {
	const namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: a}, annotations: {" + client + "}}}\n---\n"
	plain := workload("apps/v1", "Deployment", "name: web, namespace: shop", "")
	for name, c := range map[string]struct {
		text    string
		options Options
		want    string
	}{
		"of the input":       {namespace + plain, Options{}, "client in shop"},
		"not of the input":   {plain, Options{}, "no-role"},
		"of another name":    {namespace + strings.Replace(plain, "shop", "other", 1), Options{}, "no-role"},
		"of the flag":        {plain, Options{NamespaceAnnotations: map[string]string{"mtls.example.io/role": "both"}}, "both in shop"},
		"the flag beats it":  {namespace + plain, Options{NamespaceAnnotations: map[string]string{"mtls.example.io/role": "none"}}, "role-none"},
		"the default one":    {workload("apps/v1", "Deployment", "name: web", client), Options{}, "client in default"},
		"that of the option": {namespace + workload("apps/v1", "Deployment", "name: web", ""), Options{Namespace: "shop"}, "client in shop"},
	} {
		t.Run(name, func(t *testing.T) {
			decisions, problems := decide(t, c.text, c.options)
			require.Empty(t, problems)
			require.Len(t, decisions, 1)
			require.Empty(t, decisions[0].Errors)
			got := string(decisions[0].Skip)
			if in := decisions[0].Intent; in != nil {
				got = string(in.Role) + " in " + in.Namespace
			}
			assert.Equal(t, c.want, got)
		})
	}
}

// Selectors of the configuration see the label that every namespace has.
func TestNamespaceNameLabel(t *testing.T) {
	w := world{options: &Options{}, namespaces: map[string]*intent.Namespace{"shop": {Name: "shop", Labels: map[string]string{"team": "a"}}}}
	assert.Equal(t, map[string]string{"kubernetes.io/metadata.name": "shop", "team": "a"}, w.namespace("shop").Labels)
	assert.Equal(t, map[string]string{"kubernetes.io/metadata.name": "new"}, w.namespace("new").Labels)
	assert.Equal(t, map[string]string{"team": "a"}, w.namespaces["shop"].Labels, "what was read stays as it is")
}

func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		text    string
		options Options
		want    []string
	}{
		"pod": {
			"{apiVersion: v1, kind: Pod, metadata: {name: a, annotations: {mtls.example.io/role: x}}, spec: {containers: [{name: a}]}}", Options{},
			[]string{`metadata.annotations[mtls.example.io/role]: Invalid value: "x": must be one of server, client, both, none`},
		},
		"template": {
			workload("apps/v1", "Deployment", "name: web", "mtls.example.io/role: x"), Options{},
			[]string{`spec.template.metadata.annotations[mtls.example.io/role]: Invalid value: "x": must be one of server, client, both, none`},
		},
		"item of a list": {
			"{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Node}, " + workload("apps/v1", "Deployment", "name: web", "mtls.example.io/role: x") + "]}", Options{},
			[]string{`items[1].spec.template.metadata.annotations[mtls.example.io/role]: Invalid value: "x": must be one of server, client, both, none`},
		},
		"namespace": {
			workload("apps/v1", "Deployment", "name: web", ""), Options{NamespaceAnnotations: map[string]string{"mtls.example.io/role": "x"}},
			[]string{`namespace.metadata.annotations[mtls.example.io/role]: Invalid value: "x": must be one of server, client, both, none`},
		},
		"wrong namespace": {
			workload("apps/v1", "Deployment", "name: web, namespace: a", client), Options{Namespace: "b"},
			[]string{`metadata.namespace: Invalid value: "a": does not match the namespace of the command line, b`},
		},
		"wrong types": {
			workload("apps/v1", "Deployment", "name: web, namespace: a", "a.b/c: 1"), Options{Namespace: "b"},
			[]string{
				"spec.template.metadata.annotations[a.b/c]: Invalid value: a JSON number does not fit Go's string",
				`metadata.namespace: Invalid value: "a": does not match the namespace of the command line, b`,
			},
		},
		"wrong type in a list": {
			"{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a}, {name: 1}]}}", Options{},
			[]string{"spec.containers[1].name: Invalid value: a JSON number does not fit Go's string"},
		},
		"number out of range": {
			"{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {terminationGracePeriodSeconds: 1e3, containers: [{name: a}]}}", Options{},
			[]string{"spec.terminationGracePeriodSeconds: Invalid value: a JSON number does not fit Go's int64: invalid syntax"},
		},
		"object": {
			"{apiVersion: v1, kind: Pod, metadata: {name: {}}, spec: {containers: [{name: a}]}}", Options{},
			[]string{"metadata.name: Invalid value: a JSON object does not fit Go's string"},
		},
		"no JSON": {
			"{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {priority: .nan, containers: [{name: a}]}}", Options{},
			[]string{"(object): Invalid value: line 1 of the document: json: unsupported value: NaN"},
		},
		"no name": {
			workload("batch/v1", "Job", "generateName: load-", client), Options{},
			[]string{"metadata.name: Required value: the identity depends on the workload's name; let the webhook inject what gets its name in the cluster"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			decisions, problems := decide(t, c.text, c.options)
			require.Empty(t, problems)
			require.Len(t, decisions, 1)
			assert.Nil(t, decisions[0].Intent)
			assert.Equal(t, c.want, texts(decisions[0].Errors))
		})
	}
}

// A workload without a name is no problem as long as nobody wants it injected.
func TestUnnamedAndLeftAlone(t *testing.T) {
	decisions, _ := decide(t, workload("batch/v1", "Job", "generateName: load-", ""), Options{})
	require.Len(t, decisions, 1)
	assert.Empty(t, decisions[0].Errors)
	assert.Equal(t, intent.SkipNoRole, decisions[0].Skip)
}

func TestProblems(t *testing.T) {
	for name, c := range map[string]struct {
		text    string
		options Options
		want    string
	}{
		"Service": {
			"{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {selector: [a]}}", Options{},
			"Service/a: spec.selector: Invalid value: a JSON array does not fit Go's map[string]string",
		},
		"Service elsewhere": {
			"{apiVersion: v1, kind: Service, metadata: {name: a, namespace: x}}", Options{Namespace: "y"},
			`Service/a: metadata.namespace: Invalid value: "x": does not match the namespace of the command line, y`,
		},
		"Namespace": {
			"{apiVersion: v1, kind: NamespaceList, items: [{metadata: {name: a, labels: {a: on}}}]}", Options{},
			"Namespace/a: items[0].metadata.labels.a: Invalid value: a JSON boolean does not fit Go's string",
		},
	} {
		t.Run(name, func(t *testing.T) {
			decisions, problems := decide(t, c.text, c.options)
			assert.Empty(t, decisions)
			require.Len(t, problems, 1)
			assert.Equal(t, []string{c.want}, []string{problems[0].Object.String() + ": " + strings.Join(texts(problems[0].Errors), "; ")})
		})
	}
}

func texts(errs field.ErrorList) []string {
	var all []string
	for _, err := range errs {
		all = append(all, err.Error())
	}
	return all
}
