package debimage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// apt finds and downloads packages as if for an empty system. Its lists, downloads and records
// are in a folder of its own; only the sources and keys are the machine's.
type apt struct {
	dir      string
	progress func(string)
}

// deb is a package that was downloaded.
type deb struct {
	name, version, path string
}

// aptConfiguration is in force after the machine's own, such as that of a proxy.
const aptConfiguration = `// The machine's hooks are for the machine.
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
Dir::State "%[1]s/state";
Dir::State::status "%[1]s/state/status";
Dir::Cache "%[1]s/cache";
Dir::Etc::preferences "%[1]s/preferences";
Dir::Etc::preferencesparts "/dev/null";
APT::Install-Recommends "false";
APT::Get::Assume-Yes "true";
APT::Sandbox::User "";
APT::Keep-Downloaded-Packages "true";
Acquire::Languages "none";
Acquire::Retries "3";
`

// preferences take the distribution's own packages, whatever other sources the machine has.
const preferences = "Package: *\nPin: release o=Debian\nPin-Priority: 990\n"

// newApt prepares the folder.
func newApt(dir string, progress func(string)) (*apt, error) {
	a := &apt{dir: dir, progress: progress}
	for _, program := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("packing Debian packages needs %s, as Debian and its likes have it: %w", program, err)
		}
	}
	for _, sub := range []string{"state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o750); err != nil {
			return nil, err
		}
	}
	for name, content := range map[string]string{
		"apt.conf": fmt.Sprintf(aptConfiguration, dir), "preferences": preferences, "state/status": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// fetch downloads the packages and what they depend on, in the order of their names. The lists
// are got when there are none, and again when they name what is no longer to be had.
func (a *apt) fetch(ctx context.Context, packages []string) ([]deb, error) {
	lists, err := filepath.Glob(filepath.Join(a.dir, "state", "lists", "*_Packages*"))
	if err != nil {
		return nil, err
	}
	fresh := len(lists) == 0
	if fresh {
		if err := a.update(ctx); err != nil {
			return nil, err
		}
	}
	debs, err := a.download(ctx, packages)
	if err == nil || fresh || ctx.Err() != nil {
		return debs, err
	}
	if err := a.update(ctx); err != nil {
		return nil, err
	}
	return a.download(ctx, packages)
}

func (a *apt) update(ctx context.Context) error {
	a.progress("getting the lists of Debian packages")
	// A source that fails is no harm as long as the packages are found in another.
	_, err := a.run(ctx, "update")
	if lists, _ := filepath.Glob(filepath.Join(a.dir, "state", "lists", "*_Packages*")); len(lists) > 0 && ctx.Err() == nil {
		return nil
	}
	if err == nil {
		err = errors.New("no source has packages")
	}
	return fmt.Errorf("getting the lists of Debian packages: %w", err)
}

// download has apt-get work out what is needed, get what is missing, and name the files.
func (a *apt) download(ctx context.Context, packages []string) ([]deb, error) {
	if _, err := a.run(ctx, append([]string{"-qq", "--download-only", "install"}, packages...)...); err != nil {
		return nil, err
	}
	// Now nothing has to be got; what would be installed is printed, with its version.
	planned, err := a.run(ctx, append([]string{"-qq", "--simulate", "install"}, packages...)...)
	if err != nil {
		return nil, err
	}
	debs, err := parsePlan(planned)
	if err != nil {
		return nil, err
	}
	for i := range debs {
		if debs[i].path, err = a.find(debs[i]); err != nil {
			return nil, err
		}
	}
	return debs, nil
}

// parsePlan reads lines such as "Inst nginx (1.22.1-9 Debian:12.11/stable [amd64])".
func parsePlan(planned string) ([]deb, error) {
	var debs []deb
	for line := range strings.Lines(planned) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "Inst" {
			continue
		}
		if len(fields) < 3 || !strings.HasPrefix(fields[2], "(") {
			return nil, fmt.Errorf("apt-get prints what is not understood: %q", strings.TrimSpace(line))
		}
		debs = append(debs, deb{name: fields[1], version: strings.TrimPrefix(fields[2], "(")})
	}
	if len(debs) == 0 {
		return nil, errors.New("apt-get would install nothing")
	}
	slices.SortFunc(debs, func(a, b deb) int { return strings.Compare(a.name, b.name) })
	return debs, nil
}

// find returns the file of a package, whose name has the version, escaped, and an architecture.
func (a *apt) find(d deb) (string, error) {
	pattern := d.name + "_" + strings.ReplaceAll(d.version, ":", "%3a") + "_*.deb"
	found, err := filepath.Glob(filepath.Join(a.dir, "cache", "archives", pattern))
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("downloaded packages: %d files %s, want 1", len(found), pattern)
	}
	return found[0], nil
}

// run runs apt-get. Its error carries what apt-get says.
func (a *apt) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-c", filepath.Join(a.dir, "apt.conf")}, args...)...) //nolint:gosec // arguments of our own
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return "", fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}
