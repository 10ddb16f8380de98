package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The user is a number, so that runAsNonRoot can be checked; the files give it a name.
const (
	user   = "65532:65532"
	users  = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
	groups = "root:x:0:\nnonroot:x:65532:\n"
)

// archive assembles the image for every platform: an archive each that `docker load` and
// `ctr images import` take, and all of them in one, as an OCI layout.
func (r *release) archive(ctx context.Context) error {
	tag, err := name.NewTag(r.image)
	if err != nil {
		return fmt.Errorf("--image: %w", err)
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range injectors() {
		if len(r.arches) > 0 && !slices.Contains(r.arches, p.arch) {
			continue
		}
		image, err := r.assemble(ctx, p)
		if err != nil {
			return err
		}
		write := func(w io.Writer) error { return tarball.Write(tag, image, w) }
		if err := r.save(filepath.Join("image", p.archived(r.version)+".tar"), modeFile, write); err != nil {
			return err
		}
		platform := &v1.Platform{OS: p.os, Architecture: p.arch}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: platform}})
	}
	return r.writeLayout(index, tag)
}

// assemble makes the image of a program, with the agent beside it.
func (r *release) assemble(ctx context.Context, p program) (v1.Image, error) {
	var programs []entry
	for _, each := range []program{p, p.agent()} {
		path, err := r.build(ctx, each)
		if err != nil {
			return nil, err
		}
		binary, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		programs = append(programs, entry{name: each.name, mode: modeProgram, data: binary})
	}
	license, err := os.ReadFile(filepath.Join(r.root, "LICENSE"))
	if err != nil {
		return nil, err
	}
	return assemble(programs, license, p.arch, r.labels(), r.created())
}

// labels are those that the Dockerfile sets, too.
func (r *release) labels() map[string]string {
	const prefix = "org.opencontainers.image."
	return map[string]string{
		prefix + "title":       "mtls-injector",
		prefix + "description": "Pod-to-pod mutual TLS without a service mesh",
		prefix + "licenses":    "Apache-2.0",
		prefix + "version":     r.version,
		prefix + "revision":    r.revision,
		prefix + "source":      r.source,
		prefix + "created":     r.created().Format(time.RFC3339),
	}
}

// assemble makes an image for Linux of static programs, of which the first is run, their
// license and the names of their user. There are no CA certificates: the programs talk to
// the API server, whose CA the cluster mounts, or to nobody.
func assemble(programs []entry, license []byte, arch string, labels map[string]string, at time.Time) (v1.Image, error) {
	for _, p := range programs {
		if err := checkStatic(p.data, arch); err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	config := &v1.ConfigFile{
		Architecture: arch,
		OS:           "linux",
		Created:      v1.Time{Time: at},
		RootFS:       v1.RootFS{Type: "layers"},
		Config: v1.Config{
			User:         user,
			Entrypoint:   []string{"/" + programs[0].name},
			WorkingDir:   "/",
			ExposedPorts: map[string]struct{}{"9443/tcp": {}, "8081/tcp": {}, "8080/tcp": {}},
			Labels:       labels,
		},
	}
	image, err := mutate.ConfigFile(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), config)
	if err != nil {
		return nil, err
	}
	// What every release has alike is a layer of its own.
	image, err = appendLayer(image, "user and license", []entry{
		{name: "LICENSE", mode: modeFile, data: license},
		{name: "etc/", mode: modeProgram},
		{name: "etc/group", mode: modeFile, data: []byte(groups)},
		{name: "etc/passwd", mode: modeFile, data: []byte(users)},
	}, at)
	for _, p := range programs {
		if err != nil {
			return nil, err
		}
		image, err = appendLayer(image, p.name, []entry{p}, at)
	}
	return image, err
}

// appendLayer returns the image with a layer of the entries on top.
func appendLayer(image v1.Image, what string, entries []entry, at time.Time) (v1.Image, error) {
	var files bytes.Buffer
	if err := writeTar(&files, entries, at); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files.Bytes())), nil }
	layer, err := tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
	if err != nil {
		return nil, fmt.Errorf("making the layer %s: %w", what, err)
	}
	history := v1.History{Created: v1.Time{Time: at}, CreatedBy: what}
	return mutate.Append(image, mutate.Addendum{Layer: layer, History: history, MediaType: types.OCILayer})
}

// writeLayout writes the images of all platforms as one archive with an OCI layout.
func (r *release) writeLayout(index v1.ImageIndex, tag name.Tag) error {
	dir, err := os.MkdirTemp(r.work, "layout-")
	if err != nil {
		return err
	}
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	// The one annotation is OCI's, for podman and skopeo; the other is what containerd asks.
	annotations := layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": tag.TagStr(),
		"io.containerd.image.name":          strings.TrimPrefix(tag.Name(), "index."),
	})
	if err := path.AppendIndex(index, annotations); err != nil {
		return err
	}
	files, err := readFolder(dir)
	if err != nil {
		return err
	}
	return r.save(filepath.Join("image", "mtls-injector-"+r.version+"-oci.tar"), modeFile, func(w io.Writer) error {
		return writeTar(w, files, r.created())
	})
}
