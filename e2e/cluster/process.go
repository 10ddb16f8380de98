package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// stopTimeout is how long a process gets to end after SIGTERM.
const stopTimeout = 20 * time.Second

// process is a child process that logs to a file and dies with this program.
type process struct {
	name    string
	cmd     *exec.Cmd
	logFile string
	done    chan struct{} // closed when the process has ended
	err     error         // how it ended; read after done
}

// startProcess starts a program through tether, with its output in the log folder and this
// program's environment.
func (c *Cluster) startProcess(name, program string, args ...string) (*process, error) {
	return c.startProcessWith(name, nil, program, args...)
}

// startProcessWith is startProcess with an environment of the process's own; nil means ours.
func (c *Cluster) startProcessWith(name string, env []string, program string, args ...string) (*process, error) {
	log, err := c.createLog(name)
	if err != nil {
		return nil, err
	}
	// The child has its own copy of the file.
	defer func() { _ = log.Close() }()

	//nolint:gosec,noctx // programs of our own choice, which Stop ends
	cmd := exec.Command(c.programs.Tether, append([]string{"exec", program}, args...)...)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, env
	// Ctrl-C in a terminal is for the parent, which stops its children in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p := &process{name: name, cmd: cmd, logFile: log.Name(), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = cmd.Wait()
	}()
	return p, nil
}

// ready waits until check succeeds. It fails at once when the process has ended,
// with the end of its log.
func (p *process) ready(ctx context.Context, check func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-p.done:
			cancel(errEnded)
		case <-ctx.Done():
		}
	}()
	if err := poll(ctx, p.name+" to be ready", check); err != nil {
		return fmt.Errorf("%w\nend of its log:\n%s", err, tail(p.logFile, 20))
	}
	return nil
}

// stop ends the process: politely, then by force.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping %s: %w", p.name, err)
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(stopTimeout):
	}
	if err := p.kill(); err != nil {
		return err
	}
	return fmt.Errorf("stopping %s: it did not end within %s of SIGTERM", p.name, stopTimeout)
}

// kill ends the process by force and returns when it has ended.
func (p *process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing %s: %w", p.name, err)
	}
	<-p.done
	return nil
}

// createLog opens a new log file. A name may be used more than once.
func (c *Cluster) createLog(name string) (*os.File, error) {
	path := filepath.Join(c.logDir, name+".log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("making a log file: %w", err)
	}
	return log, nil
}

// tail returns the last lines of a file, for error messages.
func tail(path string, lines int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
