package binaries

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// heartbeat is how often a long build says that it still goes on.
const heartbeat = 15 * time.Second

// target is one program to provide.
type target struct {
	name   string
	module string // folder to build in; default: this module
	pkg    string
	flags  string  // linker flags
	tags   string  // build tags, comma separated
	hint   string  // how long a cold build takes, if that is worth a warning
	always bool    // build even if it exists, because its source can change
	path   *string // where to put the result
}

// builder builds programs into one folder.
type builder struct {
	module   string // this module's folder
	dir      string // where programs go
	progress Progress
}

func newBuilder(ctx context.Context, progress Progress) (*builder, error) {
	if progress == nil {
		progress = func(string) {}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("finding the cache folder for programs: %w", err)
	}
	b := &builder{dir: filepath.Join(cache, "mtls-injector", "bin"), progress: progress}
	if b.module, err = moduleRoot(ctx, b); err != nil {
		return nil, err
	}
	return b, nil
}

// ensure provides all targets, one after the other: each build alone keeps
// every core busy.
func (b *builder) ensure(ctx context.Context, targets []target) error {
	for _, t := range targets {
		path, err := b.provide(ctx, t)
		if err != nil {
			return err
		}
		*t.path = path
	}
	return nil
}

func (b *builder) provide(ctx context.Context, t target) (string, error) {
	if path, err := asset(t.name); path != "" || err != nil {
		return path, err
	}
	path := filepath.Join(b.dir, t.name)
	if !t.always && exists(path) {
		return path, nil
	}
	if err := os.MkdirAll(b.dir, 0o750); err != nil {
		return "", fmt.Errorf("making the folder for programs: %w", err)
	}
	// Several test processes may want the same program at once: one builds it.
	lock := flock.New(path + ".lock")
	if _, err := lock.TryLockContext(ctx, 100*time.Millisecond); err != nil {
		return "", fmt.Errorf("waiting for the lock to build %s: %w", t.name, err)
	}
	defer func() { _ = lock.Close() }()
	if !t.always && exists(path) {
		return path, nil
	}
	return path, b.build(ctx, t, path)
}

// build writes to a temporary name first, so that nobody runs half a program
// and a running one is replaced, not overwritten.
func (b *builder) build(ctx context.Context, t target, path string) error {
	start := time.Now()
	stop := b.report(t, start)
	defer stop()

	partial := fmt.Sprintf("%s.%d", path, os.Getpid())
	defer func() { _ = os.Remove(partial) }()
	dir := t.module
	if dir == "" {
		dir = b.module
	}
	if _, err := b.goOutput(ctx, dir, "build", "-tags="+t.tags, "-ldflags="+t.flags, "-o", partial, t.pkg); err != nil {
		return fmt.Errorf("building %s: %w", t.name, err)
	}
	if err := os.Rename(partial, path); err != nil {
		return fmt.Errorf("installing %s: %w", t.name, err)
	}
	if elapsed := time.Since(start); !t.always || elapsed > heartbeat {
		b.progress(fmt.Sprintf("built %s in %s", t.name, elapsed.Round(100*time.Millisecond)))
	}
	return nil
}

// report tells of a build's start and then, now and again, that it goes on. The
// returned function ends it.
func (b *builder) report(t target, start time.Time) func() {
	if !t.always {
		line := "building " + t.name
		if t.hint != "" {
			line += " (once; about " + t.hint + " on two cores if nothing is cached)"
		}
		b.progress(line)
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(heartbeat)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				b.progress(fmt.Sprintf("building %s … %s", t.name, time.Since(start).Round(time.Second)))
			}
		}
	}()
	return func() { close(done); <-ended }
}

// moduleVersion returns the version of a dependency that the module in dir pins.
func (b *builder) moduleVersion(ctx context.Context, dir, module string) (string, error) {
	return b.goOutput(ctx, dir, "list", "-m", "-f", "{{.Version}}", module)
}

// moduleFiles returns the version of a dependency that the module in dir pins, and the folder
// with its files, which are downloaded if need be: the program can be there when they are not.
func (b *builder) moduleFiles(ctx context.Context, dir, module string) (version, files string, err error) {
	if version, err = b.moduleVersion(ctx, dir, module); err != nil {
		return "", "", err
	}
	if _, err = b.goOutput(ctx, dir, "mod", "download", module); err != nil {
		return "", "", err
	}
	files, err = b.goOutput(ctx, dir, "list", "-m", "-f", "{{.Dir}}", module)
	return version, files, err
}

// goOutput runs the go command in dir. Its error carries what go printed.
func (b *builder) goOutput(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // arguments of our own
	cmd.Dir = dir
	// A workspace file above the project would replace the pinned versions.
	cmd.Env = append(os.Environ(), "GOWORK=off")
	// An interrupted go command ends its compilers too; a killed one leaves them.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", fmt.Errorf("go %s: %w", args[0], context.Cause(ctx))
		}
		return "", fmt.Errorf("go %s in %s: %w\n%s", strings.Join(args, " "), dir, err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// cacheKey names a folder after all that decides what the programs are.
func cacheKey(kubernetes, etcd string) string {
	return fmt.Sprintf("kubernetes-%s-etcd-%s-%s-%s-%s", kubernetes, etcd, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:6])
}

func exists(path string) bool {
	_, err := os.Stat(path) //nolint:gosec // in our own cache
	return !errors.Is(err, os.ErrNotExist)
}
