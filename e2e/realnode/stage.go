package realnode

// The program starts itself anew, in namespaces of its own, and runs there what the caller
// wants. Three processes stand above each other:
//
//	outer   builds what needs the network, makes the cgroups, waits, and sees to the rest's end
//	init    PID 1 of the namespaces: mounts, network, reaping. When it ends, the kernel kills
//	        all that is left in them, and with the last process go the mounts and interfaces
//	inner   the test
//
// Beside them, in no namespace, sits a watchman that removes cgroups and files when outer is
// gone, however it went.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	stageVariable  = "REALNODE_STAGE"
	workVariable   = "REALNODE_WORK"
	cgroupVariable = "REALNODE_CGROUP"

	// pidFile has what the machine calls the namespaces' PID 1.
	pidFile = "pid"

	stageInit  = "init"
	stageInner = "inner"
	stageClean = "clean"
)

// endTimeout is how long what runs inside has to end after a signal.
const endTimeout = 15 * time.Second

// Main runs a program with a node: prepare as the program is started, with the network and
// the folders of this machine, and then run, in namespaces of its own, where Start can start
// the node. It returns the exit code. progress is told what goes on.
func Main(progress func(line string), prepare func(context.Context) error, run func() int) int {
	var code int
	var err error
	switch os.Getenv(stageVariable) {
	case stageInit:
		code, err = runInit()
	case stageInner:
		return run()
	case stageClean:
		err = runClean()
	default:
		code, err = runOuter(progress, prepare)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

// runOuter makes what has to be outside, and waits for what runs inside.
func runOuter(progress func(string), prepare func(context.Context) error) (code int, err error) {
	if err := supported(); err != nil {
		return 1, err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := ensurePrograms(ctx, progress); err != nil {
		return 1, err
	}
	work, err := os.MkdirTemp("", "mtls-injector-node-")
	if err != nil {
		return 1, fmt.Errorf("making the node's folder: %w", err)
	}
	group := filepath.Base(work)
	clean, err := startCleaner(work, group)
	if err != nil {
		return 1, errors.Join(err, os.RemoveAll(work))
	}
	defer func() { err = errors.Join(err, clean()) }()
	if err := makeCgroups(group); err != nil {
		return 1, err
	}
	for name, value := range map[string]string{workVariable: work, cgroupVariable: group} {
		if err := os.Setenv(name, value); err != nil {
			return 1, err
		}
	}
	if err := os.Mkdir(filepath.Join(work, "tmp"), 0o700); err != nil {
		return 1, fmt.Errorf("making the node's folder: %w", err)
	}
	if err := packProduct(ctx, work, progress); err != nil {
		return 1, err
	}
	if prepare != nil {
		if err := prepare(ctx); err != nil {
			return 1, err
		}
	}
	return enter(ctx, work)
}

// supported says why a node cannot run here, if so.
func supported() error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("a real node needs Linux, and this is %s", runtime.GOOS)
	}
	if os.Geteuid() != 0 {
		return errors.New("a real node needs root: it makes network and mount namespaces, cgroups and containers. " +
			"Run it as root (sudo -E make test-node); all other tests need none (make test)")
	}
	return nil
}

// enter starts this program again as PID 1 of new namespaces, and returns its exit code.
func enter(ctx context.Context, work string) (int, error) {
	// The kernel kills init when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...) //nolint:gosec,noctx // this program; signals end it
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), stageVariable+"="+stageInit, "TMPDIR="+filepath.Join(work, "tmp"))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true, // a terminal's signals come through us
	}
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("making the node's namespaces: %w", err)
	}
	if err := os.WriteFile(filepath.Join(work, pidFile), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
		return 1, errors.Join(fmt.Errorf("writing the node's process down: %w", err), cmd.Process.Kill(), cmd.Wait())
	}
	ended := make(chan struct{})
	go func() {
		select {
		case <-ended:
			return
		case <-ctx.Done():
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(endTimeout):
			_ = cmd.Process.Kill()
		}
	}()
	err := cmd.Wait()
	close(ended)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}

// startCleaner starts the watchman. The returned function has it do its work, and waits.
func startCleaner(work, group string) (func() error, error) {
	cmd := exec.Command("/proc/self/exe") //nolint:noctx // it outlives any context on purpose
	cmd.Env = append(os.Environ(), stageVariable+"="+stageClean, workVariable+"="+work, cgroupVariable+"="+group)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("starting the watchman: %w", err)
	}
	return func() error {
		if err := errors.Join(stdin.Close(), cmd.Wait()); err != nil {
			return fmt.Errorf("cleaning up after the node: %w", err)
		}
		return nil
	}, nil
}

// runClean removes the node's cgroups and files once its standard input ends.
func runClean() error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return fmt.Errorf("waiting for the node to end: %w", err)
	}
	// What dies with its parent may need a moment.
	return errors.Join(
		again(func() error { return removeCgroups(os.Getenv(cgroupVariable)) }),
		again(func() error { return os.RemoveAll(os.Getenv(workVariable)) }),
	)
}

// again tries for half a minute.
func again(try func() error) error {
	var err error
	for range 300 {
		if err = try(); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}
