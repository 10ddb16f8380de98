package realnode

// A DNS server in this process, where a cluster has CoreDNS: on the node's address, answering
// from the API.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	serviceZone = ".svc.cluster.local."
	dnsTTL      = 5 // seconds, as CoreDNS's
	dnsTimeout  = 3 * time.Second
)

// serveDNS starts the server.
func (n *Node) serveDNS(ctx context.Context, _ Options) error {
	address := net.JoinHostPort(Address, "53")
	packets, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp", address)
	if err != nil {
		return fmt.Errorf("serving DNS: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("serving DNS: %w", errors.Join(err, packets.Close()))
	}
	handler := dns.HandlerFunc(n.answer)
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: listener, Handler: handler}} {
		started, ended := make(chan struct{}), make(chan error, 1)
		server.NotifyStartedFunc = func() { close(started) }
		go func() { ended <- server.ActivateAndServe() }()
		select {
		case <-started:
		case err := <-ended:
			return fmt.Errorf("serving DNS: %w", err)
		}
		n.onStop(func() error { return errors.Join(server.Shutdown(), <-ended) })
	}
	return nil
}

// answer answers a query. A name that is there, of another type, has no records and no error.
func (n *Node) answer(w dns.ResponseWriter, query *dns.Msg) {
	reply := new(dns.Msg)
	reply.SetReply(query)
	reply.Authoritative, reply.RecursionAvailable = true, true
	if len(query.Question) == 1 {
		question := query.Question[0]
		ctx, cancel := context.WithTimeout(context.Background(), dnsTimeout)
		defer cancel()
		addresses, err := n.resolve(ctx, strings.ToLower(question.Name))
		switch {
		case err != nil:
			reply.Rcode = dns.RcodeServerFailure
		case len(addresses) == 0:
			reply.Rcode = dns.RcodeNameError
		case question.Qtype == dns.TypeA:
			for _, address := range addresses {
				header := dns.RR_Header{Name: question.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: dnsTTL}
				reply.Answer = append(reply.Answer, &dns.A{Hdr: header, A: net.ParseIP(address)})
			}
		}
	}
	_ = w.WriteMsg(reply)
}

// resolve returns the addresses of SERVICE.NAMESPACE.svc.cluster.local. or, with one label
// more, of a pod behind it, by its host name or its address with dashes.
func (n *Node) resolve(ctx context.Context, name string) ([]string, error) {
	labels := strings.Split(strings.TrimSuffix(name, serviceZone), ".")
	if !strings.HasSuffix(name, serviceZone) || len(labels) < 2 || len(labels) > 3 {
		return nil, nil
	}
	host := ""
	if len(labels) == 3 {
		host, labels = labels[0], labels[1:]
	}
	var service corev1.Service
	if err := n.Client.Get(ctx, client.ObjectKey{Namespace: labels[1], Name: labels[0]}, &service); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, err
	}
	if service.Spec.ClusterIP != corev1.ClusterIPNone && host == "" {
		return []string{service.Spec.ClusterIP}, nil
	}
	return n.endpoints(ctx, &service, host)
}

func (n *Node) endpoints(ctx context.Context, service *corev1.Service, host string) ([]string, error) {
	var slices discoveryv1.EndpointSliceList
	if err := n.Client.List(ctx, &slices, client.InNamespace(service.Namespace), client.MatchingLabels{discoveryv1.LabelServiceName: service.Name}); err != nil {
		return nil, err
	}
	var addresses []string
	for _, slice := range slices.Items {
		for _, endpoint := range slice.Endpoints {
			if !ptr.Deref(endpoint.Conditions.Ready, true) && !service.Spec.PublishNotReadyAddresses {
				continue
			}
			for _, address := range endpoint.Addresses {
				if host == "" || host == ptr.Deref(endpoint.Hostname, "") || host == strings.ReplaceAll(address, ".", "-") {
					addresses = append(addresses, address)
				}
			}
		}
	}
	return addresses, nil
}
