// Package debimage packs unchanged Debian packages as container images, without an engine: apt-get
// finds and downloads them into a cache, dpkg-deb unpacks them, and nothing is installed. Static
// programs of this module are packed likewise. Image archives are cached: a second run packs
// nothing, and asks no package source.
package debimage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// Image is a packed image.
type Image struct {
	// Reference is what containers name, Archive the file to import.
	Reference, Archive string
	// Packages are the versions of the Debian packages in it, by their names.
	Packages map[string]string
}

// packer packs into one folder.
type packer struct {
	dir      string
	progress func(string)
}

// Pack returns the images of the specs. What is not in the cache is packed, which progress, if it
// is not nil, is told.
func Pack(ctx context.Context, progress func(line string), specs ...*Spec) ([]Image, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("finding the cache folder for images: %w", err)
	}
	return pack(ctx, filepath.Join(cache, "mtls-injector", "images"), progress, specs)
}

func pack(ctx context.Context, dir string, progress func(string), specs []*Spec) ([]Image, error) {
	if progress == nil {
		progress = func(string) {}
	}
	p := &packer{dir: dir, progress: progress}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("making the folder for images: %w", err)
	}
	// Several test processes may want the same images at once: one packs them.
	lock := flock.New(filepath.Join(dir, "lock"))
	if _, err := lock.TryLockContext(ctx, 100*time.Millisecond); err != nil {
		return nil, fmt.Errorf("waiting for the lock to pack images: %w", err)
	}
	defer func() { _ = lock.Close() }()
	images := make([]Image, 0, len(specs))
	for _, s := range specs {
		kind := p.debian
		if s.Program != "" {
			kind = p.static
		}
		image, err := kind(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("packing the image %s: %w", s.Name, err)
		}
		images = append(images, *image)
	}
	return images, nil
}

// content is a layer or an archive, and the packages in it.
type content struct {
	path     string
	Packages map[string]string
}

// debian packs Debian packages on top of the base that all such images share.
func (p *packer) debian(ctx context.Context, s *Spec) (*Image, error) {
	baseKey, err := base().key()
	if err != nil {
		return nil, err
	}
	key, err := s.key()
	if err != nil {
		return nil, err
	}
	archive, err := p.cached(s.Name+"-"+key+"-"+baseKey, func(c *content) error {
		start := time.Now()
		lowest, err := p.cached("base-"+baseKey, func(c *content) error { return p.layer(ctx, base(), nil, c) })
		if err != nil {
			return err
		}
		own := &content{path: c.path + ".layer"}
		defer func() { _ = os.Remove(own.path) }()
		if err := p.layer(ctx, s, lowest.Packages, own); err != nil {
			return err
		}
		c.Packages = own.Packages
		err = writeArchive(s, []string{lowest.path, own.path}, c.path)
		p.progress(fmt.Sprintf("packed the image %s of %d Debian packages in %s", s.Name, len(c.Packages), time.Since(start).Round(100*time.Millisecond)))
		return err
	})
	if err != nil {
		return nil, err
	}
	return &Image{Reference: s.Reference(), Archive: archive.path, Packages: archive.Packages}, nil
}

// cached returns what is in the cache under a name, having it made when it is missing.
func (p *packer) cached(name string, fill func(c *content) error) (*content, error) {
	c := &content{path: filepath.Join(p.dir, name+".tar")}
	known := filepath.Join(p.dir, name+".json")
	// The list is written last.
	if data, err := os.ReadFile(known); err == nil {
		if _, err := os.Stat(c.path); err == nil && json.Unmarshal(data, c) == nil {
			return c, nil
		}
	}
	if err := fill(c); err != nil {
		return nil, err
	}
	data, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	return c, atomically(known, func(partial string) error { return os.WriteFile(partial, data, 0o600) })
}

// layer writes the packages of a spec, without those that are below it.
func (p *packer) layer(ctx context.Context, s *Spec, below map[string]string, c *content) error {
	packages, err := newApt(filepath.Join(p.dir, "apt"), p.progress)
	if err != nil {
		return err
	}
	debs, err := packages.fetch(ctx, append(base().Packages, s.Packages...))
	if err != nil {
		return err
	}
	c.Packages = make(map[string]string, len(debs))
	omit := map[string]bool{}
	for _, name := range s.Omit {
		omit[name] = true
	}
	wanted := debs[:0]
	for _, d := range debs {
		if omit[d.name] {
			continue
		}
		c.Packages[d.name] = d.version
		if below[d.name] == "" {
			wanted = append(wanted, d)
		}
	}
	return p.tar(c.path, func(l *layer) error {
		if below == nil {
			if err := l.links(); err != nil {
				return err
			}
		}
		if err := l.debs(ctx, wanted); err != nil {
			return err
		}
		return l.spec(s)
	})
}

// tar writes a layer.
func (p *packer) tar(path string, write func(l *layer) error) error {
	return atomically(path, func(partial string) error {
		file, err := os.Create(partial)
		if err != nil {
			return err
		}
		l := newLayer(file)
		return errors.Join(write(l), l.close(), file.Close())
	})
}

// static builds a program of this module and packs it, alone with the names of its users.
func (p *packer) static(ctx context.Context, s *Spec) (*Image, error) {
	binary := filepath.Join(p.dir, fmt.Sprintf("%s.%d", s.Name, os.Getpid()))
	defer func() { _ = os.Remove(binary) }()
	if err := build(ctx, s.Program, binary); err != nil {
		return nil, err
	}
	sum, err := digest(binary)
	if err != nil {
		return nil, err
	}
	key, err := s.key()
	if err != nil {
		return nil, err
	}
	archive, err := p.cached(s.Name+"-"+key+"-"+sum, func(c *content) error {
		path := c.path + ".layer"
		defer func() { _ = os.Remove(path) }()
		err := p.tar(path, func(l *layer) error {
			return errors.Join(l.spec(s), l.program(s.Name, binary))
		})
		if err != nil {
			return err
		}
		p.progress("packed the image " + s.Name)
		return writeArchive(s, []string{path}, c.path)
	})
	if err != nil {
		return nil, err
	}
	return &Image{Reference: s.Reference(), Archive: archive.path}, nil
}

// build builds a program that needs nothing of the image. Go's cache makes it quick.
func build(ctx context.Context, program, to string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w -buildid=", "-o", to, program) //nolint:gosec // of our own
	cmd.Dir = moduleRoot()
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOOS=linux")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", program, err, strings.TrimSpace(stderr.String()))
	}
	return nil
}

// moduleRoot is the folder of this module, told from the place of this file.
func moduleRoot() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(file))
}

func digest(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)[:8]), nil
}
