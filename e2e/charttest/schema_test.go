package charttest

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestWrongValues: what is wrong is refused with its path, before anything is rendered.
func TestWrongValues(t *testing.T) {
	for value, want := range map[string]string{
		"replicaCont=3":                                     "at '': additional properties 'replicaCont' not allowed",
		"replicaCount=many":                                 "at '/replicaCount': got string, want integer",
		"replicaCount=-1":                                   "at '/replicaCount': minimum: got -1, want 0",
		"replicaCount=null":                                 "at '': missing property 'replicaCount'",
		"image.digest=latest":                               "at '/image/digest': 'latest' does not match pattern '^(sha256:[0-9a-f]{64})?$'",
		"image.name=x":                                      "at '/image': additional properties 'name' not allowed",
		"image.repository=":                                 "at '/image/repository': minLength: got 0, want 1",
		"image.pullPolicy=Sometimes":                        "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'",
		"imagePullSecrets[0]=registry":                      "at '/imagePullSecrets/0': got string, want object",
		"autoscaling.minReplicas=0":                         "at '/autoscaling/minReplicas': minimum: got 0, want 1",
		"podDisruptionBudget.maxUnavailable=half":           "at '/podDisruptionBudget/maxUnavailable': 'half' does not match pattern '^[0-9]+%$'",
		"resources.limit.memory=1Gi":                        "at '/resources': additional properties 'limit' not allowed",
		"podLabels.x=1":                                     "at '/podLabels/x': got number, want string",
		"livenessProbe.path=/":                              "at '/livenessProbe': additional properties 'path' not allowed",
		"logLevel=loud":                                     "at '/logLevel': 'loud' does not match pattern '^(debug|info|error|panic|[0-9]+)$'",
		"namespaceSelector.matchLabel.a=b":                  "at '/namespaceSelector': additional properties 'matchLabel' not allowed",
		"namespaceSelector.matchExpressions[0].operator=Is": "at '/namespaceSelector/matchExpressions/0/operator': value must be one of 'In', 'NotIn', 'Exists', 'DoesNotExist'",
		"namespaceSelector=null":                            "at '': missing property 'namespaceSelector'",
		"excludedNamespaces[0]=A_B":                         "at '/excludedNamespaces/0': 'A_B' does not match pattern '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'",
		"webhook.port=70000":                                "at '/webhook/port': maximum: got 70,000, want 65,535",
		"webhook.pods.failurePolicy=fail":                   "at '/webhook/pods/failurePolicy': value must be one of 'Fail', 'Ignore'",
		"webhook.pods.timeoutSeconds=31":                    "at '/webhook/pods/timeoutSeconds': maximum: got 31, want 30",
		"webhook.pods.matchConditions[0].name=x":            "at '/webhook/pods/matchConditions/0': missing property 'expression'",
		"webhook.pod.failurePolicy=Fail":                    "at '/webhook': additional properties 'pod' not allowed",
		"webhook.workloads.extraRules[0].resources[0]=x":    "at '/webhook/workloads/extraRules/0': missing properties 'apiGroups', 'apiVersions'",
		"webhook.certificate.mode=self-managed":             "at '/webhook/certificate/mode': value must be one of 'certManager', 'selfManaged'",
		"webhook.certificate.certManager.issuerRef.kind=X":  "at '/webhook/certificate/certManager/issuerRef': properties 'name' required, if 'kind' exists",
		"webhook.certificate.certManager.duration=90d":      "at '/webhook/certificate/certManager/duration': '90d' does not match pattern '^([0-9]+(\\\\.[0-9]+)?(h|m|s))+$'",
		"service.type=ExternalName":                         "at '/service/type': value must be one of 'ClusterIP', 'NodePort', 'LoadBalancer'",
		"networkPolicy.egress.apiServerPorts[0]=https":      "at '/networkPolicy/egress/apiServerPorts/0': got string, want integer",
		"config.delivry=csi":                                "at '/config': additional properties 'delivry' not allowed",
		"config.delivery=pigeon":                            "at '/config/delivery': value must be one of 'csi', 'secret'",
		"config.namespaceSelector.matchLabels.a=b":          "at '/config': additional properties 'namespaceSelector' not allowed",
		"config.lifetimes.server.duration=90":               "at '/config/lifetimes/server/duration': got number, want string",
		"config.lifetimes.server.days=90":                   "at '/config/lifetimes/server': additional properties 'days' not allowed",
		"config.privateKey.algorithm=DSA":                   "at '/config/privateKey/algorithm': value must be one of 'ECDSA', 'RSA', 'Ed25519'",
		"config.env[0]=perl":                                "at '/config/env/0': value must be one of ",
		"config.admission.guard=strict":                     "at '/config/admission/guard': value must be one of 'enforce', 'warn', 'off'",
		"config.identity.allow[0].dnsName=x":                "at '/config/identity/allow/0': additional properties 'dnsName' not allowed",
		"config.caBundle.kind=Secret":                       "at '/config/caBundle/kind': value must be one of 'ConfigMap', 'ClusterTrustBundle'",
		"tests.timeout=soon":                                "at '/tests/timeout': 'soon' does not match pattern ",
		"extraArgs[0]=1":                                    "at '/extraArgs/0': got number, want string",
	} {
		t.Run(value, func(t *testing.T) {
			_, err := chart.Manifests(t.Context(), set(value)...)
			require.ErrorContains(t, err, "values don't meet the specifications of the schema(s)")
			assert.ErrorContains(t, err, "- "+want)
		})
	}
}

// TestWhatTheSchemaCannotSay is refused with its path all the same.
func TestWhatTheSchemaCannotSay(t *testing.T) {
	for name, tt := range map[string]struct {
		values []string
		want   string
	}{
		"memory": {[]string{"resources.limits.memory=lots"}, `resources.limits.memory: "lots" is not a number of bytes such as 256Mi`},
		"fewer at most than at least": {[]string{"autoscaling.enabled=true", "autoscaling.maxReplicas=1"},
			"autoscaling.maxReplicas: must be at least minReplicas (2), not 1"},
		"scaled by nothing": {[]string{"autoscaling.enabled=true", "autoscaling.targetCPUUtilizationPercentage=null"},
			"autoscaling: set targetCPUUtilizationPercentage, targetMemoryUtilizationPercentage or metrics"},
		"a test of nobody knows where": {[]string{"namespaceSelector.matchExpressions[0].key=a", "namespaceSelector.matchExpressions[0].operator=Exists"},
			"tests.namespaceLabels: say which labels namespaceSelector.matchExpressions selects, or set tests.enabled to false"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := chart.Manifests(t.Context(), set(tt.values...)...)
			assert.ErrorContains(t, err, "): "+tt.want+"\n")
		})
	}
}

// TestNull: a value is taken away with null, or that is refused with its path; templates
// stumble over neither.
func TestNull(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chart.Dir, "values.schema.json"))
	require.NoError(t, err)
	var schema object
	require.NoError(t, json.Unmarshal(text, &schema))
	paths := schema.paths("")
	require.Contains(t, paths, "webhook.pods.failurePolicy")
	everything := append(variations(t)["everything"], variations(t)["monitoring"]...)
	var absent []string
	for _, path := range paths {
		_, err := chart.Manifests(t.Context(), append(everything, set(path+"=null")...)...)
		if err == nil {
			absent = append(absent, path)
			continue
		}
		assert.Contains(t, err.Error(), "missing property '"+path[strings.LastIndex(path, ".")+1:]+"'")
	}
	assert.Contains(t, absent, "nodeSelector")
	assert.NotContains(t, absent, "namespaceSelector")
}

// object is the part of a JSON Schema that says which values there are.
type object struct {
	Properties map[string]object
	Required   []string
}

func (o object) paths(above string) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(o.Properties)) {
		if above == "" && name == "global" {
			continue
		}
		all = append(all, above+name)
		if child := o.Properties[name]; child.Required != nil {
			all = append(all, child.paths(above+name+".")...)
		}
	}
	return all
}

// TestBelowAnotherChart: Helm hands a chart its global values.
func TestBelowAnotherChart(t *testing.T) {
	assert.NotEmpty(t, template(t, set("global.registry=x")...))
}
