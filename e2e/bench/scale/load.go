package main

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"example.io/mtls-injector/e2e/cluster"
)

// creators is how many objects are created at once.
const creators = 16

// nameLabel is what Services select by.
const nameLabel = "app.kubernetes.io/name"

var (
	//go:embed issuer.yaml
	issuerManifest []byte
	//go:embed deployment.yaml
	deploymentManifest []byte
)

// prepare makes what is there before the workloads: the CA, namespaces, and Services.
func prepare(ctx context.Context, c *cluster.Cluster, opts *options) error {
	if _, err := c.Apply(ctx, issuerManifest, ""); err != nil {
		return err
	}
	if err := c.WaitForIssuer(ctx, "", "mtls-ca"); err != nil {
		return err
	}
	err := inParallel(ctx, opts.namespaces, func(ctx context.Context, i int) error {
		_, err := c.CreateNamespace(ctx, opts.namespaceOf(i), map[string]string{cluster.EnabledLabel: "true"}, nil)
		return err
	})
	if err != nil {
		return err
	}
	return inParallel(ctx, opts.services, func(ctx context.Context, i int) error {
		return create(ctx, c.Client, opts.service(i))
	})
}

// createWorkloads returns when it began.
func createWorkloads(ctx context.Context, to client.Client, opts *options) (time.Time, error) {
	like := &appsv1.Deployment{}
	if err := yaml.UnmarshalStrict(deploymentManifest, like); err != nil {
		return time.Time{}, fmt.Errorf("deployment.yaml: %w", err)
	}
	began := time.Now()
	return began, inParallel(ctx, opts.workloads, func(ctx context.Context, i int) error {
		return create(ctx, to, opts.workload(like, i))
	})
}

// namespaceOf spreads workloads and Services evenly.
func (o *options) namespaceOf(i int) string { return fmt.Sprintf("scale-%d", i%o.namespaces) }

// service returns the i-th workload's Service or, past the last workload, one that selects
// pods that do not exist.
func (o *options) service(i int) *corev1.Service {
	name := workloadName(i)
	if i >= o.workloads {
		name = fmt.Sprintf("idle-%d", i)
	}
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: o.namespaceOf(i), Name: name},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{nameLabel: name}, Ports: []corev1.ServicePort{{Name: "https", Port: 8443}}},
	}
}

func workloadName(i int) string { return fmt.Sprintf("shop-%d", i) }

func (o *options) workload(like *appsv1.Deployment, i int) *appsv1.Deployment {
	d := like.DeepCopy()
	d.Namespace, d.Name = o.namespaceOf(i), workloadName(i)
	d.Spec.Replicas = new(int32(o.pods)) //nolint:gosec // far below the bound
	d.Spec.Selector = metav1.SetAsLabelSelector(map[string]string{nameLabel: d.Name})
	d.Spec.Template.Labels[nameLabel] = d.Name
	return d
}

func create(ctx context.Context, to client.Client, obj client.Object) error {
	if err := to.Create(ctx, obj); err != nil {
		return fmt.Errorf("creating %T %s: %w", obj, client.ObjectKeyFromObject(obj), err)
	}
	return nil
}

// inParallel calls do for every number below n until one call fails.
func inParallel(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	workqueue.ParallelizeUntil(ctx, creators, n, func(i int) {
		if err := do(ctx, i); err != nil {
			cancel(err)
		}
	})
	return context.Cause(ctx)
}
