package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/node"
	"example.io/mtls-injector/injector"
	"example.io/mtls-injector/intent"
)

// pod is a pod of the examples, as the API server keeps it.
type pod struct {
	corev1.Pod
	promise  promise
	audit    map[string]string // what the webhook told the API server's audit log
	status   injector.Status
	warnings []string
	program  program // of the first container that got files
}

// awaitPods waits until the controllers have made all pods, and checks what the webhook
// made of them.
func (d *Demo) awaitPods(ctx context.Context) error {
	for _, p := range promises() {
		pods, err := d.cluster.WaitForPods(ctx, p.namespace, map[string]string{"app": p.name}, p.pods)
		if err != nil {
			return fmt.Errorf("%w%s", err, d.failures(ctx, p.namespace))
		}
		for i := range pods {
			d.pods = append(d.pods, &pod{Pod: pods[i], promise: p})
		}
	}
	audit, err := readAudit(d.cluster.AuditLog)
	if err != nil {
		return err
	}
	skipped := 0
	for _, p := range d.pods {
		if p.promise.skip != "" {
			skipped++
		}
		if p.audit = audit[string(p.UID)]; p.audit == nil {
			return fmt.Errorf("the audit log does not know pod %s/%s", p.Namespace, p.Name)
		}
		if err := d.examine(ctx, p); err != nil {
			return fmt.Errorf("pod %s/%s: %w", p.Namespace, p.Name, err)
		}
	}
	d.out.step("%d pods are there: %d injected, %d left alone", len(d.pods), len(d.pods)-skipped, skipped)
	return nil
}

// failures tells why controllers could not make pods.
func (d *Demo) failures(ctx context.Context, namespace string) string {
	var list corev1.EventList
	if err := d.cluster.Client.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return ""
	}
	var said strings.Builder
	for _, event := range list.Items {
		if event.Reason == "FailedCreate" {
			fmt.Fprintf(&said, "\n%s %s: %s", event.InvolvedObject.Kind, event.InvolvedObject.Name, event.Message)
		}
	}
	return said.String()
}

// examine reads what became of the pod and compares it with the promise.
func (d *Demo) examine(ctx context.Context, p *pod) error {
	text, injected := p.Annotations[intent.AnnotationStatus]
	want := p.promise
	if want.skip != "" {
		if injected || p.audit["skip-reason"] != string(want.skip) {
			return fmt.Errorf("it should be left alone because of %s, but the audit log says %v", want.skip, p.audit)
		}
		return nil
	}
	if !injected {
		return fmt.Errorf("it should be injected, but the audit log says %v", p.audit)
	}
	if err := json.Unmarshal([]byte(text), &p.status); err != nil {
		return fmt.Errorf("reading its status annotation: %w", err)
	}
	got := promise{
		namespace: want.namespace, kind: want.kind, name: want.name, pods: want.pods,
		role: p.status.Role, delivery: p.status.Delivery, issuer: p.status.Issuer,
	}
	if got != want || p.status.Workload != want.kind+"/"+want.name {
		return fmt.Errorf("it should be %+v, but its status says %s", want, text)
	}
	var err error
	p.warnings, err = d.warningsFor(ctx, p)
	return err
}

// warningsFor asks the API server to create the pod once more, as a dry run, for the
// warnings that it sends along. When a controller creates a pod, nobody sees them.
func (d *Demo) warningsFor(ctx context.Context, p *pod) ([]string, error) {
	var heard warnings
	config := rest.CopyConfig(d.cluster.Config)
	config.WarningHandler = &heard
	c, err := client.New(config, client.Options{Scheme: d.cluster.Scheme, Mapper: d.cluster.Client.RESTMapper()})
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	again, err := d.asWritten(ctx, p)
	if err != nil {
		return nil, err
	}
	if err := c.Create(ctx, again, client.DryRunAll); err != nil {
		return nil, fmt.Errorf("creating it once more as a dry run: %w", err)
	}
	return heard.list, nil
}

// warnings collects what the API server warns of.
type warnings struct {
	mu   sync.Mutex
	list []string
}

// HandleWarningHeader implements rest.WarningHandler.
func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, text)
}

// asWritten makes the pod as its controller did, before the webhook saw it.
func (d *Demo) asWritten(ctx context.Context, p *pod) (*corev1.Pod, error) {
	owner := metav1.GetControllerOf(p)
	if owner == nil {
		return nil, fmt.Errorf("it has no controller")
	}
	key := client.ObjectKey{Namespace: p.Namespace, Name: owner.Name}
	var template corev1.PodTemplateSpec
	var err error
	switch owner.Kind {
	case "ReplicaSet":
		var set appsv1.ReplicaSet
		err = d.cluster.Client.Get(ctx, key, &set)
		template = set.Spec.Template
	case "StatefulSet":
		var set appsv1.StatefulSet
		err = d.cluster.Client.Get(ctx, key, &set)
		template = set.Spec.Template
	case "Job":
		var job batchv1.Job
		err = d.cluster.Client.Get(ctx, key, &job)
		template = job.Spec.Template
	}
	if err != nil {
		return nil, fmt.Errorf("reading its %s: %w", owner.Kind, err)
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: p.Namespace, GenerateName: p.GenerateName,
			Labels: template.Labels, Annotations: template.Annotations,
			OwnerReferences: p.OwnerReferences,
		},
		Spec: template.Spec,
	}, nil
}

// mount does a node's work for all injected pods: the CSI driver asks for certificates,
// and the volumes of their containers are made.
func (d *Demo) mount(ctx context.Context) error {
	var mounting sync.WaitGroup
	errs := make([]error, len(d.pods))
	for i, p := range d.pods {
		mounting.Go(func() { errs[i] = d.mountPod(ctx, p) })
	}
	mounting.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	d.out.step("their volumes are mounted (by this demo in the kubelet's and the CSI driver's place)")
	return nil
}

func (d *Demo) mountPod(ctx context.Context, p *pod) error {
	for i := range p.Spec.Containers {
		container := &p.Spec.Containers[i]
		if !slices.Contains(p.status.Containers, container.Name) {
			continue
		}
		root, err := d.node.Mount(ctx, &p.Pod, container.Name)
		if err != nil {
			return fmt.Errorf("mounting the volumes of pod %s/%s: %w", p.Namespace, p.Name, err)
		}
		env, err := d.node.Env(ctx, &p.Pod, container.Name)
		if err != nil {
			return fmt.Errorf("reading the variables of pod %s/%s: %w", p.Namespace, p.Name, err)
		}
		if p.program.root == "" {
			p.program = program{root: root, env: env, args: node.Expand(container.Args, env)}
		}
	}
	return nil
}
