package main

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// program is one of the product's programs for one platform.
type program struct{ name, os, arch string }

// injectors returns the program that the image is named after, for each platform that it
// is made for.
func injectors() []program {
	return []program{{"mtls-injector", "linux", "amd64"}, {"mtls-injector", "linux", "arm64"}}
}

// agent returns the image's other program, for the same platform.
func (p program) agent() program { return program{"mtls-agent", p.os, p.arch} }

// inImages returns all programs of the images.
func inImages() []program {
	all := injectors()
	for _, p := range injectors() {
		all = append(all, p.agent())
	}
	return all
}

// plugins returns kubectl's plugin, for the platforms that people sit at.
func plugins() []program {
	var all []program
	for _, system := range []string{"linux", "darwin", "windows"} {
		for _, arch := range []string{"amd64", "arm64"} {
			all = append(all, program{"kubectl-mtls", system, arch})
		}
	}
	return all
}

// file is the program's name on its platform.
func (p program) file() string {
	if p.os == "windows" {
		return p.name + ".exe"
	}
	return p.name
}

// archived is the name of what is made of the program, without an extension, such as
// mtls-injector-v1.2.3-linux-amd64.
func (p program) archived(version string) string {
	return fmt.Sprintf("%s-%s-%s-%s", p.name, version, p.os, p.arch)
}

// buildArgs are those of the go command. The Makefile and the Dockerfile have the same, but
// for recording the commit: a release does so even where GOFLAGS says otherwise.
func buildArgs(version, output, name string) []string {
	return []string{"build", "-buildvcs=auto", "-trimpath", "-ldflags", "-s -w -buildid= -X main.version=" + version, "-o", output, "./cmd/" + name}
}

// build compiles the program, once in a run, and returns its path.
func (r *release) build(ctx context.Context, p program) (string, error) {
	path := filepath.Join(r.work, p.os+"-"+p.arch, p.file())
	switch _, err := os.Stat(path); {
	case err == nil:
		return path, nil
	case !errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("looking for a built %s: %w", p.name, err)
	}
	r.say("building %s for %s/%s (minutes if nothing is cached)", p.name, p.os, p.arch)
	start := time.Now()
	cmd := exec.CommandContext(ctx, "go", buildArgs(r.version, path, p.name)...) //nolint:gosec // the go command
	cmd.Dir = r.root
	// Settings of the machine must not show in the result.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOOS="+p.os, "GOARCH="+p.arch, "GOAMD64=v1", "GOARM64=v8.0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s for %s/%s: %w\n%s", p.name, p.os, p.arch, err, bytes.TrimSpace(out))
	}
	r.say("built it in %s", time.Since(start).Round(time.Second))
	return path, nil
}

// checkStatic refuses what would not start in an image with nothing else in it: another
// machine's program, and one that needs a loader or libraries.
func checkStatic(binary []byte, arch string) error {
	file, err := elf.NewFile(bytes.NewReader(binary))
	if err != nil {
		return fmt.Errorf("not a program for Linux: %w", err)
	}
	machine, known := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch]
	if !known {
		return fmt.Errorf("no image is made for %s", arch)
	}
	if file.Machine != machine {
		return fmt.Errorf("the program is for %s, and the image for %s", file.Machine, machine)
	}
	for _, part := range file.Progs {
		if part.Type == elf.PT_INTERP || part.Type == elf.PT_DYNAMIC {
			return errors.New("the program is not static: it needs a loader that the image has not")
		}
	}
	return nil
}
