package main

// The load: pods, created at a steady rate whatever becomes of them.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/intent"
)

// requestTimeout is how long a creation may take. The API server gives the webhook ten
// seconds of it.
const requestTimeout = 30 * time.Second

// failure is a creation that did not go well.
type failure struct {
	at  time.Time
	err error
}

// tally is what became of the creations.
type tally struct {
	mu sync.Mutex
	// created were injected. uninjected were created all the same.
	created, uninjected int
	// admission failed at the webhook; apiServer could not be asked, or answered for itself.
	admission, apiServer []failure
	latencies            []time.Duration
	// behind is how many creations could not be begun in time, as too many were under way.
	behind int
}

// load creates pods.
type load struct {
	client client.Client
	rate   int
	dryRun bool
	// atOnce bounds the creations under way.
	atOnce int
	tally  tally

	underWay sync.WaitGroup
}

// run begins to create pods at the rate until ctx ends; wait waits for the last of them. A
// creation that fails is not tried again.
func (l *load) run(ctx context.Context) {
	ticker := time.NewTicker(time.Second / time.Duration(l.rate))
	defer ticker.Stop()
	slots := make(chan struct{}, l.atOnce)
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		select {
		case slots <- struct{}{}:
		default:
			l.tally.mu.Lock()
			l.tally.behind++
			l.tally.mu.Unlock()
			continue
		}
		l.underWay.Go(func() {
			defer func() { <-slots }()
			l.create(context.WithoutCancel(ctx), n)
		})
	}
}

// create creates one pod and notes what became of it.
func (l *load) create(ctx context.Context, n int) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	pod := podNumber(n)
	var opts []client.CreateOption
	if l.dryRun {
		opts = append(opts, client.DryRunAll)
	}
	begun := time.Now()
	err := l.client.Create(ctx, pod, opts...)
	took := time.Since(begun)

	l.tally.mu.Lock()
	defer l.tally.mu.Unlock()
	switch {
	case err == nil && injected(pod):
		l.tally.created++
		l.tally.latencies = append(l.tally.latencies, took)
	case err == nil:
		l.tally.uninjected++
	case ofAdmission(err):
		l.tally.admission = append(l.tally.admission, failure{begun, err})
	default:
		l.tally.apiServer = append(l.tally.apiServer, failure{begun, err})
	}
}

// namespaces is how many namespaces the pods are spread over: whenever there is another pod,
// kube-controller-manager looks at all pods of its namespace.
const namespaces = 50

func namespaceName(n int) string { return fmt.Sprintf("load-%02d", n%namespaces) }

// podNumber is a server as they are, but without a companion, whose costs are no matter of
// admission.
func podNumber(n int) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespaceName(n), Name: fmt.Sprintf("load-%06d", n), Labels: map[string]string{"app": "load"},
			Annotations: map[string]string{intent.Prefix + "role": "server", intent.Prefix + "companion": "false"},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "example.io/app"}}},
	}
}

// makeNamespaces makes the namespaces, opted in, with a Service that selects the pods, as
// servers have one. Without it a pod's name rests on its owners, and these are looked up for
// each pod (decision 10).
func makeNamespaces(ctx context.Context, c *cluster.Cluster) error {
	for n := range namespaces {
		ns, err := c.CreateNamespace(ctx, namespaceName(n), map[string]string{cluster.EnabledLabel: "true"}, nil)
		if err != nil {
			return err
		}
		err = c.Client.Create(ctx, &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: "load"},
			Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "load"}, Ports: []corev1.ServicePort{{Port: 443}}},
		})
		if err != nil {
			return fmt.Errorf("creating the Service in %s: %w", ns.Name, err)
		}
	}
	return nil
}

// injected reports whether a pod came out as it should: label, volume and mount.
func injected(pod *corev1.Pod) bool {
	if pod.Labels[intent.LabelInjected] != "true" || pod.Annotations[intent.AnnotationStatus] == "" {
		return false
	}
	for _, volume := range pod.Spec.Volumes {
		if volume.CSI == nil || volume.CSI.Driver != intent.CSIDriver {
			continue
		}
		for _, mount := range pod.Spec.Containers[0].VolumeMounts {
			if mount.Name == volume.Name {
				return true
			}
		}
	}
	return false
}

// ofAdmission tells a failure of the webhook, or a refusal by it, from one of the API server
// alone: the API server says which webhook it is.
func ofAdmission(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	message := status.Status().Message
	return strings.Contains(message, "webhook") || strings.Contains(message, "mtls.example.io")
}
