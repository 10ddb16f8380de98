// Package helm runs the real Helm command line, as users do, with a home of its own.
package helm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"example.io/mtls-injector/e2e/internal/binaries"
)

// CLI is Helm, talking to one cluster.
type CLI struct {
	// Path is the program's.
	Path string

	env []string
}

// New builds Helm where it has not been built yet. home is a folder for what it keeps;
// kubeconfig says which cluster it talks to, and may be empty for what needs none.
func New(ctx context.Context, kubeconfig, home string, progress func(string)) (*CLI, error) {
	path, err := binaries.EnsureHelm(ctx, progress)
	if err != nil {
		return nil, err
	}
	return &CLI{Path: path, env: append(os.Environ(),
		"KUBECONFIG="+kubeconfig, "HELM_CACHE_HOME="+filepath.Join(home, "cache"),
		"HELM_CONFIG_HOME="+filepath.Join(home, "config"), "HELM_DATA_HOME="+filepath.Join(home, "data"),
	)}, nil
}

// Run runs a command and returns what it prints. An error has Helm's own words.
func (h *CLI) Run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, h.Path, args...) //nolint:gosec // Helm, with arguments of tests
	cmd.Env = h.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		// What `helm lint` finds, it prints as what it was asked for.
		said := strings.TrimSpace(stdout.String() + stderr.String())
		return stdout.String(), fmt.Errorf("helm %s: %w\n%s", strings.Join(args, " "), err, said)
	}
	return stdout.String(), nil
}
