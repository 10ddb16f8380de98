package realnode

// What a failed test shows of the node.

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const describeLines = 15

// Describe tells of a namespace's pods: states, Events, and the ends of their logs.
func (n *Node) Describe(ctx context.Context, namespace string) string {
	var b strings.Builder
	var pods corev1.PodList
	if err := n.Client.List(ctx, &pods, client.InNamespace(namespace)); err != nil {
		return err.Error()
	}
	for i := range pods.Items {
		n.describePod(ctx, &b, &pods.Items[i])
	}
	var events corev1.EventList
	if err := n.Client.List(ctx, &events, client.InNamespace(namespace)); err != nil {
		return b.String() + err.Error()
	}
	slices.SortStableFunc(events.Items, func(a, b corev1.Event) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	for i := range events.Items {
		e := &events.Items[i]
		fmt.Fprintf(&b, "event %s %s %s/%s: %s: %s\n", e.CreationTimestamp.Format("15:04:05"), e.Type, e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message)
	}
	return b.String()
}

func (n *Node) describePod(ctx context.Context, b *strings.Builder, pod *corev1.Pod) {
	fmt.Fprintf(b, "pod %s/%s: %s %s\n", pod.Namespace, pod.Name, pod.Status.Phase, pod.Status.Message)
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		fmt.Fprintf(b, "  container %s: ready %t, restarted %d times, %s", status.Name, status.Ready, status.RestartCount, stateOf(status.State))
		if last := stateOf(status.LastTerminationState); last != "" {
			fmt.Fprintf(b, ", before: %s", last)
		}
		b.WriteString("\n")
		if status.ContainerID == "" {
			continue
		}
		log, err := n.Logs(ctx, pod.Namespace, pod.Name, status.Name)
		if err != nil {
			log = err.Error()
		}
		fmt.Fprintf(b, "%s\n", lastLines(log, describeLines))
	}
}

func stateOf(state corev1.ContainerState) string {
	switch {
	case state.Running != nil:
		return "running"
	case state.Waiting != nil:
		return "waiting: " + state.Waiting.Reason + " " + state.Waiting.Message
	case state.Terminated != nil:
		return fmt.Sprintf("ended with %d: %s %s", state.Terminated.ExitCode, state.Terminated.Reason, state.Terminated.Message)
	default:
		return ""
	}
}

// Tails returns the last lines of the logs of the kubelet and containerd.
func (n *Node) Tails(lines int) string {
	var b strings.Builder
	for _, name := range []string{"kubelet", "containerd"} {
		data, err := os.ReadFile(filepath.Join(n.LogDir, name+".log"))
		if err != nil {
			fmt.Fprintf(&b, "%v\n", err)
			continue
		}
		fmt.Fprintf(&b, "end of %s.log:\n%s\n", name, lastLines(string(data), lines))
	}
	return b.String()
}

// lastLines are the last ones, each cut to what fits a report.
func lastLines(text string, lines int) string {
	const width = 300
	all := strings.Split(strings.TrimSpace(text), "\n")
	all = all[max(0, len(all)-lines):]
	for i, line := range all {
		if len(line) > width {
			all[i] = line[:width] + " …"
		}
	}
	return strings.Join(all, "\n")
}
