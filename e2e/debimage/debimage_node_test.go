//go:build node

package debimage

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestKnown runs the programs of all images, in the files of the image alone and as its user.
func TestKnown(t *testing.T) {
	require.Zero(t, os.Geteuid(), "changing the root folder needs root")
	for _, test := range []struct {
		spec    *Spec
		command []string
		want    string
		version string // the package whose version is printed, too
	}{
		{Nginx(), []string{"/usr/sbin/nginx", "-e", "stderr", "-v"}, "nginx version: nginx/", "nginx"},
		{Nginx(), []string{"/usr/bin/curl", "--version"}, "OpenSSL", "curl"},
		{Curl(), []string{"/usr/bin/curl", "--version"}, "OpenSSL", "curl"},
		{Curl(), []string{"/usr/bin/openssl", "version"}, "OpenSSL 3", "openssl"},
		{Curl(), []string{"/bin/sh", "-c", "id -un; echo $PATH"}, "app\n/usr/local/sbin:", ""},
		{Python(), []string{"/usr/bin/python3", "-c", "import requests, ssl; print(requests.__version__, ssl.OPENSSL_VERSION)"}, "OpenSSL 3", "python3-requests"},
		{Postgres(), []string{"/usr/lib/postgresql/15/bin/psql", "--version"}, "psql (PostgreSQL) 15.", "postgresql-15"},
		{Postgres(), []string{"/bin/sh", "-c", "initdb -D /var/lib/postgresql/data && postgres -D /var/lib/postgresql/data -C ssl"}, "\noff\n", ""},
		{Node(), []string{"/usr/bin/node", "--version"}, "v", "nodejs"},
		{HAProxy(), []string{"/usr/sbin/haproxy", "-v"}, "HAProxy version ", "haproxy"},
	} {
		t.Run(test.spec.Name+" "+filepath.Base(test.command[0]), func(t *testing.T) {
			images, err := Pack(t.Context(), func(line string) { t.Log(line) }, test.spec)
			require.NoError(t, err)
			root := t.TempDir()
			env := unpack(t, images[0], root)
			cmd := exec.CommandContext(t.Context(), test.command[0], test.command[1:]...)
			cmd.Dir, cmd.Env = "/", env
			user := uint32(test.spec.User)
			cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: user, Gid: user}}
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
			assert.Contains(t, string(out), test.want)
			if test.version != "" {
				version, _, _ := strings.Cut(images[0].Packages[test.version], "-")
				version, _, _ = strings.Cut(version, "+")
				assert.Contains(t, string(out), version)
			}
		})
	}
}

// unpack writes the files of an image below root and returns its environment.
func unpack(t *testing.T, packed Image, root string) []string {
	t.Helper()
	image, err := tarball.ImageFromPath(packed.Archive, nil)
	require.NoError(t, err)
	files := mutate.Extract(image)
	defer func() { assert.NoError(t, files.Close()) }()
	for in := tar.NewReader(files); ; {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		require.NoError(t, place(root, header, in), header.Name)
	}
	// What is written to this file is never read.
	require.NoError(t, os.WriteFile(filepath.Join(root, "dev", "null"), nil, 0o600))
	require.NoError(t, os.Chmod(filepath.Join(root, "dev", "null"), 0o666))
	config, err := image.ConfigFile()
	require.NoError(t, err)
	assert.NotEqual(t, "0:0", config.Config.User)
	return config.Config.Env
}

// place writes one entry.
func place(root string, header *tar.Header, content io.Reader) error {
	path := filepath.Join(root, header.Name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	mode := header.FileInfo().Mode()
	switch header.Typeflag {
	case tar.TypeDir:
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
	case tar.TypeSymlink:
		return os.Symlink(header.Linkname, path)
	case tar.TypeLink:
		return os.Link(filepath.Join(root, header.Linkname), path)
	default:
		file, err := os.Create(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(file, content)
		if err := errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
	return errors.Join(os.Chown(path, header.Uid, header.Gid), os.Chmod(path, mode))
}
