package e2e

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
)

// checkOdd: each warning by itself.
func checkOdd(v *validating) {
	bare := v.newNamespace()
	for name, tc := range map[string]struct {
		annotations map[string]string
		change      func(*appsv1.Deployment)
		want        []string
	}{
		"nothing": {map[string]string{"role": "server"}, func(*appsv1.Deployment) {}, nil},
		"an HTTPS probe": {map[string]string{"role": "server"}, func(d *appsv1.Deployment) {
			get := &corev1.HTTPGetAction{Port: intstr.FromInt32(8443), Scheme: corev1.URISchemeHTTPS}
			d.Spec.Template.Spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: get}}
		}, []string{"HTTPS probes present no client certificate and fail where one is required (app.livenessProbe): mtls.example.io/probes: tcp turns them into tcpSocket"}},
		"a subPath": {map[string]string{"role": "server", "delivery": "secret"}, func(d *appsv1.Deployment) {
			secret := &corev1.SecretVolumeSource{SecretName: "web-mtls"}
			d.Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "own", VolumeSource: corev1.VolumeSource{Secret: secret}}}
			d.Spec.Template.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "own", MountPath: "/key.pem", SubPath: "tls.key"}}
		}, []string{`container "app" mounts "tls.key" of volume "own" by subPath, which stays as it is when the files are renewed: mount the whole volume`}},
		"no Service yet": {map[string]string{"role": "server"}, func(d *appsv1.Deployment) {
			d.Spec.Template.Labels["app"], d.Spec.Selector.MatchLabels["app"] = "api", "api"
		},
			[]string{`no Service selects the pod and its workload's name "web" is no name of its own: the certificate has no DNS name`}},
		"no CA bundle": {map[string]string{"role": "client"}, func(d *appsv1.Deployment) { d.Namespace = bare },
			[]string{`ConfigMap "mtls-ca-bundle" with the CA bundle does not exist in namespace "` + bare + `", and pods do not start without it: have trust-manager write it there`}},
		"a short lifetime": {map[string]string{"role": "server", "duration": "24h"}, func(*appsv1.Deployment) {},
			[]string{"a certificate lasts 24h with mtls.example.io/reload: none, so a program that does not read its files again fails by then: set mtls.example.io/reload: restart or a longer mtls.example.io/duration"}},
		"no known group": {map[string]string{"role": "server"}, func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsNonRoot: new(true)}
		}, []string{`container "app" runs as a non-root user without a known group and may not be able to read its key: set its runAsGroup or the pod's securityContext.fsGroup`}},
		"misplaced": {nil, func(d *appsv1.Deployment) { d.Annotations = prefixed(map[string]string{"role": "server"}) },
			[]string{"mtls.example.io/role in metadata.annotations has no effect: move it to spec.template.metadata.annotations"}},
	} {
		v.Run(name, func(t *testing.T) {
			deployment := v.deployment(tc.annotations)
			tc.change(deployment)
			warnings, err := v.on(t).create(deployment)
			require.NoError(t, err)
			assert.Equal(t, tc.want, warnings)
		})
	}
}

// checkOddWithKubectl: all together, as they are read.
func checkOddWithKubectl(v *validating) {
	manifest, err := os.ReadFile(workloadsFolder + "/odd.yaml")
	require.NoError(v, err)
	bare := v.newNamespace()
	out, err := v.in(bare).kubectl(string(manifest), "apply", "-f", "-")
	require.NoError(v, err, out)
	v.requireGolden("odd", strings.ReplaceAll(out, bare, "NAMESPACE"))
}

// checkOtherBundle: the injector may only look for the CA bundle of its configuration.
func checkOtherBundle(v *validating) {
	warnings, err := v.create(v.deployment(map[string]string{"role": "server", "ca-bundle": "another"}))
	require.NoError(v, err)
	assert.Empty(v, warnings)
}

// checkServiceOrder applies a Deployment and the Service that it names in one file.
func checkServiceOrder(v *validating, first bool) {
	const service = "apiVersion: v1\nkind: Service\nmetadata: {name: front}\nspec: {selector: {app: web}, ports: [{port: 443}]}\n"
	deployment := strings.Replace(v.kinds()["Deployment"], "role: server", "role: server, mtls.example.io/service: front", 1)
	deployment = strings.Replace(deployment, "replicas: 0", "replicas: 1", 1)
	files := []string{deployment, service}
	want := "Warning: pods will be refused until the Service exists and selects them: "
	if first {
		files, want = []string{service, deployment}, "service/front created\ndeployment.apps/web created\n"
	}
	v.namespace = v.newNamespace()
	require.NoError(v, v.Client.Create(v.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: v.namespace, Name: "mtls-ca-bundle"}}))
	out, err := v.kubectl(strings.Join(files, "\n---\n"), "apply", "-f", "-")
	require.NoError(v, err, out)
	assert.Contains(v, out, want)
	assert.Contains(v, out, "deployment.apps/web created\n")
	pods, err := v.WaitForPods(v.Context(), v.namespace, map[string]string{"app": "web"}, 1)
	require.NoError(v, err)
	assert.Equal(v, "front", seeNames(&admitted{Pod: &pods[0]}))
}

// checkServiceOfOthers: a Service that is there and selects other pods will not do.
func checkServiceOfOthers(v *validating) {
	db := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: v.namespace, Name: "db"}}
	db.Spec.Selector, db.Spec.Ports = map[string]string{"app": "db"}, []corev1.ServicePort{{Port: 443}}
	require.NoError(v, v.Client.Create(v.Context(), db))
	_, err := v.create(v.deployment(map[string]string{"role": "server", "service": "db"}))
	assertRefusedAs(v.T, "Deployment", err, "spec.template.metadata.annotations[mtls.example.io/service]", `Invalid value: "db": Service "db" does not exist in namespace "`+
		v.namespace+`" or its selector does not match the pod's labels; allowed: web`)
}

// newNamespaceObject returns an opted-in Namespace, not made yet.
func (v *validating) newNamespaceObject(annotations map[string]string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "test-", Labels: map[string]string{cluster.EnabledLabel: "true"}, Annotations: prefixed(annotations),
	}}
}

func checkNamespaceAnnotations(v *validating) {
	_, err := v.create(v.newNamespaceObject(map[string]string{"role": "server", "reload": "restart"}))
	require.NoError(v, err)
	wrong := v.newNamespaceObject(map[string]string{"role": "sever", "rol": "server", "service": "web"})
	_, err = v.create(wrong)
	for field, message := range map[string]string{
		"role":    `Invalid value: "sever": must be one of server, client, both, none; did you mean "server"?`,
		"rol":     `Invalid value: "mtls.example.io/rol": unknown annotation; did you mean "mtls.example.io/role"?`,
		"service": `Invalid value: "mtls.example.io/service": may stand on pods only, not on a Namespace`,
	} {
		assertRefusedAs(v.T, "Namespace", err, "metadata.annotations[mtls.example.io/"+field+"]", message)
	}
	delete(wrong.Labels, cluster.EnabledLabel)
	_, err = v.create(wrong)
	require.NoError(v, err, "it is none of our business")
}

// checkNamespaceUpdates: an opted-in Namespace that is wrong can be labelled as ever.
func checkNamespaceUpdates(v *validating) {
	namespace := optedInLater(v.T, v.Cluster, prefixed(map[string]string{"role": "sever"}))
	const problem = `metadata.annotations[mtls.example.io/role]: Invalid value: "sever": must be one of server, client, both, none; did you mean "server"?`
	const warning = "Warning: pods that leave it as it is will be refused: " + problem + "\n"
	for _, step := range []struct{ verb, change, want string }{
		{"label", "team=retail", warning + "namespace/" + namespace + " labeled\n"},
		{"annotate", "example.com/a=b", warning + "namespace/" + namespace + " annotated\n"},
		{"annotate", "mtls.example.io/env=curl", `The Namespace "` + namespace + `" is invalid: ` + problem + "\n"},
		{"annotate", "mtls.example.io/role=server", "namespace/" + namespace + " annotated\n"},
		{"annotate", "mtls.example.io/role=sever", `The Namespace "` + namespace + `" is invalid: ` + problem + "\n"},
	} {
		out, err := v.kubectl("", step.verb, "--overwrite", "namespace", namespace, step.change)
		assert.Equal(v, strings.HasPrefix(step.want, "The "), err != nil, step.change)
		assert.Equal(v, step.want, out, step.change)
	}
	require.NoError(v, v.Client.Delete(v.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, client.GracePeriodSeconds(0)))
}
