package agent

// Reloading by a signal.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// SignalReloader sends a signal to a process of another container of the pod.
type SignalReloader struct {
	// Proc is /proc.
	Proc fs.FS
	// Container is the container's name; Process that of a program in it, of which the
	// topmost gets the signal, and empty for the container's main process.
	Container, Process string
	Signal             syscall.Signal
}

// ParseSignal returns the signal of a name such as SIGHUP.
func ParseSignal(name string) (syscall.Signal, error) {
	signal := unix.SignalNum(name)
	if signal == 0 || signal == syscall.SIGKILL || signal == syscall.SIGSTOP {
		return 0, fmt.Errorf("%q is no signal that a program can reload on, such as SIGHUP or SIGUSR1", name)
	}
	return signal, nil
}

// String says what is done.
func (r SignalReloader) String() string {
	name := unix.SignalName(r.Signal)
	if r.Process == "" {
		return fmt.Sprintf("%s to the main process of container %s", name, r.Container)
	}
	return fmt.Sprintf("%s to %s in container %s", name, r.Process, r.Container)
}

// RanBefore says whether the process is older than this one. Then it may have missed a change.
func (r SignalReloader) RanBefore(context.Context) bool {
	p := proc{r.Proc}
	target, err := p.find(r.Container, r.Process)
	if err != nil {
		return false
	}
	us, err := p.process(os.Getpid())
	return err == nil && target.start < us.start
}

// Reload sends the signal.
func (r SignalReloader) Reload(context.Context) error {
	p := proc{r.Proc}
	target, err := p.find(r.Container, r.Process)
	if err != nil {
		return err
	}
	status, err := fs.ReadFile(r.Proc, strconv.Itoa(target.pid)+"/status")
	if err != nil {
		return fmt.Errorf("process %d (%s) cannot be looked at: %w", target.pid, target.comm, withoutPath(err))
	}
	if err := r.mayBeSent(target, status); err != nil {
		return err
	}
	handle, err := os.FindProcess(target.pid) // holds on to the process, not to its number
	if err != nil {
		return fmt.Errorf("process %d (%s): %w", target.pid, target.comm, err)
	}
	defer func() { _ = handle.Release() }() // nothing was started
	if again, err := p.process(target.pid); err != nil || again.start != target.start {
		return fmt.Errorf("process %d (%s) has just ended: %w", target.pid, target.comm, errNoProcess)
	}
	if err := handle.Signal(r.Signal); err != nil {
		if errors.Is(err, syscall.EPERM) {
			return fmt.Errorf("process %d (%s) runs as user %s and the agent as user %d, which may not send it a signal: both must have the same runAsUser",
				target.pid, target.comm, statusField(status, "Uid"), os.Geteuid())
		}
		return fmt.Errorf("process %d (%s): %w", target.pid, target.comm, err)
	}
	return nil
}

// errNotCaught is of a signal that would do harm or nothing.
var errNotCaught = errors.New("the signal is not sent")

// mayBeSent refuses a signal that the process does not catch: it would end it, or do
// nothing. Signals that are for ending are sent all the same.
func (r SignalReloader) mayBeSent(target process, status []byte) error {
	if slices.Contains([]syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM}, r.Signal) {
		return nil
	}
	caught, err := strconv.ParseUint(statusField(status, "SigCgt"), 16, 64)
	if err != nil {
		return nil //nolint:nilerr // a kernel that does not tell is no reason not to reload
	}
	if caught&(1<<(uint(r.Signal)-1)) == 0 {
		return fmt.Errorf("process %d (%s) does not handle %s, which would end it or do nothing: take a signal that it reloads on, or name the process that does: %w",
			target.pid, target.comm, unix.SignalName(r.Signal), errNotCaught)
	}
	return nil
}

// statusField returns the first word of a field of /proc/PID/status.
func statusField(status []byte, name string) string {
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			if words := strings.Fields(value); len(words) > 0 {
				return words[0]
			}
		}
	}
	return ""
}
