package verify

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Port is a port of the pod, and how it was found.
type Port struct {
	Number int `json:"number"`
	// Source says for people what the port is known from.
	Source string `json:"source"`

	rank int
}

// The ranks, best first.
const (
	rankSecureService = iota
	rankSecureName
	rankSecureProbe
	rankService
	rankContainer
	rankProbe
	rankPlain
)

const (
	httpsPort     = 443
	httpsAltPort  = 8443
	maxPortNumber = 65535
)

// choosePort returns the port that is asked for, or the one that is best.
func choosePort(pod *corev1.Pod, services []corev1.Service, asked string) (*Port, error) {
	found := candidates(pod, services)
	if asked != "" {
		return askedPort(pod, found, asked)
	}
	switch {
	case len(found) == 0:
		return nil, fmt.Errorf("pod %s names no port, and no Service leads to one: say which", pod.Name)
	case len(found) > 1 && found[0].rank == found[1].rank:
		var texts []string
		for i := range found {
			texts = append(texts, fmt.Sprintf("%d (%s)", found[i].Number, found[i].Source))
		}
		return nil, fmt.Errorf("pod %s has several ports, say which: %s", pod.Name, strings.Join(texts, ", "))
	}
	return &found[0], nil
}

func askedPort(pod *corev1.Pod, found []Port, asked string) (*Port, error) {
	number, err := strconv.Atoi(asked)
	if err != nil {
		if number = numberOf(pod, intstr.FromString(asked)); number == 0 {
			return nil, fmt.Errorf("port %q: no container of pod %s names a port so", asked, pod.Name)
		}
	}
	if number < 1 || number > maxPortNumber {
		return nil, fmt.Errorf("port %q: must be from 1 to %d", asked, maxPortNumber)
	}
	for i := range found {
		if found[i].Number == number {
			return &found[i], nil
		}
	}
	return &Port{Number: number, Source: "as asked for"}, nil
}

// candidates returns the ports that could be meant, the best first, each once.
func candidates(pod *corev1.Pod, services []corev1.Service) []Port {
	found := slices.Concat(servicePorts(pod, services), containerPorts(pod), probePorts(pod))
	slices.SortStableFunc(found, func(a, b Port) int { return cmp.Compare(a.rank, b.rank) })
	var once []Port
	for _, port := range found {
		if !slices.ContainsFunc(once, func(p Port) bool { return p.Number == port.Number }) {
			once = append(once, port)
		}
	}
	return once
}

// isSecure reports whether a name or number is one that people use for TLS, and isPlain for
// what is none.
func isSecure(name string, number int32) bool {
	return number == httpsPort || number == httpsAltPort || slices.Contains([]string{"https", "tls", "mtls", "grpcs", "wss"}, name) ||
		strings.HasPrefix(name, "https-") || strings.HasPrefix(name, "tls-") || strings.HasSuffix(name, "-tls")
}

func isPlain(name string) bool {
	return name == "http" || strings.HasPrefix(name, "http-") || strings.Contains(name, "metrics") || strings.Contains(name, "health")
}

func rankOf(name string, number int32, secure, other int) int {
	switch {
	case isSecure(name, number):
		return secure
	case isPlain(name):
		return rankPlain
	}
	return other
}

func servicePorts(pod *corev1.Pod, services []corev1.Service) []Port {
	var found []Port
	for i := range services {
		for _, port := range services[i].Spec.Ports {
			target := port.TargetPort
			if target == (intstr.IntOrString{}) {
				target = intstr.FromInt32(port.Port)
			}
			number := numberOf(pod, target)
			if number == 0 || port.Protocol == corev1.ProtocolUDP {
				continue
			}
			found = append(found, Port{
				Number: number, Source: fmt.Sprintf("port %d of Service %s", port.Port, services[i].Name),
				rank: rankOf(port.Name, port.Port, rankSecureService, rankService),
			})
		}
	}
	return found
}

func containerPorts(pod *corev1.Pod) []Port {
	var found []Port
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		for _, port := range c.Ports {
			if port.Protocol == corev1.ProtocolUDP || port.Protocol == corev1.ProtocolSCTP {
				continue
			}
			source := "containerPort of " + c.Name
			if port.Name != "" {
				source = fmt.Sprintf("containerPort %s of %s", port.Name, c.Name)
			}
			found = append(found, Port{
				Number: int(port.ContainerPort), Source: source,
				rank: rankOf(port.Name, port.ContainerPort, rankSecureName, rankContainer),
			})
		}
	}
	return found
}

func probePorts(pod *corev1.Pod) []Port {
	var found []Port
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		for _, p := range []*corev1.Probe{c.ReadinessProbe, c.LivenessProbe, c.StartupProbe} {
			switch {
			case p == nil:
			case p.HTTPGet != nil && p.HTTPGet.Scheme == corev1.URISchemeHTTPS:
				found = append(found, Port{Number: numberOf(pod, p.HTTPGet.Port), Source: "HTTPS probe of " + c.Name, rank: rankSecureProbe})
			case p.TCPSocket != nil:
				found = append(found, Port{Number: numberOf(pod, p.TCPSocket.Port), Source: "TCP probe of " + c.Name, rank: rankProbe})
			case p.GRPC != nil:
				found = append(found, Port{Number: int(p.GRPC.Port), Source: "gRPC probe of " + c.Name, rank: rankPlain})
			}
		}
	}
	return slices.DeleteFunc(found, func(p Port) bool { return p.Number == 0 })
}

// numberOf looks a named port up in the pod's containers; 0: there is none.
func numberOf(pod *corev1.Pod, port intstr.IntOrString) int {
	if port.Type == intstr.Int {
		return port.IntValue()
	}
	for i := range pod.Spec.Containers {
		for _, p := range pod.Spec.Containers[i].Ports {
			if p.Name == port.StrVal && p.Protocol != corev1.ProtocolUDP {
				return int(p.ContainerPort)
			}
		}
	}
	return 0
}
