package peer

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"
)

// processTimeout is how long a server may take to listen, and to end.
const processTimeout = 20 * time.Second

// Process is a server that runs as a program of its own.
type Process struct {
	address string
	cmd     *exec.Cmd
	stdin   io.Closer
}

// Start starts the program (which is cmd/peer) as the server of a container: with its
// variables and no others, its arguments, and root in place of "/". It serves when Start
// returns, on a free port of this machine, until Stop or until this program ends. What it
// complains of goes to logs.
func Start(ctx context.Context, program, root string, env, args []string, logs io.Writer) (*Process, error) {
	args = append(append([]string{"serve", "--root", root}, args...), "--listen=127.0.0.1:0")
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program, args...) //nolint:gosec // our own program, without a shell
	cmd.Env = append([]string{}, env...)                                     // never nil, which would mean our own
	cmd.Stderr = logs
	// Ctrl-C in a terminal is for this program, which ends the server itself.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a server: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("starting a server: %w", err)
	}
	p := &Process{cmd: cmd, stdin: stdin}
	if p.address, err = readAddress(stdout); err != nil {
		return nil, errors.Join(fmt.Errorf("waiting for the server to listen: %w", err), p.Stop())
	}
	return p, nil
}

// readAddress reads the line that a server prints when it listens.
func readAddress(stdout io.ReadCloser) (string, error) {
	late := time.AfterFunc(processTimeout, func() { _ = stdout.Close() })
	defer late.Stop()
	var started Started
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &started)
	}
	return started.Address, err
}

// Address is where it listens, as host:port.
func (p *Process) Address() string { return p.address }

// Stop ends the server by closing its standard input, and waits for its end.
func (p *Process) Stop() error {
	kill := time.AfterFunc(processTimeout, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	if err := errors.Join(p.stdin.Close(), p.cmd.Wait()); err != nil {
		return fmt.Errorf("stopping a server: %w", err)
	}
	return nil
}
