package charttest

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
)

// TestNames: objects are called like the release, and names stay legal however long it is.
func TestNames(t *testing.T) {
	long := strings.Repeat("long-", 10) + "end"
	for name, tt := range map[string]struct {
		release string
		values  []string
		want    string
	}{
		"the chart's":   {"mtls-injector", nil, "mtls-injector"},
		"holds it":      {"prod-mtls-injector", nil, "prod-mtls-injector"},
		"another":       {"prod", nil, "prod-mtls-injector"},
		"another chart": {"prod", []string{"nameOverride=injector"}, "prod-injector"},
		"all of it":     {"prod", []string{"fullnameOverride=tls"}, "tls"},
		"long":          {long, nil, long[:49]},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := chart.Run(t.Context(), append([]string{"template", tt.release, chart.Dir, "--namespace", "ns"}, set(tt.values...)...)...)
			require.NoError(t, err)
			objects, err := decode(out)
			require.NoError(t, err)
			for _, object := range objects {
				assert.Empty(t, validation.IsDNS1123Subdomain(object.GetName()), object.GetName())
				switch object.GetKind() {
				case "Namespace", "Service", "Pod":
					assert.Empty(t, validation.IsDNS1123Label(object.GetName()), object.GetName())
				case "Certificate":
					name, _, err := unstructured.NestedString(object.Object, "spec", "commonName")
					require.NoError(t, err)
					assert.LessOrEqual(t, len(name), 64, "cert-manager refuses a longer common name")
				}
				for key, value := range object.GetLabels() {
					assert.Empty(t, validation.IsValidLabelValue(value), "%s: %s=%s", object.GetName(), key, value)
				}
				if object.GetKind() == "Deployment" {
					assert.Equal(t, tt.want, object.GetName())
				}
			}
		})
	}
}

// TestLabels: pods have those of the values besides ours, which nobody can replace.
func TestLabels(t *testing.T) {
	pod, _ := podOf(t, set("commonLabels.team=platform", "podLabels.app=x", `podLabels.app\.kubernetes\.io/name=other`)...)
	assert.Equal(t, map[string]string{
		"app": "x", "team": "platform", "helm.sh/chart": "mtls-injector-0.1.0",
		"app.kubernetes.io/name": "mtls-injector", "app.kubernetes.io/instance": Release,
		"app.kubernetes.io/version": "v0.1.0", "app.kubernetes.io/managed-by": "Helm",
	}, pod.Labels)

	objects := template(t, variations(t)["everything"]...)
	deployment := deploymentOf(t, objects)
	assert.Equal(t, map[string]string{"example.com/deployment": "yes"}, deployment.Annotations)
	assert.Equal(t, map[string]string{"example.com/pod": "yes"}, deployment.Spec.Template.Annotations)
	account := must[corev1.ServiceAccount](t, objects, "ServiceAccount", "injector")
	assert.Equal(t, "yes", account.Labels["account"])
	assert.Equal(t, "yes", account.Annotations["example.com/account"])
	service := must[corev1.Service](t, objects, "Service", Release)
	assert.Equal(t, "yes", service.Labels["service"])
	assert.Equal(t, "yes", service.Annotations["example.com/service"])
	assert.Equal(t, corev1.ServiceTypeLoadBalancer, service.Spec.Type)
	metrics := must[corev1.Service](t, objects, "Service", Release+"-metrics")
	assert.Equal(t, "yes", metrics.Labels["metrics"])
	assert.Equal(t, "metrics", metrics.Labels["app.kubernetes.io/component"])
	assert.Equal(t, corev1.ServiceTypeClusterIP, metrics.Spec.Type)
	assert.NotContains(t, service.Labels, "app.kubernetes.io/component", "or a ServiceMonitor would take it for the metrics'")
}

// TestPodByValues: what is said of pods arrives there.
func TestPodByValues(t *testing.T) {
	pod, container := podOf(t, variations(t)["everything"]...)
	assert.Equal(t, []corev1.LocalObjectReference{{Name: "mirror"}}, pod.Spec.ImagePullSecrets)
	assert.Equal(t, "system-cluster-critical", pod.Spec.PriorityClassName)
	assert.Equal(t, map[string]string{"kubernetes.io/os": "linux", "pool": "system"}, pod.Spec.NodeSelector)
	assert.Len(t, pod.Spec.Tolerations, 1)
	assert.NotNil(t, pod.Spec.Affinity.NodeAffinity)
	require.Len(t, pod.Spec.TopologySpreadConstraints, 1)
	assert.Equal(t, map[string]string{"app": "injector"}, pod.Spec.TopologySpreadConstraints[0].LabelSelector.MatchLabels)
	assert.Equal(t, new(int64(85)), pod.Spec.TerminationGracePeriodSeconds)
	assert.Equal(t, corev1.PullAlways, container.ImagePullPolicy)
	assert.Equal(t, []string{"--zap-log-level=2", "--http2=false"}, container.Args[len(container.Args)-2:])
	assert.Equal(t, "more", pod.Spec.Volumes[2].Name)
	assert.Equal(t, "/more", container.VolumeMounts[2].MountPath)
	objects := template(t, variations(t)["everything"]...)
	assert.Equal(t, map[string]string{"release": Release}, must[corev1.ConfigMap](t, objects, "ConfigMap", "as-yaml").Data)
	assert.Equal(t, container.Image, must[corev1.ConfigMap](t, objects, "ConfigMap", "as-text").Data["image"])
}

// TestNetworkPolicy: the ways in, and on demand the ways out.
func TestNetworkPolicy(t *testing.T) {
	port := func(protocol corev1.Protocol, of intstr.IntOrString) networkingv1.NetworkPolicyPort {
		return networkingv1.NetworkPolicyPort{Protocol: &protocol, Port: &of}
	}
	tcp := func(name string) networkingv1.NetworkPolicyPort {
		return port(corev1.ProtocolTCP, intstr.FromString(name))
	}
	objects := template(t)
	policy := must[networkingv1.NetworkPolicy](t, objects, "NetworkPolicy", Release)
	assert.Equal(t, networkingv1.NetworkPolicySpec{
		PodSelector: *deploymentOf(t, objects).Spec.Selector,
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
		Ingress: []networkingv1.NetworkPolicyIngressRule{
			{Ports: []networkingv1.NetworkPolicyPort{tcp("https"), tcp("health")}},
			{Ports: []networkingv1.NetworkPolicyPort{tcp("metrics")}, From: []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{}}}},
		},
	}, policy.Spec)

	policy = must[networkingv1.NetworkPolicy](t, template(t, variations(t)["everything"]...), "NetworkPolicy", Release)
	assert.Equal(t, []networkingv1.NetworkPolicyEgressRule{
		{Ports: []networkingv1.NetworkPolicyPort{port(corev1.ProtocolTCP, intstr.FromInt32(16443))},
			To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "192.0.2.0/24"}}}},
		{Ports: []networkingv1.NetworkPolicyPort{port(corev1.ProtocolUDP, intstr.FromInt32(53)), port(corev1.ProtocolTCP, intstr.FromInt32(53))}},
	}, policy.Spec.Egress)
	assert.Equal(t, "monitoring", policy.Spec.Ingress[1].From[0].NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"])
	assert.Nil(t, Find(template(t, variations(t)["host-network"]...), "NetworkPolicy", Release))
}

// TestHooks: what `helm test` makes, in which order, and that it goes again.
func TestHooks(t *testing.T) {
	objects := template(t)
	weights := map[string]int{}
	for _, object := range objects {
		hook := object.GetAnnotations()["helm.sh/hook"]
		if hook == "" {
			continue
		}
		assert.Equal(t, "test", hook)
		assert.Equal(t, "before-hook-creation,hook-succeeded", object.GetAnnotations()["helm.sh/hook-delete-policy"])
		weight, err := strconv.Atoi(object.GetAnnotations()["helm.sh/hook-weight"])
		require.NoError(t, err)
		weights[object.GetKind()] = weight
		assert.Equal(t, smokeTest, object.GetName())
	}
	order := []string{"Namespace", "ServiceAccount", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "Pod"}
	assert.ElementsMatch(t, order, slices.Collect(maps.Keys(weights)))
	assert.True(t, slices.IsSortedFunc(order, func(a, b string) int { return weights[a] - weights[b] }), "%v", weights)

	namespace := must[corev1.Namespace](t, objects, "Namespace", smokeTest)
	assert.Equal(t, "true", namespace.Labels["mtls-enabled"])
	pod := must[corev1.Pod](t, objects, "Pod", namespace.Name)
	assert.Equal(t, Namespace, pod.Namespace)
	assert.Equal(t, namespace.Name, pod.Spec.ServiceAccountName)
	assert.Equal(t, corev1.RestartPolicyNever, pod.Spec.RestartPolicy)
	assert.Equal(t, []string{"smoke-test", "--namespace=" + namespace.Name, "--timeout=30s"}, pod.Spec.Containers[0].Args)
}

// TestNotes: what people are told, and warned of.
func TestNotes(t *testing.T) {
	notes := func(t *testing.T, args ...string) string {
		t.Helper()
		out, err := chart.Run(t.Context(), append([]string{"install", Release, chart.Dir, "--namespace", Namespace, "--dry-run=client"}, args...)...)
		require.NoError(t, err)
		_, after, found := strings.Cut(out, "\nNOTES:\n")
		require.True(t, found)
		return after
	}
	plain := notes(t)
	for _, command := range []string{
		"kubectl -n mtls-injector rollout status deployment/mtls-injector\n", "helm test mtls-injector -n mtls-injector\n",
		"kubectl label namespace NAMESPACE mtls-enabled=true\n", "kubectl get certificates -A -l cert-type=mtls\n", "kubectl get clusterissuer mtls-ca\n",
	} {
		assert.Contains(t, plain, "  "+command)
	}
	assert.Contains(t, plain, "signed by the ClusterIssuer mtls-ca, which this release makes, and pods trust the\nConfigMap mtls-ca-bundle, which it has trust-manager write:\n")
	assert.NotContains(t, plain, "WARNING")
	for name, tt := range map[string]struct {
		values []string
		want   string
	}{
		"one replica":    {[]string{"replicaCount=1"}, "WARNING: replicaCount is 1. While that replica is away, no opted-in pod is created."},
		"no replica":     {[]string{"replicaCount=0"}, "WARNING: replicaCount is 0: nobody answers for pods."},
		"ignore":         {[]string{"webhook.pods.failurePolicy=Ignore"}, "WARNING: webhook.pods.failurePolicy is Ignore."},
		"an opt-out":     {[]string{"objectSelector.matchLabels.a=b"}, "WARNING: objectSelector is set."},
		"everybody":      {[]string{"namespaceSelector.matchLabels=null"}, "WARNING: namespaceSelector is empty"},
		"host network":   {[]string{"hostNetwork=true"}, "NOTE: There is no NetworkPolicy"},
		"self-managed":   {[]string{"webhook.certificate.mode=selfManaged"}, "its own affair, and kept in the Secret mtls-injector-webhook-ca"},
		"another issuer": {[]string{"webhook.certificate.certManager.issuerRef.name=x"}, "issued by cert-manager's Issuer x"},
		"another CA": {[]string{"trust.ca.create=false", "trust.bundle.create=false", "config.issuer.kind=Issuer", "config.issuer.name=pki"},
			"signed by the Issuer pki, which this release does NOT make, and pods trust the\nConfigMap mtls-ca-bundle, which it does NOT have written"},
		"where it is": {[]string{"trust.ca.create=false", "trust.bundle.create=false", "config.issuer.kind=Issuer", "config.issuer.name=pki"},
			"  kubectl get issuer -A pki\n"},
		"another bundle": {[]string{"trust.bundle.create=false", "config.caBundle.kind=ClusterTrustBundle", "config.caBundle.name=x"},
			"ClusterTrustBundle x, which it does NOT have written"},
		"without the tests": {[]string{"tests.enabled=false"}, "Next, wait until it is ready:"},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Contains(t, notes(t, set(tt.values...)...), tt.want)
			assert.NotContains(t, plain, tt.want)
		})
	}
}
