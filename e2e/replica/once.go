package replica

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/node"
)

// lookInterval is how often new pods are looked for.
const lookInterval = 100 * time.Millisecond

// Once runs pods that end, as those of `helm test` do: the program with the arguments of
// their first container, as their service account. What they print is in
// <pod>.log below the root.
type Once struct {
	Cluster *cluster.Cluster
	Options
}

// Run runs pods until ctx ends.
func (o *Once) Run(ctx context.Context) error {
	complain := o.complainOnce()
	seen := map[types.UID]bool{}
	for ctx.Err() == nil {
		var list corev1.PodList
		if err := o.Cluster.Client.List(ctx, &list, client.InNamespace(o.Namespace), o.Labels); err != nil {
			if ctx.Err() == nil {
				complain(fmt.Errorf("listing pods: %w", err))
			}
			list.Items = nil
		}
		for i := range list.Items {
			pod := &list.Items[i]
			if seen[pod.UID] {
				continue
			}
			if err := o.run(ctx, pod); err != nil && ctx.Err() == nil {
				complain(err)
				continue
			}
			seen[pod.UID] = true
		}
		select {
		case <-ctx.Done():
		case <-time.After(lookInterval):
		}
	}
	return nil
}

// run runs a pod to its end and writes how that went.
func (o *Once) run(ctx context.Context, pod *corev1.Pod) error {
	kubeconfig, err := o.Cluster.KubeconfigForPod(ctx, pod)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.Root, 0o750); err != nil {
		return err
	}
	log, err := os.Create(o.LogFile(pod.Name))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	container := &pod.Spec.Containers[0]
	args := append(arguments(&node.Container{Pod: pod, Name: container.Name, Args: container.Args}), "--kubeconfig="+kubeconfig)
	cmd := exec.CommandContext(ctx, o.Binary, args...) //nolint:gosec // our own program
	cmd.Env = []string{}
	cmd.Stdout, cmd.Stderr = log, log
	phase, code := corev1.PodSucceeded, int32(0)
	if err := cmd.Run(); err != nil {
		phase, code = corev1.PodFailed, 1
	}
	before := pod.DeepCopy()
	pod.Status = corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{{
		Name: container.Name, Image: container.Image,
		State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, FinishedAt: metav1.Now()}},
	}}}
	if err := o.Cluster.Client.Status().Patch(ctx, pod, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("writing the status of pod %s: %w", pod.Name, err)
	}
	return nil
}

// LogFile is where a pod's output goes.
func (o *Once) LogFile(pod string) string { return filepath.Join(o.Root, pod+".log") }
