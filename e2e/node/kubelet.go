package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// lookInterval is how often the kubelet looks at its pods.
	lookInterval = 50 * time.Millisecond
	// startRetry is when a pod that could not be started is tried again.
	startRetry = 250 * time.Millisecond
)

// Container is what a process needs to stand in for a container.
type Container struct {
	Pod  *corev1.Pod
	Name string
	// Root is the folder that takes the place of "/".
	Root string
	// Env holds NAME=value.
	Env  []string
	Args []string
}

// Process is a server in the place of a container.
type Process interface {
	// Address is where it serves, as host:port.
	Address() string
	Stop() error
}

// Mortal is a process that can end by itself. Its container is then started again.
type Mortal interface {
	// Done is closed when the process has ended.
	Done() <-chan struct{}
}

// Kubelet runs the life of pods as far as a rollout depends on it, which includes what the
// scheduler and the controllers of endpoints do. A new pod is bound to the node, its volumes
// are published, a process is started for its first container, and it is Ready. A process
// that crashes is no endpoint until it has been started again. A deleted
// pod is no endpoint any more from that moment on; its process serves for as long as the
// preStop hook sleeps, and then the pod is gone. Pods have no IP address.
type Kubelet struct {
	Node *Node
	// Namespace and Labels say which pods are its own.
	Namespace string
	Labels    client.MatchingLabels
	// Start starts a container's process, which serves when Start returns.
	Start func(context.Context, *Container) (Process, error)
	// OnError, if set, is told what goes wrong and is tried again. It may be called by
	// several goroutines at once.
	OnError func(error)

	mu   sync.Mutex
	runs map[types.UID]*run
}

// run is the life of a pod.
type run struct {
	pod     *corev1.Pod
	address string // once it serves, until it is deleted
	// alive ends when the pod is deleted, or the kubelet ends.
	alive   context.Context
	deleted context.CancelFunc
}

func newRun(ctx context.Context, pod *corev1.Pod) *run {
	alive, deleted := context.WithCancel(ctx)
	return &run{pod: pod, alive: alive, deleted: deleted}
}

// Endpoint is where a pod serves.
type Endpoint struct{ Pod, Address string }

// Endpoints returns the pods with these labels that serve, by name.
func (k *Kubelet) Endpoints(with labels.Set) []Endpoint {
	k.mu.Lock()
	defer k.mu.Unlock()
	var found []Endpoint
	for _, r := range k.runs {
		if r.address != "" && with.AsSelector().Matches(labels.Set(r.pod.Labels)) {
			found = append(found, Endpoint{Pod: r.pod.Name, Address: r.address})
		}
	}
	slices.SortFunc(found, func(a, b Endpoint) int { return cmp.Compare(a.Pod, b.Pod) })
	return found
}

// Run runs pods until ctx ends, and then stops their processes without delay. The error
// says which of them did not end well.
func (k *Kubelet) Run(ctx context.Context) error {
	k.runs = map[types.UID]*run{}
	var (
		living sync.WaitGroup
		mu     sync.Mutex
		errs   []error
	)
	for ctx.Err() == nil {
		for _, r := range k.look(ctx) {
			living.Go(func() {
				err := k.live(ctx, r)
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			})
		}
		pause(ctx, lookInterval)
	}
	living.Wait()
	return errors.Join(errs...)
}

// look compares the pods that are with those that were. It returns the new ones.
func (k *Kubelet) look(ctx context.Context) []*run {
	var list corev1.PodList
	if err := k.Node.Client.List(ctx, &list, client.InNamespace(k.Namespace), k.Labels); err != nil {
		k.report(ctx, fmt.Errorf("listing pods: %w", err))
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var started []*run
	alive := map[types.UID]bool{}
	for i := range list.Items {
		pod := &list.Items[i]
		if pod.DeletionTimestamp != nil {
			continue
		}
		alive[pod.UID] = true
		if k.runs[pod.UID] == nil {
			r := newRun(ctx, pod)
			k.runs[pod.UID] = r
			started = append(started, r)
		}
	}
	for uid, r := range k.runs {
		if !alive[uid] {
			r.address = ""
			r.deleted()
		}
	}
	return started
}

// live runs a pod until it has been deleted and has drained.
func (k *Kubelet) live(ctx context.Context, r *run) error {
	defer k.forget(r)
	var process Process
	for crashed := true; crashed; {
		if process = k.start(r); process == nil {
			return errors.Join(k.Node.Unmount(r.pod), k.remove(ctx, r.pod))
		}
		k.setReady(r)
		crashed = k.watch(r, process)
	}
	pause(ctx, preStop(r.pod))
	err := process.Stop()
	if err != nil {
		err = fmt.Errorf("the container of pod %s: %w", r.pod.Name, err)
	}
	return errors.Join(err, k.Node.Unmount(r.pod), k.remove(ctx, r.pod))
}

// watch waits until the pod is deleted, or reports that its process has crashed.
func (k *Kubelet) watch(r *run, process Process) (crashed bool) {
	var done <-chan struct{} // never, for a process that cannot
	if mortal, ok := process.(Mortal); ok {
		done = mortal.Done()
	}
	select {
	case <-r.alive.Done():
		return false
	case <-done:
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	r.address = ""
	return r.alive.Err() == nil
}

func (k *Kubelet) forget(r *run) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r.deleted()
	delete(k.runs, r.pod.UID)
}

// start starts the pod and makes it an endpoint, however often that takes. It returns nil
// if the pod is deleted before.
func (k *Kubelet) start(r *run) Process {
	for r.alive.Err() == nil {
		process, err := k.startOnce(r.alive, r.pod)
		if err == nil {
			k.mu.Lock()
			defer k.mu.Unlock()
			if r.alive.Err() == nil {
				r.address = process.Address()
			}
			return process
		}
		k.report(r.alive, fmt.Errorf("starting pod %s: %w", r.pod.Name, err))
		pause(r.alive, startRetry)
	}
	return nil
}

func (k *Kubelet) startOnce(ctx context.Context, pod *corev1.Pod) (Process, error) {
	if err := k.bind(ctx, pod); err != nil {
		return nil, err
	}
	container := &pod.Spec.Containers[0]
	root, err := k.Node.Mount(ctx, pod, container.Name)
	if err != nil {
		return nil, err
	}
	env, err := k.Node.Env(ctx, pod, container.Name)
	if err != nil {
		return nil, err
	}
	return k.Start(ctx, &Container{Pod: pod, Name: container.Name, Root: root, Env: env, Args: container.Args})
}

// report tells of a problem, unless it is that the context has ended.
func (k *Kubelet) report(ctx context.Context, err error) {
	if k.OnError != nil && ctx.Err() == nil {
		k.OnError(err)
	}
}

// preStop is how long the first container's hook sleeps.
func preStop(pod *corev1.Pod) time.Duration {
	hooks := pod.Spec.Containers[0].Lifecycle
	if hooks == nil || hooks.PreStop == nil || hooks.PreStop.Sleep == nil {
		return 0
	}
	return time.Duration(hooks.PreStop.Sleep.Seconds) * time.Second
}

// pause waits, but not beyond the context's end.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
