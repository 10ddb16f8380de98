package realnode

// Images without a registry: a static program is an image.

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"example.io/mtls-injector/e2e/internal/binaries"
)

// PackProgram builds a program of this module, such as ./cmd/peer, and packs it as an image
// of that reference: the program is /program in it, and runs as the user 65532. It returns
// the path of the archive, for Import.
func PackProgram(ctx context.Context, reference, pkg string) (string, error) {
	tag, err := name.NewTag(reference)
	if err != nil {
		return "", fmt.Errorf("packing %s: %w", pkg, err)
	}
	root, err := binaries.ModuleDir(ctx, "example.io/mtls-injector/e2e")
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "image-")
	if err != nil {
		return "", fmt.Errorf("making a folder for %s: %w", reference, err)
	}
	program := filepath.Join(dir, "program")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, pkg) //nolint:gosec // a package of ours
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", pkg, err, bytes.TrimSpace(out))
	}
	image, err := imageOf(program)
	if err != nil {
		return "", fmt.Errorf("packing %s: %w", pkg, err)
	}
	archive := filepath.Join(dir, strings.NewReplacer("/", "_", ":", "_").Replace(reference)+".tar")
	if err := tarball.WriteToFile(archive, tag, image); err != nil {
		return "", fmt.Errorf("packing %s: %w", pkg, err)
	}
	return archive, nil
}

// imageOf makes an image of one program.
func imageOf(program string) (v1.Image, error) {
	data, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	archive := tar.NewWriter(&layer)
	for _, entry := range []struct {
		header tar.Header
		data   []byte
	}{
		{tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}, nil},
		{tar.Header{Typeflag: tar.TypeReg, Name: "program", Mode: 0o755, Size: int64(len(data))}, data},
	} {
		if err := archive.WriteHeader(&entry.header); err != nil {
			return nil, err
		}
		if _, err := archive.Write(entry.data); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	files, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, files)
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file.OS, file.Architecture = "linux", runtime.GOARCH
	file.Config = v1.Config{Entrypoint: []string{"/program"}, User: "65532:65532", WorkingDir: "/"}
	return mutate.ConfigFile(image, file)
}
