package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/modfile"
)

// productRoot is the folder of the real product.
const productRoot = "../../.."

// TestProduct makes the images and SBOMs of the real product, and runs what is in them.
func TestProduct(t *testing.T) {
	r := newTestRelease(t, productRoot)
	require.NoError(t, r.archive(t.Context()))
	require.NoError(t, r.sbom(t.Context()))
	for _, p := range injectors() {
		t.Run("image "+p.arch, func(t *testing.T) {
			image := loadImage(t, r, p)
			require.NoError(t, validate.Image(image))
			layers, err := image.Layers()
			require.NoError(t, err)
			require.Len(t, layers, 3)
			for i, program := range []string{"mtls-injector", "mtls-agent"} {
				names, files := layerFiles(t, layers[i+1])
				require.Equal(t, []string{program}, names)
				require.NoError(t, checkStatic(files[program].data, p.arch))
			}
		})
		t.Run("SBOM "+p.arch, func(t *testing.T) {
			checkBill(t, r, p, "k8s.io/client-go", "sigs.k8s.io/controller-runtime")
			checkBill(t, r, p.agent(), "github.com/prometheus/client_golang", "github.com/fsnotify/fsnotify")
		})
	}
	for i, program := range []string{"mtls-injector", "mtls-agent"} {
		t.Run("version of "+program, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), unpackBinary(t, r, i+1, program), "version").Output()
			require.NoError(t, err)
			assert.Regexp(t, `^`+program+` v0\.0\.0-test \(commit [^ ]+, go1\.[^ ]+, linux/`+runtime.GOARCH+`\)\n$`, string(out))
		})
	}
}

// loadImage reads the image of the program from its archive, as an engine does.
func loadImage(t *testing.T, r *release, p program) v1.Image {
	t.Helper()
	tag, err := name.NewTag("mtls-injector:v0.0.0-test")
	require.NoError(t, err)
	image, err := tarball.ImageFromPath(filepath.Join(r.out, "image", p.archived(r.version)+".tar"), &tag)
	require.NoError(t, err)
	return image
}

func layerFiles(t *testing.T, layer v1.Layer) ([]string, map[string]member) {
	t.Helper()
	content, err := layer.Uncompressed()
	require.NoError(t, err)
	defer func() { require.NoError(t, content.Close()) }()
	return readTar(t, content)
}

// unpackBinary returns a copy of a program in the image for this machine.
func unpackBinary(t *testing.T, r *release, layer int, name string) string {
	t.Helper()
	layers, err := loadImage(t, r, program{"mtls-injector", "linux", runtime.GOARCH}).Layers()
	require.NoError(t, err)
	_, files := layerFiles(t, layers[layer])
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, files[name].data, 0o700))
	return path
}

// checkBill looks for what go.mod says in the SBOM of a program, which needs some modules.
func checkBill(t *testing.T, r *release, p program, needs ...string) {
	t.Helper()
	file, err := os.Open(filepath.Join(r.out, "sbom", p.archived(r.version)+".cdx.json"))
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	var bill cyclonedx.BOM
	require.NoError(t, cyclonedx.NewBOMDecoder(file, cyclonedx.BOMFileFormatJSON).Decode(&bill))
	assert.Equal(t, "example.io/mtls-injector", bill.Metadata.Component.Name)
	assert.Equal(t, r.version, bill.Metadata.Component.Version)
	assert.Equal(t, "2026-07-25T17:20:01Z", bill.Metadata.Timestamp)
	assert.Empty(t, bill.SerialNumber)

	versions := map[string]string{}
	for _, c := range *bill.Components {
		versions[c.Name] = c.Version
	}
	mod, err := modfile.Parse("go.mod", readFile(t, productRoot, "go.mod"), nil)
	require.NoError(t, err)
	// Not every requirement is in the program, but these are, and nothing has another version.
	for _, module := range append(needs, "std") {
		assert.Contains(t, versions, module)
	}
	for _, required := range mod.Require {
		if version, listed := versions[required.Mod.Path]; listed {
			assert.Equal(t, required.Mod.Version, version, required.Mod.Path)
		}
		delete(versions, required.Mod.Path)
	}
	assert.Equal(t, map[string]string{"std": strings.Fields(runtime.Version())[0]}, versions, "what go.mod does not know")
}
