package realnode

// The node's cgroups: all below one of its own in each hierarchy, outside of any namespace.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	cgroupRoot  = "/sys/fs/cgroup"
	controllers = "cgroup.controllers"
)

// hierarchies returns the root folder of each cgroup hierarchy.
func hierarchies() ([]string, error) {
	if unified() {
		return []string{cgroupRoot}, nil
	}
	entries, err := os.ReadDir(cgroupRoot)
	if err != nil {
		return nil, fmt.Errorf("looking for cgroups: %w", err)
	}
	var roots []string
	for _, entry := range entries {
		// Others are links to these.
		root := filepath.Join(cgroupRoot, entry.Name())
		if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err == nil && entry.IsDir() {
			roots = append(roots, root)
		}
	}
	if len(roots) == 0 {
		return nil, errors.New("no cgroups are mounted in " + cgroupRoot)
	}
	return roots, nil
}

// unified tells the second version of cgroups, with one hierarchy, from the first.
func unified() bool {
	_, err := os.Stat(filepath.Join(cgroupRoot, controllers))
	return err == nil
}

// makeCgroups makes the group in every hierarchy, fit to have others below it.
func makeCgroups(group string) error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	for _, root := range roots {
		dir := filepath.Join(root, group)
		if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // as cgroups are
			return fmt.Errorf("making a cgroup: %w", err)
		}
		// In the first version a group of cpuset begins without any.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			if value, err := os.ReadFile(filepath.Join(root, file)); err == nil && !unified() {
				if err := os.WriteFile(filepath.Join(dir, file), value, 0); err != nil {
					return fmt.Errorf("setting the cgroup's %s: %w", file, err)
				}
			}
		}
	}
	if !unified() {
		return nil
	}
	return errors.Join(delegate(cgroupRoot), delegate(filepath.Join(cgroupRoot, group)))
}

// delegate has the groups below dir use what dir has.
func delegate(dir string) error {
	have, err := os.ReadFile(filepath.Join(dir, controllers))
	if err != nil {
		return fmt.Errorf("reading the cgroup's controllers: %w", err)
	}
	for controller := range strings.FieldsSeq(string(have)) {
		if !slices.Contains([]string{"cpu", "cpuset", "memory", "pids", "io"}, controller) {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0); err != nil {
			return fmt.Errorf("handing the cgroup's controller %s down: %w", controller, err)
		}
	}
	return nil
}

// removeCgroups removes the group and all below it. What still has a process cannot be.
func removeCgroups(group string) error {
	if group == "" {
		return errors.New("no cgroup is named")
	}
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	var errs []error
	for _, root := range roots {
		var dirs []string
		err := filepath.WalkDir(filepath.Join(root, group), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				dirs = append(dirs, path)
			}
			return ignoreMissing(err)
		})
		errs = append(errs, err)
		for _, dir := range slices.Backward(dirs) {
			errs = append(errs, ignoreMissing(os.Remove(dir)))
		}
	}
	return errors.Join(errs...)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
