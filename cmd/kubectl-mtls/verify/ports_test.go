package verify

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func containerPort(name string, number int32) corev1.ContainerPort {
	return corev1.ContainerPort{Name: name, ContainerPort: number}
}

func servicePort(name string, port int32, target intstr.IntOrString) []corev1.Service {
	return []corev1.Service{{
		ObjectMeta: metav1.ObjectMeta{Name: "orders"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: name, Port: port, TargetPort: target}}},
	}}
}

func TestPorts(t *testing.T) {
	udp := corev1.ContainerPort{ContainerPort: 443, Protocol: corev1.ProtocolUDP}
	for name, tc := range map[string]struct {
		ports    []corev1.ContainerPort
		services []corev1.Service
		probe    *corev1.Probe
		asked    string
		number   int
		source   string
		err      string
	}{
		"the only one":             {ports: []corev1.ContainerPort{containerPort("", 9000)}, number: 9000, source: "containerPort of app"},
		"of a Service":             {ports: []corev1.ContainerPort{containerPort("", 9000)}, services: servicePort("", 80, intstr.FromInt32(9001)), number: 9001, source: "port 80 of Service orders"},
		"of a Service by name":     {ports: []corev1.ContainerPort{containerPort("web", 9000)}, services: servicePort("https", 443, intstr.FromString("web")), number: 9000, source: "port 443 of Service orders"},
		"of a Service, the same":   {services: servicePort("", 8443, intstr.IntOrString{}), number: 8443, source: "port 8443 of Service orders"},
		"a name that is not there": {ports: []corev1.ContainerPort{containerPort("", 9000)}, services: servicePort("", 80, intstr.FromString("gone")), number: 9000, source: "containerPort of app"},
		"secure before plain":      {ports: []corev1.ContainerPort{containerPort("http", 8080), containerPort("https", 9443), containerPort("metrics", 9090)}, number: 9443, source: "containerPort https of app"},
		"secure before a Service":  {ports: []corev1.ContainerPort{containerPort("tls", 9443)}, services: servicePort("http", 80, intstr.FromInt32(8080)), number: 9443, source: "containerPort tls of app"},
		"no UDP":                   {ports: []corev1.ContainerPort{udp, containerPort("", 9000)}, number: 9000, source: "containerPort of app"},
		"an HTTPS probe": {
			ports:  []corev1.ContainerPort{containerPort("", 9000), containerPort("", 9001)},
			probe:  &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Scheme: corev1.URISchemeHTTPS, Port: intstr.FromInt32(9001)}}},
			number: 9001, source: "HTTPS probe of app",
		},
		"a TCP probe":    {probe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(9001)}}}, number: 9001, source: "TCP probe of app"},
		"a gRPC probe":   {probe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 9001}}}, number: 9001, source: "gRPC probe of app"},
		"asked for":      {asked: "1234", number: 1234, source: "as asked for"},
		"asked by name":  {asked: "web", ports: []corev1.ContainerPort{containerPort("web", 9000)}, number: 9000, source: "containerPort web of app"},
		"several":        {ports: []corev1.ContainerPort{containerPort("", 9000), containerPort("b", 9001)}, err: "pod orders has several ports, say which: 9000 (containerPort of app), 9001 (containerPort b of app)"},
		"none":           {err: "pod orders names no port, and no Service leads to one: say which"},
		"out of bounds":  {asked: "0", err: `port "0": must be from 1 to 65535`},
		"a name of none": {asked: "web", err: `port "web": no container of pod orders names a port so`},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: "orders"},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Ports: tc.ports, ReadinessProbe: tc.probe}}},
			}
			port, err := choosePort(pod, tc.services, tc.asked)
			if tc.err != "" {
				require.EqualError(t, err, tc.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tc.number, port.Number)
			assert.Equal(t, tc.source, port.Source)
		})
	}
}
