package debimage

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"time"
)

// merged are the folders that are links into /usr on a system, and not yet so in all packages;
// and those of /var that are links into /run.
var merged = [...][2]string{
	{"bin", "usr/bin"}, {"sbin", "usr/sbin"}, {"lib", "usr/lib"}, {"lib32", "usr/lib32"}, {"lib64", "usr/lib64"},
	{"libx32", "usr/libx32"}, {"var/run", "run"}, {"var/lock", "run/lock"},
}

// dropped is what nobody reads in a container.
var dropped = [...]string{
	"usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian", "usr/share/bug", "etc/init.d", "usr/lib/systemd",
}

// layer writes the files of several sources as one layer.
type layer struct {
	out  *tar.Writer
	seen map[string]bool
}

func newLayer(w io.Writer) *layer { return &layer{out: tar.NewWriter(w), seen: map[string]bool{}} }

// links writes the links that make /usr merged.
func (l *layer) links() error {
	for _, folder := range []string{"usr", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "var", "run", "etc"} {
		if err := l.folder(Folder{Path: folder, Mode: 0o755}); err != nil {
			return err
		}
	}
	for _, link := range [...]string{"bin", "sbin", "lib", "lib64"} {
		if err := l.link(link, "usr/"+link); err != nil {
			return err
		}
	}
	if err := l.link("var/run", "../run"); err != nil {
		return err
	}
	return l.link("var/lock", "../run/lock")
}

// debs writes what is in the packages, with owners and modes as they have them.
func (l *layer) debs(ctx context.Context, debs []deb) error {
	for _, d := range debs {
		cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", d.path) //nolint:gosec // a file of our own
		files, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		var said strings.Builder
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("unpacking %s: %w", d.name, err)
		}
		err = l.copy(files)
		if err != nil {
			// The rest of it, so that dpkg-deb ends.
			_, _ = io.Copy(io.Discard, files)
		}
		if err := errors.Join(err, cmd.Wait()); err != nil {
			return fmt.Errorf("unpacking %s: %w\n%s", d.name, err, said.String())
		}
	}
	return nil
}

// copy writes the entries of a tar file.
func (l *layer) copy(from io.Reader) error {
	for in := tar.NewReader(from); ; {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			// What is behind the end of the archive is read too: its writer waits for that.
			_, err = io.Copy(io.Discard, from)
			return err
		}
		if err != nil {
			return err
		}
		name, wanted := rename(header.Name)
		// A folder is in many packages.
		if !wanted || l.seen[name] {
			continue
		}
		l.seen[name] = true
		header.Name, header.Format = name, tar.FormatUnknown
		switch header.Typeflag {
		case tar.TypeDir:
			header.Name += "/"
		case tar.TypeLink:
			header.Linkname, _ = rename(header.Linkname)
		}
		if err := l.out.WriteHeader(header); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if _, err := io.Copy(l.out, in); err != nil { //nolint:gosec // a package of the distribution
			return fmt.Errorf("%s: %w", name, err)
		}
	}
}

// rename returns the path of a packed file in an image, and whether it is wanted there.
func rename(name string) (string, bool) {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	for _, m := range merged {
		if name == m[0] || strings.HasPrefix(name, m[0]+"/") {
			name = m[1] + strings.TrimPrefix(name, m[0])
			break
		}
	}
	for _, d := range dropped {
		if name == d || strings.HasPrefix(name, d+"/") {
			return name, false
		}
	}
	return name, name != ""
}

// spec writes what the spec has besides packages.
func (l *layer) spec(s *Spec) error {
	users := append([]User{{"root", 0, "/root"}}, s.Users...)
	users = append(users, User{"nobody", 65534, "/nonexistent"})
	var passwd, group strings.Builder
	for _, u := range users {
		fmt.Fprintf(&passwd, "%[1]s:x:%[2]d:%[2]d:%[1]s:%[3]s:/bin/sh\n", u.Name, u.ID, u.Home)
		fmt.Fprintf(&group, "%s:x:%d:\n", u.Name, u.ID)
		if strings.HasPrefix(u.Home, "/home/") {
			if err := l.folder(Folder{Path: u.Home, Owner: u.ID, Mode: 0o755}); err != nil {
				return err
			}
		}
	}
	for _, folder := range s.Folders {
		if err := l.folder(folder); err != nil {
			return err
		}
	}
	files := map[string]string{"/etc/passwd": passwd.String(), "/etc/group": group.String()}
	maps.Copy(files, s.Files)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := l.file(name, 0o644, int64(len(files[name])), strings.NewReader(files[name])); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Links)) {
		if err := l.link(name, s.Links[name]); err != nil {
			return err
		}
	}
	return nil
}

// program writes a program for everybody to run.
func (l *layer) program(name, from string) error {
	file, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	return l.file(name, 0o755, info.Size(), file)
}

func (l *layer) file(name string, mode, size int64, content io.Reader) error {
	if err := l.write(name, &tar.Header{Typeflag: tar.TypeReg, Mode: mode, Size: size}); err != nil {
		return err
	}
	_, err := io.Copy(l.out, content)
	return err
}

func (l *layer) folder(f Folder) error {
	return l.write(f.Path+"/", &tar.Header{Typeflag: tar.TypeDir, Mode: f.Mode, Uid: f.Owner, Gid: f.Owner})
}

func (l *layer) link(name, to string) error {
	return l.write(name, &tar.Header{Typeflag: tar.TypeSymlink, Linkname: to, Mode: 0o777})
}

// write writes the head of an entry of our own, whose time is always the same.
func (l *layer) write(name string, header *tar.Header) error {
	header.Name, header.ModTime = strings.TrimPrefix(name, "/"), time.Unix(0, 0)
	l.seen[strings.TrimSuffix(header.Name, "/")] = true
	return l.out.WriteHeader(header)
}

// close ends the layer.
func (l *layer) close() error { return l.out.Close() }
