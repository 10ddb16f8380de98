package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/mod/semver"
)

// checksums is the file with the checksums of all others.
const checksums = "SHA256SUMS"

// dist packs everything. The folder has to be empty, so that the checksums cover this
// release and nothing else.
func (r *release) dist(ctx context.Context) error {
	if left, err := os.ReadDir(r.out); err == nil && len(left) > 0 {
		return fmt.Errorf("%s is not empty", r.out)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	// The chart comes first: what is wrong with it shows before minutes of compiling.
	for _, step := range []func(context.Context) error{r.chart, r.binaries, r.archive, r.pluginArchives, r.allSBOMs} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	sums, err := sumFiles(r.out)
	if err != nil {
		return err
	}
	return r.saveBytes(checksums, modeFile, []byte(sums))
}

func (r *release) allSBOMs(ctx context.Context) error {
	return r.sboms(ctx, append(inImages(), plugins()...))
}

// binaries saves the programs of the images as they are.
func (r *release) binaries(ctx context.Context) error {
	for _, p := range inImages() {
		path, err := r.build(ctx, p)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := r.saveBytes(p.archived(r.version), modeProgram, data); err != nil {
			return err
		}
	}
	return nil
}

// pluginArchives packs the plugin as krew wants it: an archive for each platform with the
// program and the license at its top, and man pages where people read them.
func (r *release) pluginArchives(ctx context.Context) error {
	license, err := os.ReadFile(filepath.Join(r.root, "LICENSE"))
	if err != nil {
		return err
	}
	unix, err := r.pluginExtras()
	if err != nil {
		return err
	}
	archives := map[program][]byte{}
	for _, p := range plugins() {
		path, err := r.build(ctx, p)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		entries := []entry{{name: "LICENSE", mode: modeFile, data: license}, {name: p.file(), mode: modeProgram, data: data}}
		pack := writeZip
		if p.os != "windows" {
			entries, pack = append(entries, unix...), writeTarGz
		}
		var packed bytes.Buffer
		if err := pack(&packed, entries, r.created()); err != nil {
			return err
		}
		archives[p] = packed.Bytes()
		if err := r.saveBytes(p.archive(r.version), modeFile, archives[p]); err != nil {
			return err
		}
	}
	return r.krew(archives)
}

// pluginExtras returns what an archive has besides the program on Linux and macOS.
func (r *release) pluginExtras() ([]entry, error) {
	pages, err := filepath.Glob(filepath.Join(r.root, "docs", "reference", "man", "kubectl-mtls*.1"))
	if err != nil {
		return nil, err
	}
	if len(pages) == 0 {
		return nil, errors.New("there are no man pages of kubectl-mtls in docs/reference/man: run make generate")
	}
	extras := make([]entry, 0, len(pages))
	for _, path := range pages {
		page, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		extras = append(extras, entry{name: "man/man1/" + filepath.Base(path), mode: modeFile, data: page})
	}
	return extras, nil
}

// chart packs the chart with the pinned Helm.
func (r *release) chart(ctx context.Context) error {
	r.say("packing the chart (building Helm first: minutes if nothing is cached)")
	dir := filepath.Join(r.work, "chart")
	cmd := exec.CommandContext(ctx, "go", chartArgs(r.version, dir)...) //nolint:gosec // the go command
	cmd.Dir = r.root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("helm package: %w\n%s", err, bytes.TrimSpace(out))
	}
	packed, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil {
		return err
	}
	if len(packed) != 1 {
		return fmt.Errorf("helm package made %d charts", len(packed))
	}
	data, err := os.ReadFile(packed[0])
	if err != nil {
		return err
	}
	// Helm keeps the times of the files, which are those of the checkout.
	entries, err := readTarGz(data)
	if err != nil {
		return fmt.Errorf("reading the packed chart: %w", err)
	}
	return r.save(filepath.Base(packed[0]), modeFile, func(w io.Writer) error {
		return writeTarGz(w, entries, r.created())
	})
}

// chartArgs are those of the go command that runs Helm. A chart's version has to be a
// semantic one: where the release has none, the chart keeps its own.
func chartArgs(version, dir string) []string {
	args := []string{"tool", "-modfile=e2e/tools/helm/go.mod", "helm", "package", "charts/mtls-injector",
		"--destination", dir, "--app-version", version}
	if semver.IsValid(version) && strings.HasPrefix(version, semver.Canonical(version)) {
		args = append(args, "--version", strings.TrimPrefix(version, "v"))
	}
	return args
}

// sumFiles returns a line for each file below the folder, as `sha256sum -c` reads them.
func sumFiles(dir string) (string, error) {
	files, err := readFolder(dir)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, file := range sorted(files) {
		if file.name != checksums {
			fmt.Fprintf(&text, "%x  %s\n", sha256.Sum256(file.data), file.name)
		}
	}
	return text.String(), nil
}
