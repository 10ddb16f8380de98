package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/CycloneDX/cyclonedx-gomod/pkg/generate/bin"
	"github.com/rs/zerolog"
)

// sbom writes the bill of materials of the programs in the images.
func (r *release) sbom(ctx context.Context) error { return r.sboms(ctx, inImages()) }

func (r *release) sboms(ctx context.Context, programs []program) error {
	for _, p := range programs {
		path, err := r.build(ctx, p)
		if err != nil {
			return err
		}
		bill, err := billOf(path, r.version, r.created())
		if err != nil {
			return fmt.Errorf("SBOM of %s for %s/%s: %w", p.name, p.os, p.arch, err)
		}
		write := func(w io.Writer) error {
			return cyclonedx.NewBOMEncoder(w, cyclonedx.BOMFileFormatJSON).SetPretty(true).Encode(bill)
		}
		if err := r.save(filepath.Join("sbom", p.archived(r.version)+".cdx.json"), modeFile, write); err != nil {
			return err
		}
	}
	return nil
}

// billOf reads from a program what Go recorded in it: its modules with versions and
// checksums, Go itself, the commit. The library and not its command makes it, because the
// command adds its own checksum, which differs from machine to machine. There is no serial
// number, for the same reason.
func billOf(path, version string, at time.Time) (*cyclonedx.BOM, error) {
	generator, err := bin.NewGenerator(path,
		bin.WithLogger(zerolog.Nop()), bin.WithIncludeStdlib(true), bin.WithVersionOverride(version))
	if err != nil {
		return nil, err
	}
	bill, err := generator.Generate()
	if err != nil {
		return nil, err
	}
	bill.Metadata.Timestamp = at.Format(time.RFC3339)
	return bill, nil
}
