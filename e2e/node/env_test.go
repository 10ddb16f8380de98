package node

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

func TestEnv(t *testing.T) {
	cases := map[string]struct {
		container string
		want      []string
	}{
		"plain, in order, the last value":   {`env: [{name: B, value: "1"}, {name: A, value: "2"}, {name: B, value: "3"}]`, []string{"B=3", "A=2"}},
		"references to what came before":    {`env: [{name: A, value: "1"}, {name: B, value: $(A)-$(C)-$$(A)-$x}, {name: C, value: "2"}]`, []string{"A=1", "B=1-$(C)-$(A)-$x", "C=2"}},
		"the pod's own fields":              {`env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}, {name: B, valueFrom: {fieldRef: {fieldPath: "metadata.annotations['note']"}}}]`, []string{"A=11-22", "B=hi"}},
		"addresses":                         {`env: [{name: A, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}, {name: B, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]`, []string{"A=10.0.0.1,fd00::1", "B=10.0.0.1"}},
		"keys":                              {`env: [{name: A, valueFrom: {secretKeyRef: {name: keys, key: a}}}, {name: B, valueFrom: {configMapKeyRef: {name: conf, key: b}}}]`, []string{"A=1", "B=2"}},
		"what is optional and missing":      {`env: [{name: A, valueFrom: {secretKeyRef: {name: none, key: a, optional: true}}}, {name: B, valueFrom: {configMapKeyRef: {name: conf, key: x, optional: true}}}]`, []string{}},
		"whole objects, overridden by env":  {"envFrom: [{prefix: S_, secretRef: {name: keys}}, {configMapRef: {name: conf}}, {configMapRef: {name: none, optional: true}}]\nenv: [{name: b, value: \"3\"}]", []string{"S_a=1", "b=3"}},
		"the account, the node, the places": {`env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}}, {name: B, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}, {name: C, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}, {name: D, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}]`, []string{"A=web", "B=node-1", "C=shop", "D=192.0.2.1"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, secret(map[string][]byte{"a": []byte("1")}), configMap(map[string]string{"b": "2"}))
			pod := parsePod(t, "containers: [{name: web}]")
			require.NoError(t, unmarshalContainer(tc.container, &pod.Spec.Containers[0]))
			pod.Spec.ServiceAccountName, pod.Spec.NodeName, pod.Status.HostIP = "web", "node-1", "192.0.2.1"
			pod.Status.PodIP, pod.Status.PodIPs = "10.0.0.1", []corev1.PodIP{{IP: "10.0.0.1"}, {IP: "fd00::1"}}
			env, err := n.Env(t.Context(), pod, "web")
			require.NoError(t, err)
			assert.Equal(t, tc.want, env)
		})
	}
}

func TestEnvFails(t *testing.T) {
	cases := map[string]struct{ container, want string }{
		"no such Secret":    {`env: [{name: A, valueFrom: {secretKeyRef: {name: none, key: a}}}]`, `variable A of container web: Secret none: secrets "none" not found`},
		"no such key":       {`env: [{name: A, valueFrom: {configMapKeyRef: {name: conf, key: x}}}]`, "ConfigMap conf has no key x"},
		"no such field":     {`env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.x}}}]`, "field spec.x is not supported here"},
		"another source":    {`env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}]`, "this source of a value is not supported here"},
		"no such ConfigMap": {`envFrom: [{configMapRef: {name: none}}]`, "envFrom of container web: ConfigMap none"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			pod := parsePod(t, "containers: [{name: web}]")
			require.NoError(t, unmarshalContainer(tc.container, &pod.Spec.Containers[0]))
			_, err := newNode(t, configMap(map[string]string{"b": "2"})).Env(t.Context(), pod, "web")
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestExpand(t *testing.T) {
	env := []string{"MTLS_CA_CERT=/etc/tls/ca/ca.crt", "URL=https://x/?a=b", "EMPTY="}
	got := Expand([]string{"--ca=$(MTLS_CA_CERT)", "$(URL)", "[$(EMPTY)]", "$(UNKNOWN)", "$MTLS_CA_CERT"}, env)
	assert.Equal(t, []string{"--ca=/etc/tls/ca/ca.crt", "https://x/?a=b", "[]", "$(UNKNOWN)", "$MTLS_CA_CERT"}, got)
}
