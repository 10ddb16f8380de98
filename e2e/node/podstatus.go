package node

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
)

// removeTimeout bounds the removal of a pod that has ended.
const removeTimeout = 10 * time.Second

// bind binds the pod to the node, as the scheduler would. Only a bound pod is deleted in
// two steps, with time for its containers to end in between.
func (k *Kubelet) bind(ctx context.Context, pod *corev1.Pod) error {
	if pod.Spec.NodeName != "" {
		return nil
	}
	target := &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: cluster.NodeName}}
	if err := k.Node.Client.SubResource("binding").Create(ctx, pod.DeepCopy(), target); err != nil {
		return fmt.Errorf("binding it to %s: %w", cluster.NodeName, err)
	}
	pod.Spec.NodeName = cluster.NodeName
	return nil
}

// setReady writes into the pod's status that all is well, however often that takes.
func (k *Kubelet) setReady(r *run) {
	for r.alive.Err() == nil {
		before := r.pod.DeepCopy()
		before.Status = corev1.PodStatus{}
		after := before.DeepCopy()
		after.Status = runningStatus(r.pod)
		err := k.Node.Client.Status().Patch(r.alive, after, client.MergeFrom(before))
		if err == nil {
			return
		}
		k.report(r.alive, fmt.Errorf("writing the status of pod %s: %w", r.pod.Name, err))
		pause(r.alive, startRetry)
	}
}

// runningStatus is the status of a pod whose containers all run.
func runningStatus(pod *corev1.Pod) corev1.PodStatus {
	now := metav1.Now()
	status := corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &now}
	for _, kind := range []corev1.PodConditionType{corev1.PodScheduled, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		status.Conditions = append(status.Conditions, corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: now})
	}
	started := true
	for i := range pod.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses, corev1.ContainerStatus{
			Name: pod.Spec.Containers[i].Name, Image: pod.Spec.Containers[i].Image,
			Ready: true, Started: &started,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
		})
	}
	return status
}

// remove ends the deletion of a pod. A pod that nobody has deleted, because it is the
// kubelet that ends, stays.
func (k *Kubelet) remove(ctx context.Context, pod *corev1.Pod) error {
	if ctx.Err() != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	now := int64(0)
	err := k.Node.Client.Delete(ctx, pod.DeepCopy(), &client.DeleteOptions{
		GracePeriodSeconds: &now,
		Preconditions:      &metav1.Preconditions{UID: &pod.UID},
	})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("removing pod %s: %w", pod.Name, err)
	}
	return nil
}
