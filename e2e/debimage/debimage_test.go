package debimage

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRename(t *testing.T) {
	for name, test := range map[string]struct {
		in, want string
		dropped  bool
	}{
		"the root folder":          {in: "./", want: "", dropped: true},
		"a program":                {in: "./usr/bin/curl", want: "usr/bin/curl"},
		"a program that is merged": {in: "./bin/dash", want: "usr/bin/dash"},
		"a folder that is merged":  {in: "./lib/", want: "usr/lib"},
		"only whole names":         {in: "./library/x", want: "library/x"},
		"the runtime folder":       {in: "./var/run/postgresql/", want: "run/postgresql"},
		"documentation":            {in: "./usr/share/doc/curl/copyright", want: "usr/share/doc/curl/copyright", dropped: true},
		"not documentation":        {in: "./usr/share/docbook", want: "usr/share/docbook"},
		"out of the root folder":   {in: "../../etc/passwd", want: "etc/passwd"},
		"a unit that is merged":    {in: "./lib/systemd/system/x.service", want: "usr/lib/systemd/system/x.service", dropped: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, wanted := rename(test.in)
			assert.Equal(t, test.want, got)
			assert.Equal(t, test.dropped, !wanted)
		})
	}
}

func TestParsePlan(t *testing.T) {
	debs, err := parsePlan("NOTE: simulated\nInst nginx (1.22.1-9 Debian:12.11/stable [amd64]) []\nInst libc6 (2:2.36-9 Debian [amd64])\nConf libc6 (2.36-9)\n")
	require.NoError(t, err)
	assert.Equal(t, []deb{{name: "libc6", version: "2:2.36-9"}, {name: "nginx", version: "1.22.1-9"}}, debs)

	_, err = parsePlan("")
	require.EqualError(t, err, "apt-get would install nothing")
	_, err = parsePlan("Inst nginx 1.22\n")
	require.EqualError(t, err, `apt-get prints what is not understood: "Inst nginx 1.22"`)
}

func TestFind(t *testing.T) {
	a := &apt{dir: t.TempDir()}
	archives := filepath.Join(a.dir, "cache", "archives")
	require.NoError(t, os.MkdirAll(archives, 0o750))
	_, err := a.find(deb{name: "nginx", version: "1"})
	require.EqualError(t, err, "downloaded packages: 0 files nginx_1_*.deb, want 1")
	path := filepath.Join(archives, "nginx_2%3a1.22_amd64.deb")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	found, err := a.find(deb{name: "nginx", version: "2:1.22"})
	require.NoError(t, err)
	assert.Equal(t, path, found)
}

func TestWhatIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := pack(t.Context(), t.TempDir(), nil, []*Spec{Nginx()})
	require.ErrorContains(t, err, "packing the image nginx: packing Debian packages needs apt-get, as Debian and its likes have it: ")
	require.ErrorIs(t, err, exec.ErrNotFound)
}

// packed is a tar file as dpkg-deb writes it.
func packed(t *testing.T, headers ...tar.Header) io.Reader {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range headers {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content = h.Name
			h.Size = int64(len(content))
		}
		require.NoError(t, w.WriteHeader(&h))
		_, err := io.WriteString(w, content)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	out.WriteString("behind the end")
	return &out
}

func TestLayer(t *testing.T) {
	var out bytes.Buffer
	l := newLayer(&out)
	require.NoError(t, l.links())
	in := packed(t,
		tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
		tar.Header{Name: "./usr/", Typeflag: tar.TypeDir, Mode: 0o755},
		tar.Header{Name: "./bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		tar.Header{Name: "./bin/dash", Typeflag: tar.TypeReg, Mode: 0o755},
		tar.Header{Name: "./bin/sh", Typeflag: tar.TypeSymlink, Linkname: "dash"},
		tar.Header{Name: "./bin/hard", Typeflag: tar.TypeLink, Linkname: "./bin/dash"},
		tar.Header{Name: "./usr/share/man/man1/dash.1", Typeflag: tar.TypeReg, Mode: 0o644},
		tar.Header{Name: "./var/mail/", Typeflag: tar.TypeDir, Mode: 0o2775, Gid: 8},
	)
	require.NoError(t, l.copy(in))
	rest, err := io.ReadAll(in)
	require.NoError(t, err)
	assert.Empty(t, rest, "what writes is not kept waiting")
	require.NoError(t, l.spec(&Spec{
		Users:   []User{{"app", 1000, "/home/app"}},
		Folders: []Folder{{"/run/app", 1000, 0o750}},
		Links:   map[string]string{"/etc/alternatives/app": "/usr/bin/dash"},
		Files:   map[string]string{"/etc/app": "x"},
	}))
	require.NoError(t, l.close())

	var names []string
	headers, contents := map[string]*tar.Header{}, map[string]string{}
	for r := tar.NewReader(&out); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		data, err := io.ReadAll(r)
		require.NoError(t, err)
		names = append(names, h.Name)
		headers[h.Name], contents[h.Name] = h, string(data)
	}
	assert.Equal(t, []string{
		"usr/", "usr/bin/", "usr/sbin/", "usr/lib/", "usr/lib64/", "var/", "run/", "etc/", "bin", "sbin", "lib", "lib64", "var/run", "var/lock",
		"usr/bin/dash", "usr/bin/sh", "usr/bin/hard", "var/mail/", "home/app/", "run/app/", "etc/app", "etc/group", "etc/passwd", "etc/alternatives/app",
	}, names)
	assert.Equal(t, "usr/bin", headers["bin"].Linkname)
	assert.Equal(t, "usr/bin/dash", headers["usr/bin/hard"].Linkname)
	assert.Equal(t, "./bin/dash", contents["usr/bin/dash"])
	assert.Equal(t, int64(0o2775), headers["var/mail/"].Mode)
	assert.Equal(t, 8, headers["var/mail/"].Gid)
	assert.Equal(t, 1000, headers["run/app/"].Uid)
	assert.Equal(t, "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/sh\n", contents["etc/passwd"])
	assert.Equal(t, "root:x:0:\napp:x:1000:\nnobody:x:65534:\n", contents["etc/group"])
}

func TestBrokenPackage(t *testing.T) {
	l := newLayer(io.Discard)
	require.ErrorContains(t, l.copy(strings.NewReader("no tar file, but long enough: "+strings.Repeat("x", 1024))), "invalid tar header")
}

func TestKeys(t *testing.T) {
	keys := map[string]string{}
	for _, s := range append(Known(), Peer(), base()) {
		key, err := s.key()
		require.NoError(t, err)
		assert.Empty(t, keys[key], s.Name)
		keys[key] = s.Name
	}
	one, err := Nginx().key()
	require.NoError(t, err)
	assert.Equal(t, "nginx", keys[one], "the same spec has the same key")
}

// TestStatic packs a program, and then finds it packed.
func TestStatic(t *testing.T) {
	dir := t.TempDir()
	var lines []string
	progress := func(line string) { lines = append(lines, line) }
	images, err := pack(t.Context(), dir, progress, []*Spec{Peer()})
	require.NoError(t, err)
	require.Len(t, images, 1)
	assert.Equal(t, "packed.test/peer:debian", images[0].Reference)
	assert.Equal(t, []string{"packed the image peer"}, lines)

	image, err := tarball.ImageFromPath(images[0].Archive, nil)
	require.NoError(t, err)
	require.NoError(t, validate.Image(image))
	config, err := image.ConfigFile()
	require.NoError(t, err)
	assert.Equal(t, v1.Config{
		User: "65532:65532", Entrypoint: []string{"/peer"}, WorkingDir: "/",
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"},
	}, config.Config)
	written, err := os.Stat(images[0].Archive)
	require.NoError(t, err)

	again, err := pack(t.Context(), dir, progress, []*Spec{Peer()})
	require.NoError(t, err)
	assert.Equal(t, images, again)
	assert.Len(t, lines, 1, "nothing is packed anew")
	info, err := os.Stat(images[0].Archive)
	require.NoError(t, err)
	assert.Equal(t, written.ModTime(), info.ModTime())

	left, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	assert.Len(t, left, 3, "the archive, its list and the lock: %s", left)
}

func TestStaticFails(t *testing.T) {
	_, err := pack(t.Context(), t.TempDir(), nil, []*Spec{{Name: "x", Program: "./cmd/nothing"}})
	require.ErrorContains(t, err, "packing the image x: go build ./cmd/nothing: exit status 1\n")
	_, err = pack(t.Context(), t.TempDir(), nil, []*Spec{{Name: "Not a name", Program: "./cmd/peer"}})
	require.ErrorContains(t, err, "packing the image Not a name: image Not a name: repository can only contain the characters ")
}

func TestCached(t *testing.T) {
	p := &packer{dir: t.TempDir()}
	made := 0
	fill := func(c *content) error {
		made++
		c.Packages = map[string]string{"nginx": time.Now().String()}
		return os.WriteFile(c.path, nil, 0o600)
	}
	first, err := p.cached("x", fill)
	require.NoError(t, err)
	second, err := p.cached("x", fill)
	require.NoError(t, err)
	assert.Equal(t, first, second)
	assert.Equal(t, 1, made)
	require.NoError(t, os.Remove(first.path))
	_, err = p.cached("x", fill)
	require.NoError(t, err)
	assert.Equal(t, 2, made, "what is lost is made again")
	_, err = p.cached("y", func(*content) error { return errors.New("no") })
	require.EqualError(t, err, "no")
	assert.NoFileExists(t, filepath.Join(p.dir, "y.json"))
}
