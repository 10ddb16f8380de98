// Package atomicdir writes a folder of files the way the kubelet writes Secrets and
// ConfigMaps: the files are symbolic links through ..data, and one rename of that
// link changes all of them at once.
package atomicdir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	dataLink    = "..data"
	newDataLink = "..data_tmp"
)

// File is the content and mode of a file.
type File struct {
	Data []byte
	Mode os.FileMode
}

// Options are the folder's own mode and the group of all that is in it.
type Options struct {
	Mode os.FileMode
	// GID is the group. Only root can give it: for others it stays their own.
	GID int64
}

// Write makes dir hold exactly the files, by path relative to it. It may run while
// others read, but not twice at once for one folder.
func Write(dir string, files map[string]File, opts Options) error {
	// Only root can write to a folder of mode 0550, so it is opened for a moment.
	err := os.MkdirAll(dir, 0o750)
	if err == nil {
		err = os.Chmod(dir, 0o750) //nolint:gosec // a folder
	}
	if err != nil {
		return fmt.Errorf("opening %s to write: %w", dir, err)
	}
	old, err := os.Readlink(filepath.Join(dir, dataLink))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("reading the present version: %w", err)
	}
	version, err := writeVersion(dir, files, opts)
	if err != nil {
		return err
	}
	if err := publish(dir, version, files); err != nil {
		return err
	}
	if old != "" {
		if err := Remove(filepath.Join(dir, old)); err != nil {
			return err
		}
	}
	return seal(dir, opts.Mode, opts.GID)
}

// Remove removes a folder that Write made.
func Remove(dir string) error {
	// Folders without write permission cannot be emptied by anybody but root.
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		// To root it makes no difference, but to those who have the folder mounted still.
		if err != nil || !entry.IsDir() || os.Geteuid() == 0 {
			return err
		}
		return os.Chmod(path, 0o700) //nolint:gosec // a folder
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("opening %s to remove it: %w", dir, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("removing %s: %w", dir, err)
	}
	return nil
}

// writeVersion writes the files to a new folder within dir, and returns its name.
func writeVersion(dir string, files map[string]File, opts Options) (string, error) {
	version, err := os.MkdirTemp(dir, time.Now().UTC().Format("..2006_01_02_15_04_05."))
	if err != nil {
		return "", fmt.Errorf("making a version's folder: %w", err)
	}
	for name, file := range files {
		path := filepath.Join(version, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // as the kubelet does
			return "", fmt.Errorf("making the folder of %s: %w", name, err)
		}
		if err := os.WriteFile(path, file.Data, 0o600); err != nil {
			return "", fmt.Errorf("writing %s: %w", name, err)
		}
		if err := seal(path, file.Mode, opts.GID); err != nil {
			return "", err
		}
	}
	return filepath.Base(version), seal(version, opts.Mode, opts.GID)
}

// publish turns ..data to the version, and keeps one link for each top-level name.
func publish(dir, version string, files map[string]File) error {
	link := filepath.Join(dir, newDataLink)
	if err := os.Symlink(version, link); err != nil {
		return fmt.Errorf("linking the new version: %w", err)
	}
	if err := os.Rename(link, filepath.Join(dir, dataLink)); err != nil {
		return fmt.Errorf("publishing the new version: %w", err)
	}
	wanted := map[string]bool{}
	for name := range files {
		top, _, _ := strings.Cut(filepath.ToSlash(filepath.Clean(name)), "/")
		wanted[top] = true
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("listing %s: %w", dir, err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, "..") || wanted[name] {
			delete(wanted, name)
			continue
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("removing what is no longer there: %w", err)
		}
	}
	for name := range wanted {
		if err := os.Symlink(filepath.Join(dataLink, name), filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("linking %s: %w", name, err)
		}
	}
	return nil
}

// seal gives a path its final group and mode.
func seal(path string, mode os.FileMode, gid int64) error {
	if os.Geteuid() == 0 {
		if err := os.Chown(path, 0, int(gid)); err != nil {
			return fmt.Errorf("giving %s its group: %w", path, err)
		}
	}
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("setting the mode of %s: %w", path, err)
	}
	return nil
}
