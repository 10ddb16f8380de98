//go:build node

package csiplugin

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"k8s.io/utils/clock"

	"example.io/mtls-injector/e2e/csidriver"
	"example.io/mtls-injector/e2e/csidriver/csidrivertest"
)

// inside says that the tests run in a mount namespace of their own.
const inside = "CSIPLUGIN_TEST_INSIDE"

// TestMain runs the tests in a mount namespace that nothing outside can see, and that takes
// its mounts with it.
func TestMain(m *testing.M) {
	if os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "the tests with the build tag node mount file systems: run them as root")
		os.Exit(1)
	}
	again := exec.Command(os.Args[0], os.Args[1:]...)
	again.Stdout, again.Stderr = os.Stdout, os.Stderr
	again.Env = append(os.Environ(), inside+"=1")
	again.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err := again.Run()
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed):
		os.Exit(failed.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func TestMounts(t *testing.T) {
	cases := map[string]struct {
		fsGroup, attribute string
		gid                uint32
	}{
		"neither":          {"", "", 0},
		"the pod's group":  {"3000", "", 3000},
		"the volume's own": {"3000", "4000", 4000},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, csidrivertest.Client(t, csidrivertest.Sign(t)), clock.RealClock{}, nil)
			request := b.request(map[string]string{csidriver.Prefix + "fs-group": tc.attribute})
			request.VolumeCapability.GetMount().VolumeMountGroup = tc.fsGroup
			_, err := csi.NewNodeClient(b.dial(b.socket())).NodePublishVolume(t.Context(), request)
			require.NoError(t, err)

			kind, options := mounted(t, b.target())
			assert.Equal(t, "tmpfs", kind)
			assert.Contains(t, options, "ro")
			checkFile(t, b.target(), 0o550, tc.gid)
			for _, file := range []string{"ca.crt", "tls.crt", "tls.key"} {
				checkFile(t, filepath.Join(b.target(), file), 0o440, tc.gid)
			}
			require.ErrorIs(t, os.WriteFile(filepath.Join(b.target(), "x"), nil, 0o600), syscall.EROFS)

			b.Stop()
			require.NoError(t, b.Start(t.Context()))
			assert.NotEmpty(t, b.certificate(b.target()), "mounted still")
			require.NoError(t, b.unpublish())
			require.NoError(t, b.unpublish())
			assert.NoDirExists(t, b.target())
			assert.Empty(t, b.noted())
		})
	}
}

func checkFile(t *testing.T, path string, mode os.FileMode, gid uint32) {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, mode, info.Mode().Perm(), path)
	var stat unix.Stat_t
	require.NoError(t, unix.Stat(path, &stat))
	assert.Equal(t, gid, stat.Gid, path)
	assert.Zero(t, stat.Uid, path)
}

// mounted tells what is mounted at a path, and how.
func mounted(t *testing.T, path string) (kind string, options []string) {
	t.Helper()
	file, err := os.Open("/proc/self/mounts")
	require.NoError(t, err)
	defer func() { assert.NoError(t, file.Close()) }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); fields[1] == path {
			kind, options = fields[2], strings.Split(fields[3], ",")
		}
	}
	return kind, options
}
