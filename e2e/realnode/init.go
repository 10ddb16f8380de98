package realnode

// What PID 1 of the namespaces does.

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// NodeName is the name of the node.
const NodeName = "node-1"

// runInit sets the namespaces up, runs the inner program and reaps all that ends. It returns
// the inner program's exit code.
func runInit() (int, error) {
	if os.Getpid() != 1 {
		return 1, errors.New("this stage of the node is for its own namespaces")
	}
	if err := setUp(os.Getenv(workVariable)); err != nil {
		return 1, fmt.Errorf("setting the node's namespaces up: %w", err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if err := os.Setenv(stageVariable, stageInner); err != nil {
		return 1, err
	}
	// Not os/exec, whose Wait would race with the reaping of others.
	child, err := syscall.ForkExec("/proc/self/exe", os.Args, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}}) //nolint:gosec // this program
	if err != nil {
		return 1, fmt.Errorf("starting the inner program: %w", err)
	}
	go func() {
		for range signals {
			_ = syscall.Kill(child, syscall.SIGTERM)
		}
	}()
	return reap(child)
}

// reap waits for children, which become ours when their parents end, until the one has ended.
func reap(child int) (int, error) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 1, fmt.Errorf("waiting for the inner program: %w", err)
		case pid != child:
		case status.Signaled():
			return 128 + int(status.Signal()), fmt.Errorf("the inner program was ended by a signal: %s", status.Signal())
		default:
			return status.ExitStatus(), nil
		}
	}
}

// setUp makes the mounts and the network.
func setUp(work string) error {
	for _, step := range []func(string) error{mountOwn, pinSysctls, setUpNetwork} {
		if err := step(work); err != nil {
			return err
		}
	}
	if err := unix.Sethostname([]byte(NodeName)); err != nil {
		return fmt.Errorf("setting the host name: %w", err)
	}
	return nil
}

// mountOwn gives the namespace folders of its own, where a node keeps things at fixed places.
func mountOwn(work string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	for _, dir := range []string{"/run", "/var/log"} {
		if err := mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
			return err
		}
	}
	if target, err := filepath.EvalSymlinks("/var/run"); err == nil && target != "/run" {
		if err := mount("/run", target, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	if err := coverVarLib(); err != nil {
		return err
	}
	return mountKubelet(work)
}

// coverVarLib puts a folder of the namespace's own over /var/lib, with all that is in the
// machine's: what a node adds is nobody else's.
func coverVarLib() error {
	const dir = "/var/lib"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("reading %s: %w", dir, err)
	}
	folder, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", dir, err)
	}
	defer func() { _ = unix.Close(folder) }()
	if err := mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return err
	}
	for _, entry := range entries {
		// A node's own folders begin empty, even where the machine is a node.
		if !entry.IsDir() || entry.Name() == "kubelet" || entry.Name() == "cni" {
			continue
		}
		target := filepath.Join(dir, entry.Name())
		if err := os.Mkdir(target, 0o755); err != nil { //nolint:gosec // as they are
			return fmt.Errorf("making %s: %w", target, err)
		}
		if err := mount(fmt.Sprintf("/proc/self/fd/%d/%s", folder, entry.Name()), target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return err
		}
	}
	return nil
}

// mountKubelet makes the kubelet's folder, whose mounts go over into containers and come
// out of them.
func mountKubelet(work string) error {
	source := filepath.Join(work, "kubelet")
	for _, dir := range []string{source, KubeletRoot} {
		if err := os.Mkdir(dir, 0o750); err != nil {
			return fmt.Errorf("making the kubelet's folder: %w", err)
		}
	}
	if err := mount(source, KubeletRoot, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	if err := unix.Mount("", KubeletRoot, "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("sharing the mounts of %s: %w", KubeletRoot, err)
	}
	return nil
}

func mount(source, target, kind string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		return fmt.Errorf("mounting %s: %w", target, err)
	}
	return nil
}

// sysctls are the machine-wide settings that a kubelet wants, with the values.
func sysctls() map[string]string {
	return map[string]string{
		"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
		"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
	}
}

// pinSysctls shows the kubelet the machine-wide settings that it wants, so that it changes
// none on the machine.
func pinSysctls(work string) error {
	dir := filepath.Join(work, "sysctl")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("making a folder for settings: %w", err)
	}
	for name, value := range sysctls() {
		file := filepath.Join(dir, filepath.Base(name))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o600); err != nil {
			return fmt.Errorf("writing a setting: %w", err)
		}
		if err := mount(file, filepath.Join("/proc/sys", name), "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}
