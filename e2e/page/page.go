// Package page runs the shell commands that stand in the documentation, as a reader would.
package page

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// scriptTimeout is how long one block of commands may take.
const scriptTimeout = 3 * time.Minute

// Scripts reads the named blocks of commands of a Markdown file, by their names.
func Scripts(file string) (map[string]string, error) {
	steps, err := Steps(file)
	if err != nil {
		return nil, err
	}
	scripts := map[string]string{}
	for _, step := range steps {
		scripts[step.Name] = step.Script
	}
	return scripts, nil
}

// Shell runs commands, with programs and a home of its own, on one cluster.
type Shell struct {
	// Timeout bounds one run.
	Timeout time.Duration

	dir string
	env []string
}

// NewShell returns a shell that starts in dir, knows the programs by their names besides what
// the machine has, and keeps what they write in home.
func NewShell(dir, home, kubeconfig string, programs map[string]string) (*Shell, error) {
	bin := filepath.Join(home, "bin")
	if err := os.MkdirAll(bin, 0o750); err != nil {
		return nil, fmt.Errorf("making a folder for programs: %w", err)
	}
	for name, path := range programs {
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			return nil, fmt.Errorf("providing %s: %w", name, err)
		}
	}
	env := append(os.Environ(), "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"), "KUBECONFIG="+kubeconfig,
		"HOME="+home, "XDG_CACHE_HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_DATA_HOME="+home)
	return &Shell{Timeout: scriptTimeout, dir: dir, env: env}, nil
}

// Run runs commands, of which the first that fails is the last, and returns what they print.
// The context's end does not end them, so that they can clean up after it.
func (s *Shell) Run(ctx context.Context, script string) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script) //nolint:gosec // what stands on our own pages
	cmd.Dir, cmd.Env = s.dir, s.env
	// At the end of its time all that it runs ends, which would hold on to its output.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%w\n%s\n%s", err, script, out)
	}
	return string(out), nil
}
