// Command image packs a release: container images without a container engine, SBOMs, the
// chart, the plugin's archives and their checksums. It also calls the engine, if one is
// there. The same commit gives the same bytes.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newCommand(os.Stderr).ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// release says what is packed, from where to where.
type release struct {
	// root is the folder of the product's module; out is where results go, below root if
	// it is relative.
	root, out string
	// version is stamped into the programs; revision is the commit, source the address of
	// the repository, image the reference with a tag that the image gets.
	version, revision, source, image string
	// epoch is the time that everything in an archive gets, in seconds since 1970.
	epoch int64
	// progress takes a line for each step.
	progress io.Writer
	// arches are the platforms that images are assembled for; none means all.
	arches []string
	// work has the programs that are built, one folder a platform. It is removed at the end.
	work string
}

// created is the one time of the release.
func (r *release) created() time.Time { return time.Unix(r.epoch, 0).UTC() }

// say tells of a step. That the progress cannot be told is no reason to stop.
func (r *release) say(format string, args ...any) {
	_, _ = fmt.Fprintf(r.progress, format+"\n", args...)
}

// newCommand returns the command line; progress goes to the writer.
func newCommand(progress io.Writer) *cobra.Command {
	r := &release{progress: progress}
	root := &cobra.Command{
		Use:           "image",
		Short:         "Pack a release: images without an engine, SBOMs, chart, plugin, checksums",
		SilenceErrors: true, // main prints them
		SilenceUsage:  true,
	}
	flags := root.PersistentFlags()
	flags.StringVar(&r.root, "root", ".", "`folder` of the product's Go module")
	flags.StringVar(&r.out, "out", "dist", "`folder` for the results, below --root if relative")
	flags.StringVar(&r.version, "version", "dev", "version that is stamped")
	flags.StringVar(&r.revision, "revision", "unknown", "commit, for the image's labels")
	flags.StringVar(&r.source, "source", "https://example.io/mtls-injector", "address of the repository, for the image's labels")
	flags.StringVar(&r.image, "image", "", "`reference` of the image (default mtls-injector:<version>)")
	flags.Int64Var(&r.epoch, "source-date-epoch", 0, "`seconds` since 1970: the time of everything packed")
	archive := packCommand(r, "archive", "Assemble the images, without an engine and without network",
		"  image archive --version v1.2.3\n  docker load -i dist/image/mtls-injector-v1.2.3-linux-amd64.tar\n"+
			"  ctr -n k8s.io images import dist/image/mtls-injector-v1.2.3-linux-amd64.tar", (*release).archive)
	archive.Flags().StringSliceVar(&r.arches, "arch", nil, "`architectures` to assemble images for, such as amd64 (default all)")
	root.AddCommand(
		archive,
		packCommand(r, "sbom", "Write the SBOMs of the programs in the images, as CycloneDX",
			"  image sbom --version v1.2.3", (*release).sbom),
		packCommand(r, "dist", "Pack everything, with checksums, into an empty folder",
			"  image dist --version v1.2.3\n  cd dist && sha256sum -c SHA256SUMS", (*release).dist),
		newBuildCommand(r),
	)
	return root
}

// packCommand returns a command that packs with run, in a work folder of its own.
func packCommand(r *release, use, short, example string, run func(*release, context.Context) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Example: example, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			work, err := os.MkdirTemp("", "mtls-injector-release-")
			if err != nil {
				return fmt.Errorf("making a work folder: %w", err)
			}
			defer func() { _ = os.RemoveAll(work) }()
			r.work = work
			if err := r.complete(); err != nil {
				return err
			}
			return run(r, cmd.Context())
		},
	}
}

// complete makes paths absolute and names the image.
func (r *release) complete() error {
	root, err := filepath.Abs(r.root)
	if err != nil {
		return fmt.Errorf("--root: %w", err)
	}
	r.root = root
	if !filepath.IsAbs(r.out) {
		r.out = filepath.Join(root, r.out)
	}
	if r.image == "" {
		r.image = "mtls-injector:" + r.version
	}
	return nil
}
