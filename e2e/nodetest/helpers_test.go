//go:build node

package nodetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"example.io/mtls-injector/e2e/cluster"
	"example.io/mtls-injector/e2e/realnode"
	"example.io/mtls-injector/intent"
)

// toolsImage has package tools's program, which serves when it is told nothing else.
const toolsImage = "example.io/tools:dev"

// patience is how long a test waits for what a busy machine does in its time.
const patience = 5 * time.Minute

// patient is a context for such a wait.
func patient(t *testing.T) context.Context {
	t.Helper()
	return within(t, patience)
}

// within is a context for a wait of another length than is usual.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// theNode returns the node that all tests share.
func theNode(t *testing.T) *realnode.Node {
	t.Helper()
	return node
}

// newNamespace makes a namespace that is opted in, with further labels as name=value, and
// returns its name. It goes with the test. If that fails, it shows what became of its pods,
// and the ends of the kubelet's and containerd's logs.
func newNamespace(t *testing.T, labels ...string) string {
	t.Helper()
	all := map[string]string{cluster.EnabledLabel: "true"}
	for _, label := range labels {
		name, value, ok := strings.Cut(label, "=")
		require.True(t, ok, label)
		all[name] = value
	}
	ns, err := theNode(t).CreateNamespace(t.Context(), "test-", all, nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx := context.Background() // the test's has ended
		if t.Failed() {
			t.Logf("%s\n%s", node.Describe(ctx, ns.Name), node.Tails(8))
		}
		if os.Getenv("KEEP") == "" {
			require.NoError(t, node.Client.Delete(ctx, ns))
		}
	})
	return ns.Name
}

// apply applies manifests in the namespace.
func apply(t *testing.T, namespace, manifests string) {
	t.Helper()
	_, err := node.Apply(t.Context(), []byte(manifests), namespace)
	require.NoError(t, err)
}

// newPod returns a pod of one container "app" with an image that is on the node, annotated
// with name=value below the product's prefix.
func newPod(namespace, name, image string, annotations ...string) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": name}, Annotations: map[string]string{}},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "app", Image: image, ImagePullPolicy: corev1.PullNever}},
		},
	}
	for _, annotation := range annotations {
		key, value, _ := strings.Cut(annotation, "=")
		pod.Annotations[intent.Prefix+key] = value
	}
	return pod
}

// awaitPod waits until the check likes the pod, and returns it.
func awaitPod(t *testing.T, namespace, name, what string, check func(*corev1.Pod) error) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	require.NoError(t, node.WaitFor(patient(t), fmt.Sprintf("pod %s %s", name, what), func(ctx context.Context) error {
		if err := node.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, pod); err != nil {
			return err
		}
		return check(pod)
	}))
	return pod
}

// awaitReady waits until the pod is ready, and returns it.
func awaitReady(t *testing.T, namespace, name string) *corev1.Pod {
	t.Helper()
	return awaitPod(t, namespace, name, "to be ready", ready)
}

// ready says why a pod is not.
func ready(pod *corev1.Pod) error {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
			return nil
		}
	}
	var waits []string
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if status.State.Waiting != nil {
			waits = append(waits, fmt.Sprintf("%s: %s %s", status.Name, status.State.Waiting.Reason, status.State.Waiting.Message))
		}
	}
	return errors.Join(fmt.Errorf("it is %s", pod.Status.Phase), errors.New(strings.Join(waits, "; ")))
}

// awaitEvent waits for an Event on the object whose reason and message contain the parts.
func awaitEvent(t *testing.T, namespace, object string, parts ...string) *corev1.Event {
	t.Helper()
	var found *corev1.Event
	require.NoError(t, node.WaitFor(patient(t), fmt.Sprintf("an Event on %s with %q", object, parts), func(ctx context.Context) error {
		var events corev1.EventList
		if err := node.Client.List(ctx, &events, client.InNamespace(namespace)); err != nil {
			return err
		}
		var others []string
	events:
		for i := range events.Items {
			e := &events.Items[i]
			text := e.Type + " " + e.Reason + ": " + e.Message
			if e.InvolvedObject.Name != object {
				continue
			}
			for _, part := range parts {
				if !strings.Contains(text, part) {
					others = append(others, text)
					continue events
				}
			}
			found = e
			return nil
		}
		return fmt.Errorf("there are only %q", others)
	}))
	return found
}
