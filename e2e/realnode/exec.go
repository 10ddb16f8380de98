package realnode

// What kubectl logs and kubectl exec do, by way of the API server and the kubelet.

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
)

// Logs returns what a container has printed.
func (n *Node) Logs(ctx context.Context, namespace, pod, container string) (string, error) {
	return n.logs(ctx, namespace, pod, &corev1.PodLogOptions{Container: container})
}

// LogsBefore returns what the container's run before this one printed.
func (n *Node) LogsBefore(ctx context.Context, namespace, pod, container string) (string, error) {
	return n.logs(ctx, namespace, pod, &corev1.PodLogOptions{Container: container, Previous: true})
}

func (n *Node) logs(ctx context.Context, namespace, pod string, opts *corev1.PodLogOptions) (string, error) {
	data, err := n.Clientset.CoreV1().Pods(namespace).GetLogs(pod, opts).DoRaw(ctx)
	if err != nil {
		return "", fmt.Errorf("reading the log of %s/%s %s: %w", namespace, pod, opts.Container, err)
	}
	return string(data), nil
}

// Exec runs a command in a container and returns what it printed, in that order: standard
// output, then standard error. The error of a command that failed has both, and is an
// [k8s.io/client-go/util/exec.CodeExitError].
func (n *Node) Exec(ctx context.Context, namespace, pod, container string, command ...string) (string, error) {
	request := n.Clientset.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: container, Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(n.Config, "GET", request.URL().String())
	if err != nil {
		return "", fmt.Errorf("connecting to %s/%s %s: %w", namespace, pod, container, err)
	}
	var stdout, stderr bytes.Buffer
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &stdout, Stderr: &stderr})
	out := stdout.String() + stderr.String()
	if err != nil {
		return out, fmt.Errorf("%s in %s/%s %s: %w\n%s", strings.Join(command, " "), namespace, pod, container, err, strings.TrimSpace(out))
	}
	return out, nil
}
