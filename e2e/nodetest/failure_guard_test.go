//go:build node

package nodetest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const empty = "/etc/tls/client is empty: its files have not been written"

// TestStartGuard reproduces what users of the CSI driver report: under churn it tells the
// kubelet that a volume is mounted whose files are not there. A pod without the agent really
// starts with an empty folder. With the agent its containers start when the files are right,
// and until then Event, status and log say what is wrong.
func TestStartGuard(t *testing.T) {
	f := newFailure(t)
	f.Plugin.SetHazard(true)
	t.Cleanup(func() { f.Plugin.SetHazard(false) })
	f.create("plain", ownIssuer()...)
	f.create("guarded", ownIssuer()...)

	f.awaitReady("plain")
	assert.Equal(t, "start nothing\n", f.seen("plain", "app"), "the fault is reproduced")
	f.awaitEvent("guarded", "Unhealthy: Startup probe failed: ", empty)
	f.awaitLog("guarded", agent, "ERROR", empty)
	f.checkHeld("guarded")

	f.giveIssuer() // so the first call of each volume, which goes on, succeeds
	f.awaitReady("guarded")
	f.checkNeverBad("guarded")
	f.awaitLog("guarded", agent, "INFO", "the files are right")
	f.awaitLog("plain", "app", "now valid until ")
	assert.Contains(t, f.seen("plain", "app"), "start nothing", "but one that reads once has nothing for ever")
}

// TestStartGuardForEver is the same with a call that fails in the end: nobody writes the files
// any more. The agent says what to do, and it is right.
func TestStartGuardForEver(t *testing.T) {
	f := newFailure(t)
	f.setStartTimeout("15s")
	f.Plugin.SetHazard(true)
	t.Cleanup(func() { f.Plugin.SetHazard(false) })
	f.create("plain", ownIssuer()...)
	f.create("guarded", ownIssuer()...)
	f.awaitEvent("guarded", "Unhealthy: Startup probe failed: ", empty, "delete the pod to have the volume mounted anew")
	f.await("the agent to give its reason", func(ctx context.Context) error {
		for _, status := range f.pod(ctx, "guarded").Status.InitContainerStatuses {
			ended := status.LastTerminationState.Terminated
			if ended != nil && hasAll(ended.Message, []string{"the files were not right within 15s:", empty}) {
				return nil
			}
		}
		return fmt.Errorf("its containers are %v", f.pod(ctx, "guarded").Status.InitContainerStatuses)
	})
	f.await("the driver to give up", func(context.Context) error {
		if mounts := f.Plugin.Publishing(); mounts > 0 {
			return fmt.Errorf("it works on %d mounts", mounts)
		}
		return nil
	})
	f.giveIssuer()
	f.checkHeld("guarded")
	require.Equal(t, "start nothing\n", f.seen("plain", "app"))

	f.Plugin.SetHazard(false)
	f.remove("guarded")
	f.create("guarded", ownIssuer()...)
	f.awaitReady("guarded")
	f.checkNeverBad("guarded")
}

// checkHeld checks what kubectl get and describe pod show of a pod that the agent holds: its
// own containers have not started.
func (f *failure) checkHeld(name string) {
	f.Helper()
	f.checkWaits(name, "PodInitializing")
	pod := f.pod(f.Context(), name)
	require.NotEmpty(f, pod.Status.InitContainerStatuses)
	status := pod.Status.InitContainerStatuses[0]
	assert.Equal(f, agent, status.Name)
	assert.NotEqual(f, new(true), status.Started, "as far as its probe goes, the agent has not started")
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodInitialized {
			assert.Equal(f, corev1.ConditionFalse, condition.Status)
			assert.Equal(f, "containers with incomplete status: [mtls-agent]", condition.Message)
		}
	}
}

// setStartTimeout has agents give up, and be started again, after so long.
func (f *failure) setStartTimeout(timeout string) {
	f.Helper()
	require.NoError(f, f.InstallChart(f.Context(), append(chartArgs(), "--set", "config.agent.startTimeout="+timeout)...))
	f.Cleanup(func() { require.NoError(f, f.InstallChart(context.Background(), chartArgs()...)) })
	f.await("the webhook to have the configuration", func(ctx context.Context) error {
		pod := newPod(f.namespace, "probe", witnessImage, "role=client", "agent=true", "fs-group=65532")
		if err := f.Client.Create(ctx, pod, client.DryRunAll); err != nil {
			return err
		}
		if command := pod.Spec.InitContainers[0].Command; !slices.Contains(command, "--start-timeout="+timeout) {
			return fmt.Errorf("the agent's command is %q", command)
		}
		return nil
	})
}
