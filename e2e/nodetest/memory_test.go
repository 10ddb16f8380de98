//go:build node

package nodetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// memory is what the kernel has charged a container, in bytes.
type memory struct{ now, own, peak int64 }

func (m memory) String() string {
	mebibytes := func(n int64) float64 { return float64(n) / (1 << 20) }
	return fmt.Sprintf("%.1f MiB now, of which %.1f MiB of its own; the most, with startup probes and the runtime, %.1f MiB of 16",
		mebibytes(m.now), mebibytes(m.own), mebibytes(m.peak))
}

// TestAgentMemory measures an agent whose program has to be read from the disk, so that its file
// is charged to its container, as it is to the first one of a node. It is not parallel, so that
// no other agent runs and has the file in memory.
func TestAgentMemory(t *testing.T) {
	namespace := newNamespace(t)
	create(t, newPod(namespace, "first", toolsImage, "role=client", "agent=true"))
	first := awaitReady(t, namespace, "first")
	group := cgroupOf(t, agentStatus(t, first).ContainerID)
	pids, err := os.ReadFile(filepath.Join(group, "cgroup.procs"))
	require.NoError(t, err)
	program, err := os.Open(filepath.Join("/proc", strings.Fields(string(pids))[0], "exe"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = program.Close() })
	remove(t, namespace, first.Name, client.GracePeriodSeconds(1))
	// Those of earlier tests, too, whose namespaces are still on their way out.
	require.NoError(t, node.WaitFor(t.Context(), "all agents to end", func(context.Context) error {
		names, err := filepath.Glob("/proc/[0-9]*/comm")
		for _, name := range names {
			// A process that has ended meanwhile is none.
			if comm, _ := os.ReadFile(name); string(comm) == agent+"\n" {
				return errors.New(name + " is one")
			}
		}
		return err
	}))
	require.NoError(t, program.Sync())
	require.NoError(t, unix.Fadvise(int(program.Fd()), 0, 0, unix.FADV_DONTNEED))

	create(t, newPod(namespace, "second", toolsImage, "role=client", "agent=true"))
	used := memoryOfAgent(t, awaitReady(t, namespace, "second"))
	t.Logf("measured: agent memory with its program's file: %s", used)
	assert.Greater(t, used.now-used.own, int64(4<<20), "the file is charged, or nothing was measured")
}

// agentStatus returns the status of a pod's agent.
func agentStatus(t *testing.T, pod *corev1.Pod) *corev1.ContainerStatus {
	t.Helper()
	for i := range pod.Status.InitContainerStatuses {
		if status := &pod.Status.InitContainerStatuses[i]; status.Name == agent {
			return status
		}
	}
	require.Fail(t, "pod has no agent", pod.Name)
	return nil
}

// memoryOfAgent asks the kernel, and sees that it never ended the agent.
func memoryOfAgent(t *testing.T, pod *corev1.Pod) memory {
	t.Helper()
	status := agentStatus(t, pod)
	assert.Zero(t, status.RestartCount, "the agent of %s", pod.Name)
	group := cgroupOf(t, status.ContainerID)
	return memory{
		now:  readBytes(t, group, "memory.usage_in_bytes", "memory.current"),
		own:  anonymous(t, group),
		peak: readBytes(t, group, "memory.max_usage_in_bytes", "memory.peak"),
	}
}

// cgroupOf returns a container's group in the hierarchy that counts memory.
func cgroupOf(t *testing.T, id string) string {
	t.Helper()
	_, id, _ = strings.Cut(id, "://")
	var found string
	for _, root := range []string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup"} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() && strings.Contains(entry.Name(), id) {
				found = path
				return fs.SkipAll
			}
			return nil // groups come and go
		})
		require.NoError(t, err)
		if found != "" {
			return found
		}
	}
	require.Fail(t, "no cgroup", id)
	return ""
}

// readBytes reads the first of the files that is there: they are those of two versions of cgroups.
func readBytes(t *testing.T, group string, names ...string) int64 {
	t.Helper()
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(group, name))
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
		require.NoError(t, err)
		return n
	}
	require.Fail(t, "no such file", "%s: %q", group, names)
	return 0
}

// anonymous is memory that is no file's.
func anonymous(t *testing.T, group string) int64 {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(group, "memory.stat"))
	require.NoError(t, err)
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if fields[0] == "rss" || fields[0] == "anon" {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			require.NoError(t, err)
			return n
		}
	}
	return 0
}
