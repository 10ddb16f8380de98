// Package replica runs the pods of the chart's Deployment as processes of this machine: the
// program that was built, with the arguments, files and variables that the pod gives its
// container, as the pod's service account and with no other rights. The API server reaches
// them as it reaches every webhook, through their Service.
package replica

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/internal/binaries"
	"example.io/mtls-injector/e2e/node"
)

// syncInterval is how often mounted ConfigMaps and Secrets are brought up to date. A kubelet
// takes about a minute.
const syncInterval = 500 * time.Millisecond

// Options say which pods to run and how.
type Options struct {
	// Namespace and Labels select the pods.
	Namespace string
	Labels    client.MatchingLabels
	// Root is the folder for their files.
	Root string
	// Binary replaces the program built from the working tree.
	Binary string
	// Log is told what goes wrong and is tried again, each thing once.
	Log func(string)
}

// Set is the pods of a Deployment, as they come and go.
type Set struct {
	opts    Options
	cluster *cluster.Cluster
	kubelet *node.Kubelet

	mu       sync.Mutex
	replicas map[string]*Replica // by pod name
	services map[string]labels.Set
}

// Replica is the process of one pod.
type Replica struct {
	Pod string
	// MetricsURL and HealthURL are bases: append /metrics, /healthz or /readyz.
	MetricsURL, HealthURL string

	address string
	program *cluster.Program
}

// Address implements [node.Process].
func (r *Replica) Address() string { return r.address }

// Stop implements [node.Process].
func (r *Replica) Stop() error { return r.program.Stop() }

// Done implements [node.Mortal].
func (r *Replica) Done() <-chan struct{} { return r.program.Done() }

// Kill ends the process as a crash does. It is started again.
func (r *Replica) Kill() error { return r.program.Kill() }

// New prepares to run the pods, and has the API server's connections to their Services lead
// to them. The cluster must have been started with RouteServices.
func New(ctx context.Context, c *cluster.Cluster, opts Options) (*Set, error) {
	if opts.Binary == "" {
		product, err := binaries.EnsureProduct(ctx, nil)
		if err != nil {
			return nil, err
		}
		opts.Binary = product.Injector
	}
	n, err := node.New(c, opts.Root)
	if err != nil {
		return nil, err
	}
	s := &Set{opts: opts, cluster: c, replicas: map[string]*Replica{}, services: map[string]labels.Set{}}
	s.kubelet = &node.Kubelet{
		Node: n, Namespace: opts.Namespace, Labels: opts.Labels,
		Start: s.start, OnError: opts.complainOnce(),
	}
	return s, c.RouteServices(s.route)
}

// Binary is the program that the pods run.
func (s *Set) Binary() string { return s.opts.Binary }

// Run runs pods until ctx ends. The error says what did not end well.
func (s *Set) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- s.kubelet.Run(ctx) }()
	tick := time.NewTicker(syncInterval)
	defer tick.Stop()
	complain := s.opts.complainOnce()
	for {
		select {
		case <-ctx.Done():
			return <-ended
		case <-tick.C:
			if err := s.kubelet.Node.Sync(ctx); err != nil && ctx.Err() == nil {
				complain(err)
			}
		}
	}
}

// Ready returns the replicas that serve now.
func (s *Set) Ready() []*Replica {
	var ready []*Replica
	for _, endpoint := range s.kubelet.Endpoints(labels.Set{}) {
		s.mu.Lock()
		if r := s.replicas[endpoint.Pod]; r != nil && r.address == endpoint.Address {
			ready = append(ready, r)
		}
		s.mu.Unlock()
	}
	return ready
}

// start starts a pod's process and waits until it is ready.
func (s *Set) start(ctx context.Context, c *node.Container) (node.Process, error) {
	kubeconfig, err := s.cluster.KubeconfigForPod(ctx, c.Pod)
	if err != nil {
		return nil, err
	}
	ports, err := cluster.FreePorts(ctx, 3)
	if err != nil {
		return nil, err
	}
	const host = "127.0.0.1:"
	r := &Replica{Pod: c.Pod.Name, address: host + ports[0], HealthURL: "http://" + host + ports[1], MetricsURL: "http://" + host + ports[2]}
	// What a process of this machine cannot have as a pod has it: its own address, and the
	// service account's files where a pod finds them.
	args := append(arguments(c),
		"--kubeconfig="+kubeconfig, "--bind-address=127.0.0.1", "--port="+ports[0],
		"--health-probe-bind-address="+host+ports[1], "--metrics-bind-address="+host+ports[2])
	r.program, err = s.cluster.StartProgram(ctx, cluster.ProgramOptions{
		Name: c.Pod.Name, Path: s.opts.Binary, Args: args, Env: c.Env,
		Ready: func(ctx context.Context) error { return cluster.Get(ctx, r.HealthURL+"/readyz") },
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replicas[c.Pod.Name] = r
	return r, nil
}

// arguments are the container's, with variables expanded as the kubelet does, and with paths
// of its volumes below its root.
func arguments(c *node.Container) []string {
	var mounts []corev1.VolumeMount
	for i := range c.Pod.Spec.Containers {
		if c.Pod.Spec.Containers[i].Name == c.Name {
			mounts = c.Pod.Spec.Containers[i].VolumeMounts
		}
	}
	args := node.Expand(c.Args, c.Env)
	for i, arg := range args {
		name, path, ok := strings.Cut(arg, "=")
		for _, mount := range mounts {
			if ok && (path == mount.MountPath || strings.HasPrefix(path, mount.MountPath+"/")) {
				args[i] = name + "=" + filepath.Join(c.Root, path)
			}
		}
	}
	return args
}

// route picks one of the pods that a Service selects and that serve, as kube-proxy does.
func (s *Set) route(ctx context.Context, address string) (string, error) {
	selector, err := s.selector(ctx, address)
	if err != nil {
		return "", err
	}
	endpoints := s.kubelet.Endpoints(selector)
	if len(endpoints) == 0 {
		return "", fmt.Errorf("no pod serves behind %s", address)
	}
	return endpoints[rand.IntN(len(endpoints))].Address, nil //nolint:gosec // which of them is no secret
}

// selector returns the selector of the Service whose port https has the address.
func (s *Set) selector(ctx context.Context, address string) (labels.Set, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.services[address]; ok {
		return known, nil
	}
	var list corev1.ServiceList
	if err := s.cluster.Client.List(ctx, &list, client.InNamespace(s.opts.Namespace)); err != nil {
		return nil, fmt.Errorf("looking for the Service at %s: %w", address, err)
	}
	for i := range list.Items {
		svc := &list.Items[i].Spec
		for _, port := range svc.Ports {
			if net.JoinHostPort(svc.ClusterIP, fmt.Sprint(port.Port)) == address && port.TargetPort.String() == "https" {
				s.services[address] = svc.Selector
				return svc.Selector, nil
			}
		}
	}
	return nil, errors.New("no Service has the address " + address)
}

// complainOnce returns a function that tells what is new.
func (o *Options) complainOnce() func(error) {
	var said sync.Map
	return func(err error) {
		if _, again := said.LoadOrStore(err.Error(), true); !again && o.Log != nil {
			o.Log(err.Error())
		}
	}
}
