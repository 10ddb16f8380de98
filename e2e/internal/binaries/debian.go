package binaries

import (
	"bytes"
	"context"
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

// Packages are Debian's packages, unpacked into a folder: nothing is installed.
type Packages struct {
	// Root is the folder; what a package has as /usr/sbin/x is in usr/sbin/x.
	Root string
}

// Path returns the folders of programs, for the variable PATH.
func (p *Packages) Path() string {
	return strings.Join([]string{filepath.Join(p.Root, "usr/sbin"), filepath.Join(p.Root, "usr/bin"), filepath.Join(p.Root, "sbin")}, ":")
}

// LibraryPath returns the folder of libraries, for the variable LD_LIBRARY_PATH.
func (p *Packages) LibraryPath() string {
	triplet := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	return filepath.Join(p.Root, "usr/lib", triplet)
}

// XtablesPath returns the folder of iptables's extensions, for the variable XTABLES_LIBDIR.
func (p *Packages) XtablesPath() string { return filepath.Join(p.LibraryPath(), "xtables") }

// nodePackages are runc and iptables, with those libraries that a small Debian lacks.
func nodePackages() []string {
	return []string{
		"runc", "libseccomp2",
		"iptables", "libip4tc2", "libip6tc2", "libxtables12", "libnftnl11", "libmnl0", "libnfnetlink0", "libnetfilter-conntrack3",
	}
}

func (n *Node) ensureDebian(ctx context.Context, progress Progress) error {
	b, err := newBuilder(ctx, progress)
	if err != nil {
		return err
	}
	n.Debian, err = b.unpack(ctx, "debian-node", nodePackages())
	return err
}

// unpack downloads packages and unpacks them into a folder of that name, once. Their own
// dependencies are for the list to have.
func (b *builder) unpack(ctx context.Context, name string, packages []string) (*Packages, error) {
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return nil, fmt.Errorf("telling the system's release: %w", err)
	}
	// Another list is another folder, and so is another release, whose packages need another libc.
	dir := filepath.Join(b.dir, name+"-"+shortHash(string(release)+" "+runtime.GOARCH+" "+strings.Join(packages, " ")))
	p := &Packages{Root: dir}
	if exists(dir) {
		return p, nil
	}
	if err := haveApt(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(b.dir, 0o750); err != nil {
		return nil, fmt.Errorf("making the folder for programs: %w", err)
	}
	lock := flock.New(dir + ".lock")
	if _, err := lock.TryLockContext(ctx, 100*time.Millisecond); err != nil {
		return nil, fmt.Errorf("waiting for the lock to unpack %s: %w", name, err)
	}
	defer func() { _ = lock.Close() }()
	if exists(dir) {
		return p, nil
	}
	b.progress("downloading Debian's packages " + strings.Join(packages, ", ") + " (once)")
	partial, err := os.MkdirTemp(b.dir, name+".")
	if err != nil {
		return nil, fmt.Errorf("making a folder for packages: %w", err)
	}
	defer func() { _ = os.RemoveAll(partial) }()
	root := filepath.Join(partial, "root")
	if err := download(ctx, partial, packages); err != nil {
		return nil, err
	}
	if err := unpackAll(ctx, partial, root); err != nil {
		return nil, err
	}
	if err := os.Rename(root, dir); err != nil { //nolint:gosec // in our own cache
		return nil, fmt.Errorf("keeping the unpacked packages: %w", err)
	}
	return p, nil
}

// haveApt says what is missing where packages cannot be had.
func haveApt() error {
	for _, tool := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("a real node needs runc and iptables from the packages of Debian or Ubuntu, and there is no %s here: %w", tool, err)
		}
	}
	return nil
}

// download fetches the packages into dir, with fresh lists where apt has none or stale ones.
func download(ctx context.Context, dir string, packages []string) error {
	get := func() error {
		// Root's downloads go through a user that may not write here, of which apt warns.
		return run(ctx, dir, "apt-get", append([]string{"download", "-q", "-o", "APT::Sandbox::User=root"}, packages...)...)
	}
	if get() == nil {
		return nil
	}
	// One of several sources may fail that is not needed.
	update := run(ctx, dir, "apt-get", "update", "-q")
	if err := get(); err != nil {
		return fmt.Errorf("downloading packages: %w", errors.Join(update, err))
	}
	return nil
}

func unpackAll(ctx context.Context, dir, root string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return fmt.Errorf("looking for packages: %w", err)
	}
	for _, file := range files {
		if err := run(ctx, dir, "dpkg-deb", "-x", file, root); err != nil {
			return fmt.Errorf("unpacking: %w", err)
		}
	}
	return nil
}

// run runs a program in dir. Its error has what it printed.
func run(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // of our own choice
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}
