package charttest

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"

	"example.io/mtls-injector/cmd/mtls-injector/app"
)

func deploymentOf(t *testing.T, objects []*unstructured.Unstructured) *appsv1.Deployment {
	t.Helper()
	return must[appsv1.Deployment](t, objects, "Deployment", Release)
}

// podOf renders the chart and returns its Deployment's pod and container.
func podOf(t *testing.T, args ...string) (*corev1.PodTemplateSpec, *corev1.Container) {
	t.Helper()
	deployment := deploymentOf(t, template(t, args...))
	require.Len(t, deployment.Spec.Template.Spec.Containers, 1)
	return &deployment.Spec.Template, &deployment.Spec.Template.Spec.Containers[0]
}

// TestImage: by tag, by digest, or both.
func TestImage(t *testing.T) {
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for want, values := range map[string][]string{
		"registry.example.io/mtls-injector:v0.1.0":       nil,
		"registry.example.io/mtls-injector:v9":           {"image.tag=v9"},
		"registry.example.io/mtls-injector@" + digest:    {"image.digest=" + digest},
		"registry.example.io/mtls-injector:v9@" + digest: {"image.tag=v9", "image.digest=" + digest},
		"example.com:5000/a/b:v0.1.0":                    {"image.repository=example.com:5000/a/b"},
	} {
		objects := template(t, set(values...)...)
		assert.Equal(t, want, deploymentOf(t, objects).Spec.Template.Spec.Containers[0].Image)
		assert.Equal(t, want, must[corev1.Pod](t, objects, "Pod", Release+"-smoke-test").Spec.Containers[0].Image)
	}
}

// TestArguments are all flags of the program, in each way to get a certificate.
func TestArguments(t *testing.T) {
	common := func(certificate ...string) []string {
		args := append([]string{"webhook", "--config=/etc/mtls-injector/config/config.yaml", "--port=9443"}, certificate...)
		return append(args, "--health-probe-bind-address=:8081", "--metrics-bind-address=:8080", "--leader-elect",
			"--leader-elect-namespace=$(POD_NAMESPACE)", "--drain-delay=5s", "--shutdown-timeout=30s", "--zap-log-level=info")
	}
	pod, container := podOf(t)
	assert.Equal(t, common("--cert-dir=/etc/mtls-injector/serving-certs"), container.Args)
	assert.Equal(t, []corev1.VolumeMount{
		{Name: "config", MountPath: "/etc/mtls-injector/config", ReadOnly: true},
		{Name: "serving-certs", MountPath: "/etc/mtls-injector/serving-certs", ReadOnly: true},
	}, container.VolumeMounts)
	assert.Equal(t, Release, pod.Spec.Volumes[0].ConfigMap.Name)
	assert.Equal(t, Release+"-webhook-tls", pod.Spec.Volumes[1].Secret.SecretName)

	pod, container = podOf(t, set("webhook.certificate.mode=selfManaged", "config.clusterDomain=cluster.example")...)
	assert.Equal(t, common("--serving-cert-mode=self-managed", "--serving-cert-secret-namespace=$(POD_NAMESPACE)",
		"--serving-cert-secret-name=mtls-injector-webhook-ca",
		"--serving-cert-dns-names=mtls-injector.mtls-injector,mtls-injector.mtls-injector.svc,mtls-injector.mtls-injector.svc.cluster.example",
		"--serving-cert-ca-duration=8760h", "--serving-cert-leaf-duration=168h", "--webhook-configuration-name=mtls-injector"), container.Args)
	assert.Len(t, pod.Spec.Volumes, 1)
	assert.Len(t, container.VolumeMounts, 1)
}

// TestArgumentsAreFlags: the program knows all of them, and takes their values.
func TestArgumentsAreFlags(t *testing.T) {
	for name, args := range variations(t) {
		var all [][]string
		for _, object := range template(t, args...) {
			switch object.GetKind() {
			case "Deployment":
				all = append(all, deploymentSpec(t, object).Containers[0].Args)
			case "Pod":
				pod, err := Into[corev1.Pod](object)
				require.NoError(t, err)
				all = append(all, pod.Spec.Containers[0].Args)
			}
		}
		require.NotEmpty(t, all)
		for _, args := range all {
			command, flags, err := app.NewCommand("test").Find(args)
			require.NoError(t, err, name)
			assert.Equal(t, args[0], command.Name(), name)
			require.NoError(t, command.ParseFlags(flags), name)
			assert.Empty(t, command.Flags().Args(), name)
		}
	}
}

// TestEnvironment: the program knows its namespace and how much memory it may use.
func TestEnvironment(t *testing.T) {
	for name, tt := range map[string]struct {
		values []string
		want   map[string]string
	}{
		"default":          {nil, map[string]string{"GOMEMLIMIT": "230MiB"}},
		"a gibibyte":       {[]string{"resources.limits.memory=1Gi"}, map[string]string{"GOMEMLIMIT": "921MiB"}},
		"a half":           {[]string{"resources.limits.memory=0.5Gi"}, map[string]string{"GOMEMLIMIT": "460MiB"}},
		"decimal":          {[]string{"resources.limits.memory=200M"}, map[string]string{"GOMEMLIMIT": "171MiB"}},
		"bytes":            {[]string{"resources.limits.memory=268435456"}, map[string]string{"GOMEMLIMIT": "230MiB"}},
		"without a limit":  {[]string{"resources.limits=null"}, map[string]string{}},
		"chosen otherwise": {[]string{"extraEnv[0].name=GOMEMLIMIT", "extraEnv[0].value=1GiB"}, map[string]string{"GOMEMLIMIT": "1GiB"}},
		"more": {[]string{"extraEnv[0].name=HTTPS_PROXY", "extraEnv[0].value=http://proxy"},
			map[string]string{"GOMEMLIMIT": "230MiB", "HTTPS_PROXY": "http://proxy"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, container := podOf(t, set(tt.values...)...)
			got := map[string]string{}
			for _, variable := range container.Env {
				if variable.Name == "POD_NAMESPACE" {
					assert.Equal(t, "metadata.namespace", variable.ValueFrom.FieldRef.FieldPath)
					continue
				}
				assert.NotContains(t, got, variable.Name)
				got[variable.Name] = variable.Value
			}
			assert.Equal(t, tt.want, got)
			assert.Len(t, container.Env, len(tt.want)+1)
		})
	}
}

// TestRestricted: pods satisfy the Pod Security Standard restricted, in every variation that
// does not need the node's network.
func TestRestricted(t *testing.T) {
	for name, args := range variations(t) {
		objects := template(t, args...)
		pods := []corev1.PodSpec{}
		for _, object := range objects {
			switch object.GetKind() {
			case "Deployment":
				pods = append(pods, deploymentSpec(t, object))
			case "Pod":
				pod, err := Into[corev1.Pod](object)
				require.NoError(t, err)
				pods = append(pods, pod.Spec)
			}
		}
		require.NotEmpty(t, pods)
		for _, pod := range pods {
			assert.Equal(t, new(true), pod.SecurityContext.RunAsNonRoot, name)
			assert.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, pod.SecurityContext.SeccompProfile.Type, name)
			assert.Equal(t, new(true), pod.AutomountServiceAccountToken, name)
			for i := range pod.Containers {
				security := pod.Containers[i].SecurityContext
				assert.Equal(t, new(false), security.AllowPrivilegeEscalation, name)
				assert.Equal(t, new(true), security.ReadOnlyRootFilesystem, name)
				assert.Equal(t, []corev1.Capability{"ALL"}, security.Capabilities.Drop, name)
				assert.Empty(t, security.Capabilities.Add, name)
				assert.NotZero(t, pod.Containers[i].Resources.Limits.Memory().Value(), name)
				assert.Zero(t, pod.Containers[i].Resources.Limits.Cpu().Value(), name)
			}
			for i := range pod.Volumes {
				assert.Nil(t, pod.Volumes[i].HostPath, name)
			}
		}
	}
	pod, _ := podOf(t)
	assert.Equal(t, new(int64(65532)), pod.Spec.SecurityContext.RunAsUser)
}

func deploymentSpec(t *testing.T, object *unstructured.Unstructured) corev1.PodSpec {
	t.Helper()
	deployment, err := Into[appsv1.Deployment](object)
	require.NoError(t, err)
	return deployment.Spec.Template.Spec
}

// TestAvailability: how replicas are kept up.
func TestAvailability(t *testing.T) {
	objects := template(t)
	deployment := deploymentOf(t, objects)
	assert.Equal(t, new(int32(2)), deployment.Spec.Replicas)
	assert.Equal(t, new(intstr.FromInt32(0)), deployment.Spec.Strategy.RollingUpdate.MaxUnavailable)
	var keys []string
	for _, constraint := range deployment.Spec.Template.Spec.TopologySpreadConstraints {
		keys = append(keys, constraint.TopologyKey)
		assert.Equal(t, corev1.ScheduleAnyway, constraint.WhenUnsatisfiable)
		assert.Equal(t, deployment.Spec.Selector, constraint.LabelSelector)
		assert.Equal(t, []string{"pod-template-hash"}, constraint.MatchLabelKeys)
	}
	assert.Equal(t, []string{"kubernetes.io/hostname", "topology.kubernetes.io/zone"}, keys)
	budget := must[policyv1.PodDisruptionBudget](t, objects, "PodDisruptionBudget", Release)
	assert.Equal(t, new(intstr.FromInt32(1)), budget.Spec.MaxUnavailable)
	assert.Nil(t, budget.Spec.MinAvailable)
	assert.Equal(t, deployment.Spec.Selector, budget.Spec.Selector)
	assert.Nil(t, Find(objects, "HorizontalPodAutoscaler", Release))

	container := deployment.Spec.Template.Spec.Containers[0]
	assert.Equal(t, "/readyz", container.ReadinessProbe.HTTPGet.Path)
	assert.Equal(t, "/healthz", container.LivenessProbe.HTTPGet.Path)
	assert.Equal(t, "/healthz", container.StartupProbe.HTTPGet.Path)
	assert.Equal(t, resource.MustParse("128Mi"), container.Resources.Requests[corev1.ResourceMemory])

	objects = template(t, variations(t)["autoscaling"]...)
	assert.Nil(t, deploymentOf(t, objects).Spec.Replicas, "the autoscaler's alone")
	scaler := must[autoscalingv2.HorizontalPodAutoscaler](t, objects, "HorizontalPodAutoscaler", Release)
	assert.Equal(t, autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: Release}, scaler.Spec.ScaleTargetRef)
	assert.Equal(t, int32(6), scaler.Spec.MaxReplicas)
	var metrics []string
	for _, metric := range scaler.Spec.Metrics {
		if metric.Resource != nil {
			metrics = append(metrics, string(metric.Resource.Name))
		}
	}
	assert.Equal(t, []string{"cpu", "memory"}, metrics)
	assert.Len(t, scaler.Spec.Metrics, 3)
	assert.Equal(t, new(intstr.FromString("50%")), must[policyv1.PodDisruptionBudget](t, objects, "PodDisruptionBudget", Release).Spec.MinAvailable)
}

// TestShutdown: the kubelet waits longer than the program takes to stop.
func TestShutdown(t *testing.T) {
	for _, values := range [][]string{nil, {"shutdown.drainDelaySeconds=60", "shutdown.timeoutSeconds=0"}} {
		pod, container := podOf(t, set(values...)...)
		var longest time.Duration
		for _, arg := range container.Args {
			name, value, _ := strings.Cut(arg, "=")
			if name == "--drain-delay" || name == "--shutdown-timeout" {
				seconds, err := time.ParseDuration(value)
				require.NoError(t, err)
				longest += seconds
			}
		}
		assert.Greater(t, time.Duration(*pod.Spec.TerminationGracePeriodSeconds)*time.Second, longest)
		assert.Nil(t, container.Lifecycle, "the program drains by itself")
	}
}

// TestPorts: the container's are those of the values; what points at them does so by name.
func TestPorts(t *testing.T) {
	pod, container := podOf(t, variations(t)["host-network"]...)
	assert.True(t, pod.Spec.HostNetwork)
	assert.Equal(t, corev1.DNSClusterFirstWithHostNet, pod.Spec.DNSPolicy)
	got := map[string]int32{}
	for _, port := range container.Ports {
		got[port.Name] = port.ContainerPort
	}
	assert.Equal(t, map[string]int32{"https": 10260, "metrics": 10261, "health": 10262}, got)
	assert.Subset(t, container.Args, []string{"--port=10260", "--metrics-bind-address=:10261", "--health-probe-bind-address=:10262"})

	objects := template(t)
	assert.Equal(t, corev1.DNSClusterFirst, deploymentOf(t, objects).Spec.Template.Spec.DNSPolicy)
	for name, want := range map[string]corev1.ServicePort{
		Release:              {Name: "https", Port: 443, TargetPort: intstr.FromString("https"), Protocol: corev1.ProtocolTCP},
		Release + "-metrics": {Name: "metrics", Port: 8080, TargetPort: intstr.FromString("metrics"), Protocol: corev1.ProtocolTCP},
	} {
		service := must[corev1.Service](t, objects, "Service", name)
		assert.Equal(t, []corev1.ServicePort{want}, service.Spec.Ports)
		assert.Equal(t, deploymentOf(t, objects).Spec.Selector.MatchLabels, service.Spec.Selector)
	}
}

// TestConfigurationRollsNobody: replicas read a new configuration by themselves.
func TestConfigurationRollsNobody(t *testing.T) {
	before, after := template(t), template(t, set("config.trustDomain=other", "namespaceSelector.matchLabels.more=x")...)
	assert.Equal(t, deploymentOf(t, before), deploymentOf(t, after))
	assert.NotEqual(t, Find(before, "ConfigMap", Release), Find(after, "ConfigMap", Release))
}

// TestNobodyElseIsSelected: the pod of the smoke test is none of the Deployment's.
func TestNobodyElseIsSelected(t *testing.T) {
	objects := template(t)
	deployment := deploymentOf(t, objects)
	selector, err := metav1.LabelSelectorAsSelector(deployment.Spec.Selector)
	require.NoError(t, err)
	assert.True(t, selector.Matches(labelSet(deployment.Spec.Template.Labels)))
	assert.False(t, selector.Matches(labelSet(Find(objects, "Pod", Release+"-smoke-test").GetLabels())))
}
