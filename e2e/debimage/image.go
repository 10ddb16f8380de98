package debimage

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// usualPath is where programs are looked for.
const usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// writeArchive writes an image of the layers, lowest first, as an archive that `docker load` and
// `ctr images import` take.
func writeArchive(s *Spec, layers []string, path string) error {
	tag, err := name.NewTag(s.Reference())
	if err != nil {
		return fmt.Errorf("image %s: %w", s.Name, err)
	}
	image, err := mutate.ConfigFile(empty.Image, configuration(s))
	if err != nil {
		return fmt.Errorf("image %s: %w", s.Name, err)
	}
	for _, file := range layers {
		data, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("image %s: %w", s.Name, err)
		}
		// It is unpacked on the machine that packs it: compressing would take longer than copying.
		layer := static.NewLayer(data, types.DockerUncompressedLayer)
		if image, err = mutate.AppendLayers(image, layer); err != nil {
			return fmt.Errorf("image %s: %w", s.Name, err)
		}
	}
	return atomically(path, func(partial string) error { return tarball.WriteToFile(partial, tag, image) })
}

// configuration is how the image is run.
func configuration(s *Spec) *v1.ConfigFile {
	path := usualPath
	if s.Path != "" {
		path = s.Path + ":" + path
	}
	command := s.Command
	if s.Program != "" {
		command = []string{"/" + s.Name}
	}
	return &v1.ConfigFile{
		Architecture: runtime.GOARCH,
		OS:           "linux",
		RootFS:       v1.RootFS{Type: "layers"},
		Config: v1.Config{
			User:       fmt.Sprintf("%[1]d:%[1]d", s.User),
			Env:        []string{"PATH=" + path, "LANG=C.UTF-8"},
			Entrypoint: command,
			Cmd:        s.Arguments,
			WorkingDir: "/",
		},
	}
}

// atomically has a file written under another name first, so that nobody reads half of it.
func atomically(path string, write func(partial string) error) error {
	partial := fmt.Sprintf("%s.%d", path, os.Getpid())
	defer func() { _ = os.Remove(partial) }()
	if err := write(partial); err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Base(path), err)
	}
	return os.Rename(partial, path)
}
