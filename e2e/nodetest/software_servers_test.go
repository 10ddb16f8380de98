//go:build node

package nodetest

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/debimage"
	"example.io/mtls-injector/intent"
)

const (
	configName  = "config"
	foreignName = "foreign"
)

// server is software that serves.
type server struct {
	name   string // in the matrix, with the version of
	debian string // this package
	image  *debimage.Spec
	port   int32
	// command replaces the image's own, args its arguments.
	command, args []string
	config        map[string]string // files of testdata by their paths in the container
	data          string            // an empty folder to write to
	group         bool              // the key may not be everybody's to read
	signal        string            // tells it to read its files again
	rereads       bool              // it does so by itself
	client        string            // who calls it
	answer        string            // what it answers
	// What a caller without a certificate, and with that of another CA, is told.
	without, foreign string
}

func servers() []*server {
	return []*server{
		{
			name: "nginx", debian: "nginx", image: debimage.Nginx(), port: 8443,
			config: map[string]string{"/etc/nginx/nginx.conf": "nginx.conf"}, signal: "SIGHUP",
			client: "curl", answer: "hello", without: "No required SSL certificate was sent", foreign: "The SSL certificate error",
		},
		{
			name: "HAProxy", debian: "haproxy", image: debimage.HAProxy(), port: 8443,
			config: map[string]string{"/etc/haproxy/haproxy.cfg": "haproxy.cfg"}, signal: "SIGUSR2",
			client: "curl", answer: "hello", without: "alert certificate required", foreign: "alert unknown ca",
		},
		{
			name: "PostgreSQL", debian: "postgresql-15", image: debimage.Postgres(), port: 5432,
			command: []string{"sh", "/etc/postgresql/start.sh"}, data: "/var/lib/postgresql/data", group: true, signal: "SIGHUP",
			config: map[string]string{
				"/etc/postgresql/start.sh": "postgres.sh", "/etc/postgresql/pg_hba.conf": "pg_hba.conf", "/etc/postgresql/pg_ident.conf": "pg_ident.conf",
			},
			client: "psql", answer: "user|app|serial|", without: "connection requires a valid client certificate", foreign: "alert unknown ca",
		},
		{
			name: "Node.js", debian: "nodejs", image: debimage.Node(), port: 8443,
			args: []string{"/app/server.js"}, config: map[string]string{"/app/server.js": "server.js"}, signal: "SIGHUP",
			client: "curl", answer: "hello", without: "alert certificate required",
			// It says nothing: it ends the connection.
			foreign: "curl: (5",
		},
		{
			name: "Go", image: debimage.Peer(), port: 8443, args: []string{"serve", "--until-signal"}, rereads: true,
			client: "curl", answer: `{"caller":`, without: "alert certificate required", foreign: "alert unknown ca",
		},
	}
}

// reloads are the values of the annotation that are tried.
func (s *server) reloads() []string {
	if s.signal == "" {
		return []string{"none", "restart"}
	}
	return []string{"none", "restart", "signal"}
}

func (s *server) workload(reload string) string { return s.image.Name + "-" + reload }

// pod is the template of the server's pods, as somebody would write it for a cluster where
// restricted Pod Security holds.
func (s *server) pod(annotations map[string]string) corev1.PodTemplateSpec {
	pod := template(s.image, s.config, annotations)
	c := &pod.Spec.Containers[0]
	c.Command, c.Args = s.command, s.args
	c.Ports = []corev1.ContainerPort{{ContainerPort: s.port}}
	c.ReadinessProbe = &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(s.port)}}, PeriodSeconds: 2,
	}
	if s.data != "" {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "data", MountPath: s.data})
	}
	return pod
}

// template is a pod of one container that runs an image as its user.
func template(image *debimage.Spec, config, annotations map[string]string) corev1.PodTemplateSpec {
	c := corev1.Container{
		Name: "app", Image: image.Reference(), ImagePullPolicy: corev1.PullNever,
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
	// A file of a configuration may be mounted by subPath: it is not to change.
	for path, file := range config {
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: configName, MountPath: path, SubPath: file})
	}
	id := int64(image.User)
	pod := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{}},
		Spec: corev1.PodSpec{
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: new(true), RunAsUser: &id, RunAsGroup: &id, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			TerminationGracePeriodSeconds: new(int64(3)),
			Containers:                    []corev1.Container{c},
			Volumes: []corev1.Volume{{Name: configName, VolumeSource: corev1.VolumeSource{
				ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: configName}},
			}}},
		},
	}
	for key, value := range annotations {
		pod.Annotations[intent.Prefix+key] = value
	}
	return pod
}

// serve deploys the server behind a Service of its workload's name.
func (s *software) serve(one *server, reload string) {
	s.Helper()
	annotations := s.annotations(reload, map[string]string{"role": "server", "reload": reload, "pre-stop-seconds": "1"})
	if reload == "signal" {
		annotations["reload-signal"] = one.signal
	}
	name := one.workload(reload)
	labels := map[string]string{"app": name}
	pod := one.pod(annotations)
	pod.Labels = labels
	if one.group {
		s.ownGroup(&pod)
	}
	meta := metav1.ObjectMeta{Namespace: s.namespace, Name: name}
	require.NoError(s, s.Client.Create(s.Context(), &corev1.Service{
		ObjectMeta: meta, Spec: corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{{Port: one.port}}},
	}))
	require.NoError(s, s.Client.Create(s.Context(), &appsv1.Deployment{
		ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: pod},
	}))
}

// annotations are those of a pod that is to see a renewal. The CSI driver renews when it is time
// to, so that has to be soon; the rest is renewed by hand.
func (s *software) annotations(reload string, more map[string]string) map[string]string {
	annotations := map[string]string{"delivery": s.delivery}
	if s.delivery == "csi" && reload != "restart" {
		annotations["duration"], annotations["renew-before"], annotations["companion"] = "1h", "59m", "false"
	}
	maps.Copy(annotations, more)
	return annotations
}

// ownGroup gives files of Secrets the group of the pod's user: otherwise everybody may read
// them, at which PostgreSQL and libpq take offence. The CSI driver's files need no help.
func (s *software) ownGroup(pod *corev1.PodTemplateSpec) {
	if s.delivery == "secret" {
		pod.Spec.SecurityContext.FSGroup = pod.Spec.SecurityContext.RunAsGroup
	}
}

// awaitServer waits for the one pod of a workload.
func (s *software) awaitServer(workload string) *corev1.Pod {
	s.Helper()
	var pod *corev1.Pod
	require.NoError(s, s.WaitFor(s.patient(), workload+" to be ready", func(ctx context.Context) error {
		pods, err := s.WaitForPods(ctx, s.namespace, map[string]string{"app": workload}, 1)
		if err != nil {
			return err
		}
		pod = &pods[0]
		return ready(pod)
	}))
	return pod
}

// patient is for waits in which forty pods start on two cores.
func (s *software) patient() context.Context {
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	s.Cleanup(cancel)
	return ctx
}

// checkServer checks who gets in, and what becomes of a renewed certificate.
func (s *software) checkServer(one *server) {
	caller := clientNamed(one.client)
	s.awaitServer(caller.pod())
	s.checkCalls(caller, one, one.without, one.foreign)
	s.setCalls(one.name)
	for _, reload := range one.reloads() {
		s.Run(reload, func(t *testing.T) {
			t.Parallel()
			sub := s.with(t)
			sub.set(one.name, s.delivery, "reload: "+reload, sub.checkReload(one, reload))
		})
	}
	if one.signal == "" {
		s.set(one.name, s.delivery, "reload: signal", "not needed")
	}
}

// checkCalls makes the four calls that tell whether both sides do their part.
func (s *software) checkCalls(caller *caller, one *server, without, foreign string) {
	s.Helper()
	host := one.workload("none")
	other := s.impostor(one, s.awaitServer(host))
	for _, c := range []struct {
		what, host, pair, want string
		refused                bool
	}{
		{"its own certificate", host, ownPair, one.answer, false},
		{"no certificate", host, noPair, without, true},
		{"another CA's certificate", host, foreignPair, foreign, true},
		{"a name that is not in the server's certificate", other, ownPair, caller.wrongName, true},
	} {
		// What kube-proxy knows is a moment behind.
		err := s.WaitFor(s.patient(), fmt.Sprintf("%s to call %s with %s", caller.name, one.name, c.what), func(ctx context.Context) error {
			out, err := s.call(ctx, caller, c.host, c.pair)
			if !strings.Contains(out, c.want) || !caller.quiet && (err != nil) != c.refused {
				return fmt.Errorf("it prints %q and ends with %w, want %q", out, err, c.want)
			}
			return nil
		})
		require.NoError(s, err)
	}
}

// impostor is a name that leads to the server's pod without being one of its own: a Service
// without a selector gives none to anybody.
func (s *software) impostor(one *server, pod *corev1.Pod) string {
	s.Helper()
	name := "not-" + one.workload("none")
	meta := metav1.ObjectMeta{Namespace: s.namespace, Name: name}
	service := &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: one.port}}}}
	require.NoError(s, client.IgnoreAlreadyExists(s.Client.Create(s.Context(), service)))
	meta.Labels = map[string]string{discoveryv1.LabelServiceName: name}
	require.NoError(s, client.IgnoreAlreadyExists(s.Client.Create(s.Context(), &discoveryv1.EndpointSlice{
		ObjectMeta: meta, AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{pod.Status.PodIP}}},
		Ports:     []discoveryv1.EndpointPort{{Port: &one.port}},
	})))
	return name
}
