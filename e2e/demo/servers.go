package demo

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// startServers starts a process for each pod that serves. They come in the order of
// promises, so that a server's upstream is there before it.
func (d *Demo) startServers(ctx context.Context) error {
	for _, p := range d.pods {
		if !p.promise.role.IsServer() {
			continue
		}
		args, err := serverArgs(p)
		if err != nil {
			return err
		}
		connect, err := d.connectTo(ctx)
		if err != nil {
			return err
		}
		if _, err := d.serve(ctx, p, args, connect); err != nil {
			return err
		}
	}
	d.out.note(2, "No containers run here: for each image a small Go program stands in, as a process of its own. "+
		"It has its container's variables and its pod's files, and nothing else. It finds the files where the "+
		"container's arguments (orders, smoke-test) or nginx.conf (edge) say, or in the variables (all others). "+
		"Service names lead to loopback addresses; TLS expects the full name all the same.")
	d.out.line("")
	return nil
}

// serverArgs returns the arguments that tell a server where its files are: its own, or
// for nginx what its configuration says. All others read the variables.
func serverArgs(p *pod) ([]string, error) {
	switch p.promise.name {
	case "orders":
		return p.program.args, nil
	case "edge":
		return nginxArgs(p.program.root)
	default:
		return nil, nil
	}
}

// nginxArgs translates the files that nginx's configuration names.
func nginxArgs(root string) ([]string, error) {
	config, err := os.ReadFile(filepath.Join(root, "etc", "nginx", "nginx.conf"))
	if err != nil {
		return nil, fmt.Errorf("reading nginx's configuration in its pod: %w", err)
	}
	var args []string
	for _, flag := range [][2]string{{"cert", "ssl_certificate"}, {"key", "ssl_certificate_key"}, {"client-ca", "ssl_client_certificate"}} {
		match := regexp.MustCompile(`\b` + flag[1] + `\s+([^;]+);`).FindSubmatch(config)
		if match == nil {
			return nil, fmt.Errorf("nginx's configuration has no %s", flag[1])
		}
		args = append(args, "--"+flag[0]+"="+string(match[1]))
	}
	return args, nil
}

// connectTo is this demo's cluster DNS and load balancer: it leads the names of each
// Service to a server of the pods that it selects, another one each time.
func (d *Demo) connectTo(ctx context.Context) ([]string, error) {
	var services corev1.ServiceList
	if err := d.cluster.Client.List(ctx, &services); err != nil {
		return nil, fmt.Errorf("listing Services: %w", err)
	}
	var flags []string
	for _, svc := range services.Items {
		var ready []*server
		for _, s := range d.servers {
			selector := labels.SelectorFromSet(svc.Spec.Selector)
			if s.pod.Namespace == svc.Namespace && !selector.Empty() && selector.Matches(labels.Set(s.pod.Labels)) {
				ready = append(ready, s)
			}
		}
		if len(ready) == 0 {
			continue
		}
		next := ready[d.calls%len(ready)]
		if svc.Name == "edge" {
			flags = append(flags, connectFlag("shop.example.com", "443", next)) // a public name
		}
		name := svc.Name + "." + svc.Namespace + ".svc.cluster.local"
		port := strconv.Itoa(int(svc.Spec.Ports[0].Port))
		flags = append(flags, connectFlag(name, port, next))
		if svc.Spec.ClusterIP != corev1.ClusterIPNone {
			continue
		}
		for _, s := range ready {
			flags = append(flags, connectFlag(s.pod.Name+"."+name, port, s))
		}
	}
	return flags, nil
}

func connectFlag(host, port string, to *server) string {
	return "--connect-to=" + net.JoinHostPort(host, port) + ":" + to.address
}
