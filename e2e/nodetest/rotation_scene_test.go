//go:build node

package nodetest

// The pods of the rotation test: three servers that take renewed files in three ways, and one
// that looks at them from outside with openssl.

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster/clustertest"
	"example.io/mtls-injector/e2e/debimage"
	"example.io/mtls-injector/e2e/demo/authority"
	"example.io/mtls-injector/e2e/realnode"
	"example.io/mtls-injector/e2e/shortissuer"
	"example.io/mtls-injector/intent"
)

const (
	goReloadImage = "example.io/go-reload:dev"
	rotationPort  = 8443
	observer      = "observer"
	// rotationLife is how long certificates live; they are renewed after two thirds of it.
	rotationLife = 2 * time.Minute
)

// rotationServer is one way to take renewed files.
type rotationServer struct {
	name, image string
	user        int64
	annotations []string
	nginx       bool
}

func rotationServers() []rotationServer {
	nginx := debimage.Nginx()
	return []rotationServer{
		{name: "by-signal", image: nginx.Reference(), user: int64(nginx.User), nginx: true, annotations: []string{"reload=signal"}},
		{name: "by-restart", image: nginx.Reference(), user: int64(nginx.User), nginx: true, annotations: []string{"reload=restart"}},
		{name: "by-itself", image: goReloadImage, user: 65532, annotations: []string{"agent=true"}},
	}
}

// rotation is a namespace with its own CA and bundle.
type rotation struct {
	*testing.T
	*realnode.Node
	namespace string
	stop      func() // of the issuer
}

func newRotation(t *testing.T) *rotation {
	t.Helper()
	r := &rotation{T: t, Node: theNode(t), stop: func() {}}
	r.namespace = newNamespace(t, "rotation=true")
	images, err := debimage.Pack(t.Context(), clustertest.Stderr, debimage.Nginx(), debimage.Curl())
	require.NoError(t, err)
	program, err := realnode.PackProgram(t.Context(), goReloadImage, "example.io/mtls-injector/examples/go-reload")
	require.NoError(t, err)
	for _, image := range images {
		require.NoError(t, r.Import(t.Context(), image.Archive))
	}
	require.NoError(t, r.Import(t.Context(), program))
	t.Cleanup(func() { r.stop() })
	return r
}

// issue has another CA sign from now on.
func (r *rotation) issue(ca *authority.Authority) {
	r.Helper()
	r.stop()
	ctx, cancel := context.WithCancel(context.Background()) // the test's ends before its cleanups
	ended := make(chan error, 1)
	go func() {
		ended <- shortissuer.Run(ctx, r.Config, shortissuer.Options{
			Ref: cmmeta.IssuerReference{Name: r.namespace, Kind: "ShortIssuer", Group: "short.example.io"},
			CA:  ca.CA, Lifetime: rotationLife, Backdate: time.Second,
		})
	}()
	r.stop = func() {
		cancel()
		assert.NoError(r, <-ended)
		r.stop = func() {}
	}
}

// trust has trust-manager write a bundle of these CAs, named after the namespace, and waits
// until all pods have it in their volumes.
func (r *rotation) trust(cas ...*authority.Authority) {
	r.Helper()
	var sources []any
	for _, ca := range cas {
		sources = append(sources, map[string]any{"inLine": string(ca.CA.Cert)})
	}
	bundle := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "trust.cert-manager.io/v1alpha1", "kind": "Bundle", "metadata": map[string]any{"name": r.namespace},
		"spec": map[string]any{"sources": sources, "target": map[string]any{
			"configMap":         map[string]any{"key": "ca.crt"},
			"namespaceSelector": map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": r.namespace}},
		}},
	}}
	err := r.Client.Create(r.Context(), bundle)
	if err == nil {
		r.Cleanup(func() { assert.NoError(r, r.Client.Delete(context.Background(), bundle)) })
	} else {
		require.NoError(r, client.IgnoreAlreadyExists(err))
		patch, err := bundle.MarshalJSON()
		require.NoError(r, err)
		require.NoError(r, r.Client.Patch(r.Context(), bundle, client.RawPatch("application/merge-patch+json", patch)))
	}
	want := 0
	for _, ca := range cas {
		want += bytes.Count(ca.CA.Cert, []byte("BEGIN CERTIFICATE"))
	}
	require.NoError(r, r.WaitFor(within(r.T, 4*time.Minute), fmt.Sprintf("a bundle of %d CAs in all volumes", want), func(ctx context.Context) error {
		var written corev1.ConfigMap
		if err := r.Client.Get(ctx, client.ObjectKey{Namespace: r.namespace, Name: r.namespace}, &written); err != nil {
			return err
		}
		if have := strings.Count(written.Data["ca.crt"], "BEGIN CERTIFICATE"); have != want {
			return fmt.Errorf("trust-manager has written %d", have)
		}
		for _, pod := range r.pods(ctx) {
			data, err := os.ReadFile(filepath.Join(volumeOf(&pod, "kubernetes.io~configmap", "mtls-ca"), "ca.crt"))
			if err != nil {
				return err
			}
			if !bytes.Equal(bytes.TrimSpace(data), []byte(strings.TrimSpace(written.Data["ca.crt"]))) {
				return fmt.Errorf("pod %s has another", pod.Name)
			}
		}
		return nil
	}))
}

// pods are those of the namespace that stay.
func (r *rotation) pods(ctx context.Context) []corev1.Pod {
	r.Helper()
	var all corev1.PodList
	require.NoError(r, r.Client.List(ctx, &all, client.InNamespace(r.namespace)))
	var stay []corev1.Pod
	for _, pod := range all.Items {
		if pod.DeletionTimestamp.IsZero() && ready(&pod) == nil {
			stay = append(stay, pod)
		}
	}
	return stay
}

// volumeOf returns a volume's folder, as the kubelet has it.
func volumeOf(pod *corev1.Pod, plugin, prefix string) string {
	base := filepath.Join(realnode.KubeletRoot, "pods", string(pod.UID), "volumes", plugin)
	for _, volume := range pod.Spec.Volumes {
		if strings.HasPrefix(volume.Name, prefix) {
			if plugin == "kubernetes.io~csi" {
				return filepath.Join(base, volume.Name, "mount")
			}
			return filepath.Join(base, volume.Name)
		}
	}
	return base
}

// annotated returns annotations of the namespace's own issuer and bundle.
func (r *rotation) annotated(more ...string) map[string]string {
	annotations := map[string]string{}
	for _, pair := range append(more, "issuer="+r.namespace, "issuer-kind=ShortIssuer", "issuer-group=short.example.io", "ca-bundle="+r.namespace) {
		key, value, _ := strings.Cut(pair, "=")
		annotations[intent.Prefix+key] = value
	}
	return annotations
}

// serve deploys a server behind a Service of its name.
func (r *rotation) serve(s rotationServer) {
	r.Helper()
	labels := map[string]string{"app": s.name}
	meta := metav1.ObjectMeta{Namespace: r.namespace, Name: s.name}
	container := corev1.Container{
		Name: "app", Image: s.image, ImagePullPolicy: corev1.PullNever,
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
		ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
			TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(rotationPort)}}},
	}
	spec := corev1.PodSpec{SecurityContext: &corev1.PodSecurityContext{
		RunAsNonRoot: new(true), RunAsUser: &s.user, RunAsGroup: &s.user,
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}}
	if s.nginx {
		container.VolumeMounts = []corev1.VolumeMount{{Name: "nginx", MountPath: "/etc/nginx/nginx.conf", SubPath: "nginx.conf"}}
		spec.Volumes = []corev1.Volume{{Name: "nginx", VolumeSource: corev1.VolumeSource{
			ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "nginx"}}}}}
	}
	spec.Containers = []corev1.Container{container}
	require.NoError(r, r.Client.Create(r.Context(), &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{
		Selector: labels, Ports: []corev1.ServicePort{{Port: rotationPort}}}}))
	require.NoError(r, r.Client.Create(r.Context(), &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: labels},
		Strategy: appsv1.DeploymentStrategy{RollingUpdate: &appsv1.RollingUpdateDeployment{
			MaxUnavailable: new(intstr.FromInt32(0)), MaxSurge: new(intstr.FromInt32(1))}},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: r.annotated(append(s.annotations, "role=server")...)}, Spec: spec},
	}}))
}

// observe is what the observer runs: each second a handshake with each server, and a line of
// what came of it. A certificate that has expired is one that openssl says so of. openssl
// reads its own certificate and key one after the other: a look that fails while these are
// swapped is made again.
const observe = `probe() {
  while :; do
    own=$(readlink -f /etc/tls/client/tls.crt)
    out=$(printf 'GET / HTTP/1.0\r\n\r\n' | timeout 20 openssl s_client -connect "$1:8443" -servername "$1" -verify_hostname "$1" \
      -CAfile /etc/tls/ca/ca.crt -cert /etc/tls/client/tls.crt -key /etc/tls/client/tls.key -verify_return_error -ign_eof 2>&1)
    code=$?
    if [ "$code" != 0 ] && [ "$own" != "$(readlink -f /etc/tls/client/tls.crt)" ]; then
      printf '%s: the own files were swapped\n' "$1"
      continue
    fi
    case "$out" in *hello*) said=hello ;; *) said=nothing ;; esac
    life=$(printf '%s\n' "$out" | openssl x509 -noout -checkend 0 2>&1)
    serial=$(printf '%s\n' "$out" | openssl x509 -noout -serial 2>&1)
    printf 'openssl: %s exit=%s %s (%s) %s\n' "$1" "$code" "$said" "$life" "$serial"
    [ "$code" = 0 ] && [ "$said" = hello ] || printf '%s\n' "$out"
    sleep 1
  done
}
for server in $SERVERS; do probe "$server" & done
wait
`

// watchFromOutside starts the observer.
func (r *rotation) watchFromOutside(servers []rotationServer) {
	r.Helper()
	var names []string
	for _, s := range servers {
		names = append(names, s.name)
	}
	pod := newPod(r.namespace, observer, debimage.Curl().Reference())
	pod.Annotations = r.annotated("role=client", "companion=false")
	pod.Spec.TerminationGracePeriodSeconds = new(int64(1))
	user := int64(debimage.Curl().User)
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: &user, RunAsGroup: &user}
	pod.Spec.Containers[0].Command = []string{"sh", "-c", observe}
	pod.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "SERVERS", Value: strings.Join(names, " ")}}
	require.NoError(r, r.Client.Create(r.Context(), pod))
	awaitReady(r.T, r.namespace, observer)
}
