package demo

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"example.io/mtls-injector/e2e/demo/peer"
)

// program is what a container's process would find: its files, variables and arguments.
type program struct {
	// root is the folder that stands for "/".
	root string
	// env holds NAME=value, and nothing that the pod's spec does not say.
	env  []string
	args []string
}

// expand replaces $(NAME) in a container's arguments, as the kubelet does.
func expand(args, env []string) []string {
	var pairs []string
	for _, variable := range env {
		name, value, _ := strings.Cut(variable, "=")
		pairs = append(pairs, "$("+name+")", value)
	}
	replace := strings.NewReplacer(pairs...)
	expanded := make([]string, len(args))
	for i, arg := range args {
		expanded[i] = replace.Replace(arg)
	}
	return expanded
}

// variable returns the value of a variable, or "".
func (p *program) variable(name string) string {
	for _, variable := range p.env {
		if value, ok := strings.CutPrefix(variable, name+"="); ok {
			return value
		}
	}
	return ""
}

// with returns the program with another value for a variable; none removes it.
func (p *program) with(name, value string) program {
	changed := program{root: p.root, args: p.args}
	for _, variable := range p.env {
		if !strings.HasPrefix(variable, name+"=") {
			changed.env = append(changed.env, variable)
		}
	}
	if value != "" {
		changed.env = append(changed.env, name+"="+value)
	}
	return changed
}

// publicKey returns the public key of the key pair, as DER.
func (p *program) publicKey() (string, error) {
	cert, key := p.variable("MTLS_SERVER_CERT"), p.variable("MTLS_SERVER_KEY")
	if cert == "" {
		cert, key = p.variable("MTLS_CLIENT_CERT"), p.variable("MTLS_CLIENT_KEY")
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(p.root, cert), filepath.Join(p.root, key))
	if err != nil {
		return "", fmt.Errorf("reading its key pair: %w", err)
	}
	return string(pair.Leaf.RawSubjectPublicKeyInfo), nil
}

// command makes a process of the peer with the program's environment and no other.
func (d *Demo) command(ctx context.Context, p *program, mode string, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.peer, append([]string{mode, "--root", p.root}, args...)...) //nolint:gosec // our own program, without a shell
	cmd.Env = append([]string{}, p.env...)                                                        // never nil, which would mean our own
	return cmd
}

// server is a process that serves in the place of a pod's container.
type server struct {
	pod     *pod
	address string // host:port on this machine
	cmd     *exec.Cmd
	stdin   io.Closer
	log     string // path
}

// startTimeout is how long a server may take to listen.
const startTimeout = 20 * time.Second

// serve starts a server with arguments as its container has them. It ends with stop, or
// when this program does.
func (d *Demo) serve(ctx context.Context, p *pod, args, connect []string) (*server, error) {
	s := &server{pod: p, log: filepath.Join(d.dir, p.Namespace+"-"+p.Name+".log")}
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("making the log of the server: %w", err)
	}
	defer func() { _ = log.Close() }() // the process has its own copy
	s.cmd = d.command(context.WithoutCancel(ctx), &p.program, "serve", append(append(args, connect...), "--listen=127.0.0.1:0"))
	s.cmd.Stderr = log
	// Ctrl-C in a terminal is for the demo, which ends the server itself.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := s.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the server: %w", err)
	}
	s.stdin = stdin
	stdout, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("starting the server: %w", err)
	}
	d.servers = append(d.servers, s)
	if s.address, err = readAddress(stdout); err != nil {
		return nil, fmt.Errorf("the server of pod %s/%s does not listen: %w\nend of its log:\n%s", p.Namespace, p.Name, err, tail(s.log))
	}
	return s, nil
}

// readAddress reads the line that a server prints when it listens.
func readAddress(stdout io.ReadCloser) (string, error) {
	late := time.AfterFunc(startTimeout, func() { _ = stdout.Close() })
	defer late.Stop()
	var started peer.Started
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &started)
	}
	return started.Address, err
}

// stop ends the server by closing its standard input.
func (s *server) stop() error {
	kill := time.AfterFunc(startTimeout, func() { _ = s.cmd.Process.Kill() })
	defer kill.Stop()
	if err := errors.Join(s.stdin.Close(), s.cmd.Wait()); err != nil {
		return fmt.Errorf("stopping the server of pod %s: %w", s.pod.Name, err)
	}
	return nil
}

// call runs a client once.
func (d *Demo) call(ctx context.Context, p *program, args []string) (peer.Outcome, error) {
	var outcome peer.Outcome
	cmd := d.command(ctx, p, "call", args)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return outcome, fmt.Errorf("running a client: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	if err := json.Unmarshal(out, &outcome); err != nil {
		return outcome, fmt.Errorf("reading what the client says: %w", err)
	}
	return outcome, nil
}

// tail returns the last lines of a log, each cut to what a person would read.
func tail(path string) string {
	const lines, length = 8, 300
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	all = all[max(0, len(all)-lines):]
	for i, line := range all {
		if len(line) > length {
			all[i] = strings.ToValidUTF8(line[:length], "") + "…"
		}
	}
	return strings.Join(all, "\n")
}
