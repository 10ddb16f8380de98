package e2e

// The workloads that the injector's rights are for.

import (
	"context"
	"errors"
	"fmt"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/intent"
)

// madeWorkload is a workload, and the name of its companion.
type madeWorkload struct {
	kind      schema.GroupVersionKind
	key       client.ObjectKey
	companion client.ObjectKey
}

// readWorkload reads the workload of that kind from workloads.yaml.
func (c *companions) readWorkload(kind string) client.Object {
	c.Helper()
	for _, obj := range readManifests(c.T, c.Scheme, rbacFolder+"/workloads.yaml") {
		if obj.GetObjectKind().GroupVersionKind().Kind == kind {
			obj.SetNamespace(c.namespace)
			return obj
		}
	}
	c.Fatalf("no %s in workloads.yaml", kind)
	return nil
}

// makeWorkload makes the workload of that kind, and what the cluster does not make of it by
// itself.
func (c *companions) makeWorkload(kind string) madeWorkload {
	c.Helper()
	obj := c.readWorkload(kind)
	gvk := obj.GetObjectKind().GroupVersionKind()
	require.NoError(c, c.Client.Create(c.Context(), obj))
	switch owner := obj.(type) {
	case *batchv1.CronJob:
		c.runNow(owner)
	case *corev1.ReplicationController:
		c.replicate(owner)
	}
	return c.of(gvk, obj.GetName())
}

func (c *companions) of(kind schema.GroupVersionKind, name string) madeWorkload {
	workload := intent.Workload{APIVersion: kind.GroupVersion().String(), Kind: kind.Kind, Name: name}
	key := func(name string) client.ObjectKey { return client.ObjectKey{Namespace: c.namespace, Name: name} }
	return madeWorkload{kind, key(name), key(intent.CompanionName(workload))}
}

// makePod makes a bare pod of that name.
func (c *companions) makePod(name string) madeWorkload {
	c.Helper()
	pod := podWith(c.namespace, map[string]string{"role": "client"})
	pod.Name = name
	require.NoError(c, c.Client.Create(c.Context(), pod))
	return c.of(corev1.SchemeGroupVersion.WithKind("Pod"), name)
}

// runNow does as `kubectl create job --from` does, but for the name, which is as the
// controller gives it.
func (c *companions) runNow(owner *batchv1.CronJob) {
	c.Helper()
	require.NoError(c, c.Client.Create(c.Context(), &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: owner.Namespace, Name: fmt.Sprintf("%s-%d", owner.Name, scheduledMinute),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(owner, batchv1.SchemeGroupVersion.WithKind("CronJob"))},
		},
		Spec: owner.Spec.JobTemplate.Spec,
	}))
}

// replicate does what the controller of ReplicationControllers would, which the cluster
// does not run.
func (c *companions) replicate(owner *corev1.ReplicationController) {
	c.Helper()
	pod := podOf(owner)
	pod.Namespace = owner.Namespace
	pod.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(owner, corev1.SchemeGroupVersion.WithKind("ReplicationController"))}
	require.NoError(c, c.Client.Create(c.Context(), pod))
}

// hasCompanion is an error while there is none.
func (c *companions) hasCompanion(ctx context.Context, w madeWorkload) error {
	return c.Client.Get(ctx, w.companion, &cmapi.Certificate{})
}

// isRestarted is an error until the workload's pod template says of a certificate.
func (c *companions) isRestarted(ctx context.Context, w madeWorkload) error {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(w.kind)
	if err := c.Client.Get(ctx, w.key, object); err != nil {
		return err
	}
	path := []string{"spec", "template", "metadata", "annotations", intent.AnnotationCertificateHash}
	if _, found, err := unstructured.NestedString(object.Object, path...); err != nil || !found {
		return errors.Join(err, fmt.Errorf("%s %s is not restarted", w.kind.Kind, w.key.Name))
	}
	return nil
}

// isTold is an error until there is an Event of that reason on the workload.
func (c *companions) isTold(ctx context.Context, w madeWorkload, reason string) error {
	notes, err := c.notes(ctx, w.kind.Kind, w.key.Name, reason)
	if err == nil && len(notes) == 0 {
		err = fmt.Errorf("no Event %s on %s %s", reason, w.kind.Kind, w.key.Name)
	}
	return err
}
