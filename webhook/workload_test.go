package webhook

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	"sigs.k8s.io/yaml"

	"example.io/mtls-injector/intent"
)

func TestKindsOfWorkloads(t *testing.T) {
	for _, kind := range []struct{ apiVersion, kind, group, path string }{
		{"apps/v1", "Deployment", ".apps", "spec.template"},
		{"apps/v1", "StatefulSet", ".apps", "spec.template"},
		{"apps/v1", "DaemonSet", ".apps", "spec.template"},
		{"apps/v1", "ReplicaSet", ".apps", "spec.template"},
		{"batch/v1", "Job", ".batch", "spec.template"},
		{"batch/v1", "CronJob", ".batch", "spec.jobTemplate.spec.template"},
		{"v1", "ReplicationController", "", "spec.template"},
		{"argoproj.io/v1alpha1", "Rollout", ".argoproj.io", "spec.template"},
		{"x.io/v1", "CronJob2", ".x.io", "spec.template"},
	} {
		t.Run(kind.kind, func(t *testing.T) {
			v := newValidated(t)
			assert.Equal(t, told{}, written{object: workloadOf(kind.apiVersion, kind.kind, server)}.send(t, v.workloads()))
			v.assertCounted(t, kindWorkload, label{outcomeAllowed, reasonValid})

			v = newValidated(t)
			wrong := written{object: workloadOf(kind.apiVersion, kind.kind, "mtls.example.io/role: sever")}
			want := kind.kind + kind.group + ` "cart" is invalid: ` + kind.path + `.metadata.annotations[mtls.example.io/role]: ` +
				`Invalid value: "sever": must be one of server, client, both, none; did you mean "server"?`
			assert.Equal(t, told{refused: want}, wrong.send(t, v.workloads()))
			v.assertCounted(t, kindWorkload, label{outcomeRefused, reasonInvalid})
		})
	}
}

// TestWorkloadsAsTheirPods: a workload is refused for what its pods are refused for, with
// the same words, and for nothing else.
func TestWorkloadsAsTheirPods(t *testing.T) {
	for name, pod := range podFiles(t) {
		t.Run(name, func(t *testing.T) {
			data, err := yaml.Marshal(map[string]any{
				"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "cart"},
				"spec": map[string]any{"template": map[string]any{
					"metadata": map[string]any{"labels": pod.Labels, "annotations": pod.Annotations}, "spec": pod.Spec,
				}},
			})
			require.NoError(t, err)
			v := newValidated(t)
			pods := NewPodHandler(v.podOptions())
			workload := post(t, v.workloads(), written{object: string(data)}.review(t))
			// Its pod, without what the workload would say of itself.
			pod.GenerateName, pod.OwnerReferences = "cart-", nil
			response := post(t, pods, reviewOf(t, pod))
			require.Equal(t, response.Allowed, workload.Allowed)
			if response.Allowed {
				return
			}
			var want []string
			for _, cause := range response.Result.Details.Causes {
				want = append(want, "spec.template."+cause.Field+" "+cause.Message)
			}
			var got []string
			for _, cause := range workload.Result.Details.Causes {
				got = append(got, cause.Field+" "+cause.Message)
			}
			assert.Equal(t, want, got)
		})
	}
}

// TestWorkloadAnswers are whole answers.
func TestWorkloadAnswers(t *testing.T) {
	const mistakes = "mtls.example.io/role: server, mtls.example.io/rol: client, mtls.example.io/key-size: many"
	conflict := strings.Replace(deployment(server), "registry.example.com/cart", "x, volumeMounts: [{name: v, mountPath: /etc/tls/server}]", 1)
	for name, tt := range map[string]struct {
		object    string
		namespace map[string]string
		mode      intent.Mode
		label     label
	}{
		"all problems":        {deployment(mistakes), nil, intent.ModeEnforce, label{outcomeRefused, reasonInvalid}},
		"all problems warned": {deployment(mistakes), nil, intent.ModeWarn, label{outcomeWarned, reasonInvalid}},
		"all problems unseen": {deployment(mistakes), nil, intent.ModeOff, label{outcomeAllowed, reasonOff}},
		"conflict":            {conflict, nil, intent.ModeEnforce, label{outcomeRefused, reasonConflict}},
		"conflict warned":     {conflict, nil, intent.ModeWarn, label{outcomeWarned, reasonConflict}},
		"conflict unseen":     {conflict, nil, intent.ModeOff, label{outcomeAllowed, reasonOff}},
		"of the namespace":    {deployment(server), map[string]string{"mtls.example.io/duration": "1s"}, intent.ModeEnforce, label{outcomeRefused, reasonInvalid}},
		"opted out":           {deployment("mtls.example.io/role: none"), map[string]string{"mtls.example.io/duration": "1s"}, intent.ModeEnforce, label{outcomeSkipped, "role-none"}},
		"no role":             {deployment("mtls.example.io/env: curl"), nil, intent.ModeEnforce, label{outcomeSkipped, "no-role"}},
		"right":               {deployment(server), nil, intent.ModeEnforce, label{outcomeAllowed, reasonValid}},
	} {
		t.Run(name, func(t *testing.T) {
			v := newValidated(t)
			v.source, v.defaults.Workloads = everywhere(surroundings(tt.namespace)), tt.mode
			requireGolden(t, "workload "+name, goldenOf(t, send(v.workloads(), written{object: tt.object}.review(t))))
			v.assertCounted(t, kindWorkload, tt.label)
		})
	}
}

// TestWorkloadsThatAreNotLookedAt would be refused otherwise, or cannot be read.
func TestWorkloadsThatAreNotLookedAt(t *testing.T) {
	wrong := deployment("mtls.example.io/role: sever")
	owned := func(controller string) string {
		return strings.Replace(wrong, "name: cart,", "name: cart, ownerReferences: [{apiVersion: v1, kind: X, name: of, controller: "+controller+"}],", 1)
	}
	template := func(text string) string {
		return "{apiVersion: x.io/v1, kind: Fleet, metadata: {name: cart}, spec: " + text + "}"
	}
	for name, tt := range map[string]struct {
		written written
		label   label
	}{
		"nothing about it":   {written{object: wrong}, label{outcomeRefused, reasonInvalid}},
		"owned":              {written{object: owned("true")}, label{outcomeAllowed, reasonOwned}},
		"only referred to":   {written{object: owned("false")}, label{outcomeRefused, reasonInvalid}},
		"a deletion":         {written{object: wrong, change: func(r *admissionv1.AdmissionRequest) { r.Operation = admissionv1.Delete }}, label{outcomeAllowed, reasonOperation}},
		"a subresource":      {written{object: wrong, change: func(r *admissionv1.AdmissionRequest) { r.SubResource = "scale" }}, label{outcomeAllowed, reasonSubresource}},
		"no template":        {written{object: template("{replicas: 3}")}, label{outcomeAllowed, reasonNoTemplate}},
		"no spec":            {written{object: template("none")}, label{outcomeAllowed, reasonNoTemplate}},
		"no containers":      {written{object: template("{template: {metadata: {annotations: {mtls.example.io/role: x}}, spec: {containers: []}}}")}, label{outcomeAllowed, reasonNoTemplate}},
		"other containers":   {written{object: template("{template: {metadata: {annotations: {mtls.example.io/role: x}}, spec: {containers: [40ft]}}}")}, label{outcomeAllowed, reasonNoTemplate}},
		"containers as text": {written{object: template("{template: {metadata: {annotations: {mtls.example.io/role: x}}, spec: {containers: many}}}")}, label{outcomeAllowed, reasonNoTemplate}},
		"template as text":   {written{object: template("{template: Dear customer}")}, label{outcomeAllowed, reasonNoTemplate}},
	} {
		t.Run(name, func(t *testing.T) {
			v := newValidated(t)
			response := post(t, v.workloads(), tt.written.review(t))
			assert.Equal(t, tt.label.outcome != outcomeRefused, response.Allowed)
			assert.Empty(t, response.Warnings)
			v.assertCounted(t, kindWorkload, tt.label)
		})
	}
}

// TestUpdatesOfWorkloads: what is wrong already refuses no update of something else.
func TestUpdatesOfWorkloads(t *testing.T) {
	const wrong = "mtls.example.io/role: sever"
	const problem = `spec.template.metadata.annotations[mtls.example.io/role]: Invalid value: "sever": must be one of server, client, both, none; did you mean "server"?`
	scaled := func(text string) string {
		return strings.Replace(text, "spec: {template", "spec: {replicas: 3, template", 1)
	}
	conflicting := func(text string) string {
		return strings.Replace(text, "registry.example.com/cart", "x, volumeMounts: [{name: v, mountPath: /etc/tls/server}]", 1)
	}
	for name, tt := range map[string]struct {
		old, object string
		label       label
	}{
		"scaled":                     {deployment(wrong), scaled(deployment(wrong)), label{outcomeWarned, reasonInvalid}},
		"another annotation":         {deployment(wrong), deployment(wrong + ", example.com/other: x"), label{outcomeWarned, reasonInvalid}},
		"restarted by us":            {deployment(wrong), deployment(wrong + ", mtls.example.io/certificate-hash: abc, mtls.example.io/status: def"), label{outcomeWarned, reasonInvalid}},
		"a container that is wrong":  {deployment(server), conflicting(deployment(server)), label{outcomeWarned, reasonConflict}},
		"made wrong":                 {deployment(server), deployment(wrong), label{outcomeRefused, reasonInvalid}},
		"annotated, and wrong":       {deployment(""), deployment(wrong), label{outcomeRefused, reasonInvalid}},
		"one more":                   {deployment(wrong), deployment(wrong + ", mtls.example.io/env: curl"), label{outcomeRefused, reasonInvalid}},
		"one less":                   {deployment(wrong + ", mtls.example.io/env: curl"), deployment(wrong), label{outcomeRefused, reasonInvalid}},
		"made right":                 {deployment(wrong), deployment(server), label{outcomeAllowed, reasonValid}},
		"no longer annotated":        {deployment(wrong), deployment(""), label{outcomeSkipped, "no-role"}},
		"an old one of another form": {"{spec: {template: {metadata: {annotations: none}}}}", deployment(wrong), label{outcomeRefused, reasonInvalid}},
		"conflicting, annotated":     {deployment(server), conflicting(deployment("mtls.example.io/role: both")), label{outcomeRefused, reasonConflict}},
	} {
		t.Run(name, func(t *testing.T) {
			v := newValidated(t)
			got := written{object: tt.object, old: tt.old}.send(t, v.workloads())
			v.assertCounted(t, kindWorkload, tt.label)
			switch tt.label {
			case label{outcomeRefused, reasonInvalid}:
				assert.Equal(t, told{refused: `Deployment.apps "cart" is invalid: ` + problem}, got)
			case label{outcomeWarned, reasonInvalid}:
				assert.Equal(t, told{warnings: []string{"pods will be refused: " + problem}}, got)
			case label{outcomeRefused, reasonConflict}:
				assert.Contains(t, got.refused, "spec.template.spec.containers[0].volumeMounts[0].mountPath: Invalid value")
			case label{outcomeWarned, reasonConflict}:
				assert.Empty(t, got.refused)
				require.NotEmpty(t, got.warnings)
				assert.Contains(t, got.warnings[0], "pods will be refused: spec.template.spec.containers[0].volumeMounts[0].mountPath: Invalid value")
			default:
				assert.Equal(t, told{}, got)
			}
		})
	}
}

func TestMisplacedAnnotations(t *testing.T) {
	misplaced := func(text, at, annotations string) string {
		return strings.Replace(text, at, at+"annotations: {"+annotations+"}, ", 1)
	}
	const on = ` in metadata.annotations has no effect: move it to spec.template.metadata.annotations`
	for name, tt := range map[string]struct {
		object string
		want   []string
	}{
		"none":                     {misplaced(deployment(server), "{name: cart, ", "example.com/role: server"), nil},
		"one, and no role":         {misplaced(deployment(""), "{name: cart, ", server), []string{"mtls.example.io/role" + on}},
		"two, one unknown":         {misplaced(deployment(server), "{name: cart, ", "mtls.example.io/zeal: high, mtls.example.io/env: curl"), []string{"mtls.example.io/env, mtls.example.io/zeal" + on}},
		"put everywhere by a tool": {misplaced(deployment(server), "{name: cart, ", server), nil},
		"of a CronJob and its Jobs": {misplaced(misplaced(workloadOf("batch/v1", "CronJob", server), "{name: cart, ", "mtls.example.io/env: curl"), "jobTemplate: {metadata: {", "mtls.example.io/probes: tcp"), []string{
			"mtls.example.io/env in metadata.annotations has no effect: move it to spec.jobTemplate.spec.template.metadata.annotations",
			"mtls.example.io/probes in spec.jobTemplate.metadata.annotations has no effect: move it to spec.jobTemplate.spec.template.metadata.annotations",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, told{warnings: tt.want}, written{object: tt.object}.send(t, newValidated(t).workloads()))
		})
	}
	wrong := misplaced(deployment("mtls.example.io/role: sever"), "{name: cart, ", "mtls.example.io/env: curl")
	got := written{object: wrong}.send(t, newValidated(t).workloads())
	assert.NotEmpty(t, got.refused)
	assert.Equal(t, []string{"mtls.example.io/env" + on}, got.warnings)
}

// TestGeneratedNames: a name that is not known yet refuses nothing.
func TestGeneratedNamesOfWorkloads(t *testing.T) {
	job := strings.Replace(workloadOf("batch/v1", "Job", server), "name: cart,", "generateName: load-,", 1)
	job = strings.Replace(job, "app: cart", "app: load", 1)
	for name, tt := range map[string]struct{ object, workload string }{
		"yet to be generated": {job, "load"},
		"generated":           {strings.Replace(job, "generateName: load-", "generateName: load-, name: load-x7k2p", 1), "load-x7k2p"},
	} {
		t.Run(name, func(t *testing.T) {
			v := newValidated(t)
			want := []string{`no Service selects the pod yet: the certificate gets the names of its workload "` + tt.workload + `"`}
			assert.Equal(t, told{warnings: want}, written{object: tt.object}.send(t, v.workloads()))
			wrong := strings.Replace(tt.object, "server}", "sever}", 1)
			assert.Contains(t, written{object: wrong}.send(t, v.workloads()).refused, `Job.batch "`+tt.workload+`" is invalid: spec.template.metadata`)
		})
	}
}

// TestWarningsOfWorkloads: what is legal but odd, each in its words.
func TestWarningsOfWorkloads(t *testing.T) {
	within := func(annotations, container string) string {
		return strings.Replace(deployment(annotations), "image: registry.example.com/cart", container, 1)
	}
	for name, tt := range map[string]struct {
		object string
		change func(*validated)
		want   string
	}{
		"an HTTPS probe": {object: within(server, "readinessProbe: {httpGet: {port: 8443, scheme: HTTPS}}"),
			want: "HTTPS probes present no client certificate and fail where one is required (main.readinessProbe): mtls.example.io/probes: tcp turns them into tcpSocket"},
		"a subPath": {object: strings.Replace(within(server, "volumeMounts: [{name: own, mountPath: /ca.crt, subPath: ca.crt}]"), "containers:", "volumes: [{name: own, configMap: {name: mtls-ca-bundle}}], containers:", 1),
			want: `container "main" mounts "ca.crt" of volume "own" by subPath, which stays as it is when the files are renewed: mount the whole volume`},
		"no Service yet": {object: strings.ReplaceAll(deployment(server), "cart", "carts"),
			want: `no Service selects the pod yet: the certificate gets the names of its workload "carts"`},
		"no CA bundle": {object: deployment(server), change: func(v *validated) { v.bundles.there = nil },
			want: `ConfigMap "mtls-ca-bundle" with the CA bundle does not exist in namespace "shop", and pods do not start without it: have trust-manager write it there`},
		"a short lifetime": {object: deployment(server + ", mtls.example.io/duration: 24h"),
			want: "a certificate lasts 24h with mtls.example.io/reload: none, so a program that does not read its files again fails by then: set mtls.example.io/reload: restart or a longer mtls.example.io/duration"},
		"no known group": {object: within(server, "securityContext: {runAsNonRoot: true}"),
			want: `container "main" runs as a non-root user without a known group and may not be able to read its key: set its runAsGroup or the pod's securityContext.fsGroup`},
		"somebody's Secret": {object: deployment(server + ", mtls.example.io/delivery: secret"), change: func(v *validated) { v.source.(*memory).taken = map[string]bool{"shop/cart-mtls": true} },
			want: `Secret "cart-mtls" was made by somebody else: the pod mounts it as it is, and no companion Certificate is written while it is there`},
	} {
		t.Run(name, func(t *testing.T) {
			v := newValidated(t)
			if tt.change != nil {
				tt.change(v)
			}
			assert.Equal(t, told{warnings: limitWarnings([]string{tt.want})}, written{object: tt.object}.send(t, v.workloads()))
			v.assertCounted(t, kindWorkload, label{outcomeAllowed, reasonValid})
		})
	}
}
