package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// assembleTiny assembles the image of a small program and reads it back from disk.
func assembleTiny(t *testing.T, arch string) v1.Image {
	t.Helper()
	r := newTestRelease(t, tinyProduct(t, time.Now()))
	image, err := r.assemble(t.Context(), program{"mtls-injector", "linux", arch})
	require.NoError(t, err)
	path, err := layout.Write(t.TempDir(), empty.Index)
	require.NoError(t, err)
	require.NoError(t, path.AppendImage(image))
	digest, err := image.Digest()
	require.NoError(t, err)
	image, err = path.Image(digest)
	require.NoError(t, err)
	require.NoError(t, validate.Image(image))
	return image
}

func TestAssemble(t *testing.T) {
	for _, p := range injectors() {
		t.Run(p.arch, func(t *testing.T) {
			image := assembleTiny(t, p.arch)
			config, err := image.ConfigFile()
			require.NoError(t, err)
			assert.Equal(t, p.arch, config.Architecture)
			assert.Equal(t, "linux", config.OS)
			assert.Equal(t, v1.Config{
				User:         "65532:65532",
				Entrypoint:   []string{"/mtls-injector"},
				WorkingDir:   "/",
				ExposedPorts: map[string]struct{}{"9443/tcp": {}, "8081/tcp": {}, "8080/tcp": {}},
				Labels: map[string]string{
					"org.opencontainers.image.title":       "mtls-injector",
					"org.opencontainers.image.description": "Pod-to-pod mutual TLS without a service mesh",
					"org.opencontainers.image.licenses":    "Apache-2.0",
					"org.opencontainers.image.version":     "v0.0.0-test",
					"org.opencontainers.image.revision":    "0123abcd",
					"org.opencontainers.image.source":      "https://example.io/source",
					"org.opencontainers.image.created":     "2026-07-25T17:20:01Z",
				},
			}, config.Config)
			for _, made := range config.History {
				assert.Equal(t, int64(testEpoch), made.Created.Unix(), made.CreatedBy)
			}
		})
	}
}

func TestAssembledFiles(t *testing.T) {
	layers, err := assembleTiny(t, "amd64").Layers()
	require.NoError(t, err)
	require.Len(t, layers, 3)
	names, files := layerFiles(t, layers[0])
	assert.Equal(t, []string{"LICENSE", "etc/", "etc/group", "etc/passwd"}, names)
	assert.Equal(t, "a license\n", string(files["LICENSE"].data))
	assert.Equal(t, users, string(files["etc/passwd"].data))
	assert.Equal(t, groups, string(files["etc/group"].data))
	for i, program := range []string{"mtls-injector", "mtls-agent"} {
		names, layer := layerFiles(t, layers[i+1])
		assert.Equal(t, []string{program}, names)
		files[program] = layer[program]
	}
	for name, want := range map[string]int64{
		"LICENSE": 0o644, "etc/": 0o755, "etc/group": 0o644, "etc/passwd": 0o644, "mtls-injector": 0o755, "mtls-agent": 0o755,
	} {
		header := files[name].header
		assert.Equal(t, want, header.Mode, "%s: no setuid, and nobody else may write", name)
		assert.Equal(t, int64(testEpoch), header.ModTime.Unix(), name)
		assert.Zero(t, header.Uid, name)
		assert.Zero(t, header.Gid, name)
	}
}

func TestAssembleIsReproducible(t *testing.T) {
	first, err := assembleTiny(t, "amd64").Digest()
	require.NoError(t, err)
	again, err := assembleTiny(t, "amd64").Digest()
	require.NoError(t, err)
	assert.Equal(t, first, again)
	other, err := assembleTiny(t, "arm64").Digest()
	require.NoError(t, err)
	assert.NotEqual(t, first, other)
}

func TestArchiveFails(t *testing.T) {
	r := newTestRelease(t, tinyProduct(t, time.Now()))
	r.image = "Not:a:reference"
	require.ErrorContains(t, r.archive(t.Context()), "--image: ")

	_, err := assemble([]entry{{name: "mtls-injector", data: []byte("#!/bin/sh\nexec mtls-injector\n")}}, nil, runtime.GOARCH, nil, time.Time{})
	require.ErrorContains(t, err, "mtls-injector: not a program for Linux: bad magic number")
}

func TestLayout(t *testing.T) {
	r := newTestRelease(t, tinyProduct(t, time.Now()))
	require.NoError(t, r.archive(t.Context()))
	file := readFile(t, r.out, "image", "mtls-injector-v0.0.0-test-oci.tar")
	_, files := readTar(t, bytes.NewReader(file))
	assert.JSONEq(t, `{"imageLayoutVersion": "1.0.0"}`, string(files["oci-layout"].data))

	var top v1.IndexManifest
	require.NoError(t, json.Unmarshal(files["index.json"].data, &top))
	require.Len(t, top.Manifests, 1)
	assert.Equal(t, map[string]string{
		"org.opencontainers.image.ref.name": "v0.0.0-test",
		"io.containerd.image.name":          "docker.io/library/mtls-injector:v0.0.0-test",
	}, top.Manifests[0].Annotations)

	var index v1.IndexManifest
	require.NoError(t, json.Unmarshal(files["blobs/sha256/"+top.Manifests[0].Digest.Hex].data, &index))
	var platforms []string
	for i, p := range injectors() {
		platforms = append(platforms, index.Manifests[i].Platform.String())
		// The archive for docker has another form of manifest, but the same config and layers.
		var manifest v1.Manifest
		require.NoError(t, json.Unmarshal(files["blobs/sha256/"+index.Manifests[i].Digest.Hex].data, &manifest))
		loaded, err := loadImage(t, r, p).Manifest()
		require.NoError(t, err)
		assert.Equal(t, loaded.Config.Digest, manifest.Config.Digest)
		for j, layer := range loaded.Layers {
			assert.Equal(t, layer.Digest, manifest.Layers[j].Digest)
		}
	}
	assert.Equal(t, []string{"linux/amd64", "linux/arm64"}, platforms)
	assert.FileExists(t, filepath.Join(r.out, "image", "mtls-injector-v0.0.0-test-linux-arm64.tar"))
}
