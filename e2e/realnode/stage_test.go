//go:build node

package realnode

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// beNode has the test's own program be a node: "stay" until it is ended, or "end" by itself.
const beNode = "BE_NODE"

func TestMain(m *testing.M) {
	how := os.Getenv(beNode)
	if how == "" {
		os.Exit(m.Run())
	}
	os.Exit(Main(func(line string) { fmt.Println(line) }, nil, func() int {
		if err := be(context.Background(), how); err != nil {
			fmt.Println(err)
			return 1
		}
		return 0
	}))
}

// be starts a node with a pod on it, and says so.
func be(ctx context.Context, how string) error {
	n, err := Start(ctx, Options{Progress: func(line string) { fmt.Println(line) }})
	if err != nil {
		return err
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "pause"},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{
				Name: "app", Image: PauseImage, ImagePullPolicy: corev1.PullNever,
				VolumeMounts: []corev1.VolumeMount{{Name: "memory", MountPath: "/memory"}},
			}},
			Volumes: []corev1.Volume{{Name: "memory", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}}},
		},
	}
	if err := n.Client.Create(ctx, pod); err != nil {
		return err
	}
	err = n.WaitFor(ctx, "the pod to run", func(ctx context.Context) error {
		if err := n.Client.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
			return err
		}
		if pod.Status.Phase != corev1.PodRunning {
			return fmt.Errorf("it is %s", pod.Status.Phase)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w\n%s\n%s", err, n.Describe(ctx, pod.Namespace), n.Tails(describeLines))
	}
	fmt.Println("up", n.work)
	if how == "stay" {
		select {}
	}
	return n.Stop()
}

// TestNothingIsLeft: three nodes run side by side, and however each ends, nothing of it stays.
func TestNothingIsLeft(t *testing.T) {
	before := settings(t)
	t.Run("nodes", func(t *testing.T) {
		cases := map[string]struct {
			how string
			end syscall.Signal // none: it ends by itself
		}{
			"ends":        {how: "end"},
			"interrupted": {how: "stay", end: syscall.SIGINT},
			"killed":      {how: "stay", end: syscall.SIGKILL},
		}
		for name, tc := range cases {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				cmd, work, namespaces := startNode(t, tc.how)
				if tc.end != 0 {
					require.NoError(t, cmd.Process.Signal(tc.end))
				}
				_ = cmd.Wait() // killed, as it should be
				requireNothing(t, work, namespaces)
			})
		}
	})
	assert.Equal(t, before, settings(t), "the machine's settings")
}

// startNode starts this program as a node, and returns its folder and namespaces.
func startNode(t *testing.T, how string) (cmd *exec.Cmd, work string, namespaces []string) {
	t.Helper()
	cmd = exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), beNode+"="+how)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var lines []string
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		lines = append(lines, scanner.Text())
		folder, up := strings.CutPrefix(scanner.Text(), "up ")
		if !up {
			continue
		}
		pid, err := os.ReadFile(filepath.Join(folder, pidFile))
		require.NoError(t, err)
		for _, kind := range []string{"mnt", "net", "pid"} {
			id, err := os.Readlink(filepath.Join("/proc", string(pid), "ns", kind))
			require.NoError(t, err)
			namespaces = append(namespaces, id)
		}
		go func() {
			for scanner.Scan() { // so that it is not held up
			}
		}()
		return cmd, folder, namespaces
	}
	require.NoError(t, cmd.Wait())
	t.Fatalf("it did not come up:\n%s", strings.Join(lines, "\n"))
	return nil, "", nil
}

// requireNothing waits for what the kernel and the watchman do. A namespace that nothing is in
// is gone, and so are its mounts and interfaces.
func requireNothing(t *testing.T, work string, namespaces []string) {
	t.Helper()
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		assert.NoDirExists(t, work)
		links, err := filepath.Glob("/proc/[0-9]*/ns/*")
		require.NoError(t, err)
		for _, link := range links {
			if id, err := os.Readlink(link); err == nil {
				assert.NotContains(t, namespaces, id, link)
			}
		}
		mounts, err := os.ReadFile("/proc/self/mountinfo")
		require.NoError(t, err)
		assert.NotContains(t, string(mounts), work)
		require.NoError(t, filepath.WalkDir(cgroupRoot, func(path string, _ fs.DirEntry, err error) error {
			assert.NotContains(t, path, filepath.Base(work))
			return ignoreMissing(err)
		}))
	}, time.Minute, 200*time.Millisecond)
}

// settings returns those of the machine that a node would like to change.
func settings(t *testing.T) map[string]string {
	t.Helper()
	values := map[string]string{}
	for name := range sysctls() {
		value, err := os.ReadFile(filepath.Join("/proc/sys", name))
		require.NoError(t, err)
		values[name] = string(value)
	}
	return values
}

func TestParseStat(t *testing.T) {
	for stat, want := range map[string][2]string{
		"1 (init) S 0 1":                  {"init", "S"},
		"7 (a (b) c) Z 1 7":               {"a (b) c", "Z"},
		"9 (containerd-shim) R 1 9 9 0 -": {"containerd-shim", "R"},
		"nothing":                         {"", ""},
	} {
		name, state := parseStat(stat)
		assert.Equal(t, want, [2]string{name, state}, stat)
	}
}
