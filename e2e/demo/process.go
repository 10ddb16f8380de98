package demo

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

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
	process *peer.Process
	address string // host:port on this machine
	log     string // path
}

// serve starts a server with arguments as its container has them. It ends with stop, or
// when this program does.
func (d *Demo) serve(ctx context.Context, p *pod, args, connect []string) (*server, error) {
	s := &server{pod: p, log: filepath.Join(d.dir, p.Namespace+"-"+p.Name+".log")}
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("making the log of the server: %w", err)
	}
	defer func() { _ = log.Close() }() // the process has its own copy
	s.process, err = peer.Start(ctx, d.peer, p.program.root, p.program.env, append(args, connect...), log)
	if err != nil {
		return nil, fmt.Errorf("pod %s/%s: %w\nend of its log:\n%s", p.Namespace, p.Name, err, tail(s.log))
	}
	s.address = s.process.Address()
	d.servers = append(d.servers, s)
	return s, nil
}

// stop ends the server.
func (s *server) stop() error {
	if err := s.process.Stop(); err != nil {
		return fmt.Errorf("pod %s: %w", s.pod.Name, err)
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
