package main

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeEngines answers as engines do: a command fails if one of these is its beginning.
type fakeEngines struct {
	broken []string
	ran    []string
}

func (f *fakeEngines) run(_ context.Context, command ...string) error {
	line := strings.Join(command, " ")
	f.ran = append(f.ran, line)
	for _, broken := range f.broken {
		if strings.HasPrefix(line, broken) {
			return errors.New("does not work")
		}
	}
	return nil
}

func TestFindEngine(t *testing.T) {
	for name, c := range map[string]struct {
		wanted string
		broken []string
		want   string
		wrong  string
	}{
		"all there":            {"", nil, "docker", ""},
		"docker has no daemon": {"", []string{"docker info"}, "podman", ""},
		"only buildah":         {"", []string{"docker", "podman"}, "buildah", ""},
		"asked for":            {"buildah", nil, "buildah", ""},
		"unknown":              {"nerdctl", nil, "", `--tool: "nerdctl" is none of docker, podman, buildah`},
		"none": {"", []string{"docker", "podman", "buildah"}, "", "no container engine works here:\n" +
			"  docker info: does not work\n  podman --version: does not work\n  buildah --version: does not work\n" +
			"Start or install one, or run `make image-archive`, which needs none"},
	} {
		t.Run(name, func(t *testing.T) {
			fake := &fakeEngines{broken: c.broken}
			found, err := findEngine(t.Context(), c.wanted, fake.run)
			assert.Equal(t, c.want, found)
			if c.wrong == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, c.wrong)
		})
	}
}

func TestBuildWithEngine(t *testing.T) {
	const args = " --build-arg VERSION=v0.0.0-test --build-arg REVISION=0123abcd" +
		" --build-arg SOURCE=https://example.io/source --build-arg CREATED=2026-07-25T17:20:01Z"
	const docker = " --build-arg SOURCE_DATE_EPOCH=1785000001" + args
	const others = " --timestamp 1785000001 --build-arg BUILDPLATFORM=linux/" + runtime.GOARCH + args
	one, two := []string{"linux/arm64"}, []string{"linux/amd64", "linux/arm64"}
	for name, c := range map[string]struct {
		options engineOptions
		broken  []string
		want    []string
	}{
		"docker": {engineOptions{tool: "docker", platforms: one}, nil,
			[]string{"docker build --platform linux/arm64" + docker + " -t r/m:v1 ."}},
		"docker, pushed": {engineOptions{tool: "docker", platforms: one, push: true}, nil,
			[]string{"docker build --platform linux/arm64" + docker + " -t r/m:v1 .", "docker push r/m:v1"}},
		"docker, two platforms": {engineOptions{tool: "docker", platforms: two}, nil,
			[]string{"docker buildx build --platform linux/amd64,linux/arm64" + docker + " -t r/m:v1 ."}},
		"docker, two platforms, pushed": {engineOptions{tool: "docker", platforms: two, push: true}, nil,
			[]string{"docker buildx build --platform linux/amd64,linux/arm64" + docker + " --push -t r/m:v1 ."}},
		"podman": {engineOptions{tool: "podman", platforms: one}, nil,
			[]string{"podman build --platform linux/arm64" + others + " -t r/m:v1 ."}},
		"buildah, other bases": {engineOptions{tool: "buildah", platforms: one, buildImage: "b", baseImage: "scratch"}, nil,
			[]string{"buildah build --platform linux/arm64" + others + " --build-arg BUILD_IMAGE=b --build-arg BASE_IMAGE=scratch -t r/m:v1 ."}},
		"podman, two platforms, built before": {engineOptions{tool: "podman", platforms: two, push: true}, nil, []string{
			"podman manifest exists r/m:v1", "podman manifest rm r/m:v1",
			"podman build --platform linux/amd64,linux/arm64" + others + " --manifest r/m:v1 .",
			"podman manifest push --all r/m:v1 docker://r/m:v1"}},
		"buildah, two platforms": {engineOptions{tool: "buildah", platforms: two}, []string{"buildah manifest exists"}, []string{
			"buildah manifest exists r/m:v1",
			"buildah build --platform linux/amd64,linux/arm64" + others + " --manifest r/m:v1 ."}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestRelease(t, ".")
			r.image = "r/m:v1"
			fake := &fakeEngines{broken: c.broken}
			require.NoError(t, r.buildWithEngine(t.Context(), c.options, fake.run, fake.run))
			assert.Equal(t, c.want, fake.ran)
		})
	}
}

func TestBuildWithEngineFails(t *testing.T) {
	one, two := []string{"linux/amd64"}, []string{"linux/amd64", "linux/arm64"}
	for name, c := range map[string]struct {
		options engineOptions
		broken  string
		wrong   string
	}{
		"no platform":  {engineOptions{tool: "docker"}, "", "--platforms: at least one is needed"},
		"unknown tool": {engineOptions{tool: "make", platforms: one}, "", `--tool: "make" is none of docker, podman, buildah`},
		"build":        {engineOptions{tool: "docker", platforms: one}, "docker build", "docker build: does not work"},
		"push":         {engineOptions{tool: "podman", platforms: one, push: true}, "podman push", "podman push: does not work"},
		"old list":     {engineOptions{tool: "podman", platforms: two}, "podman manifest rm", "removing the earlier mtls-injector:v0.0.0-test: does not work"},
	} {
		t.Run(name, func(t *testing.T) {
			fake := &fakeEngines{broken: []string{c.broken}}
			if c.broken == "" {
				fake.broken = nil
			}
			require.EqualError(t, newTestRelease(t, ".").buildWithEngine(t.Context(), c.options, fake.run, fake.run), c.wrong)
		})
	}
}
