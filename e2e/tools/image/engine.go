package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// engineOptions say how a container engine builds the image.
type engineOptions struct {
	// tool is docker, podman or buildah, or empty: then the first that works is taken.
	tool string
	// platforms are such as linux/arm64.
	platforms []string
	// buildImage and baseImage replace the bases in the Dockerfile.
	buildImage, baseImage string
	push                  bool
}

// runner runs a command of an engine and returns what is wrong with it.
type runner func(ctx context.Context, command ...string) error

func newBuildCommand(r *release) *cobra.Command {
	var o engineOptions
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build the image from the Dockerfile with docker, podman or buildah",
		Example: "  image build --version v1.2.3\n" +
			"  image build --tool podman --platforms linux/amd64,linux/arm64 --image registry.example.com/mtls-injector:v1.2.3 --push",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.complete(); err != nil {
				return err
			}
			return r.buildWithEngine(cmd.Context(), o, quiet, r.loud)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.tool, "tool", "", "docker, podman or buildah (default the first that works)")
	flags.StringSliceVar(&o.platforms, "platforms", []string{"linux/amd64"}, "platforms; several make one image of all")
	flags.StringVar(&o.buildImage, "build-image", "", "`image` that compiles, instead of the Dockerfile's")
	flags.StringVar(&o.baseImage, "base-image", "", "`image` to put the program into, instead of the Dockerfile's")
	flags.BoolVar(&o.push, "push", false, "push the image")
	return cmd
}

// buildWithEngine builds, and pushes if that is wanted. Questions to the engine go through
// ask, and its work through do.
func (r *release) buildWithEngine(ctx context.Context, o engineOptions, ask, do runner) error {
	if len(o.platforms) == 0 {
		return errors.New("--platforms: at least one is needed")
	}
	tool, err := findEngine(ctx, o.tool, ask)
	if err != nil {
		return err
	}
	// Podman and buildah add to a list that is there: the platforms of an earlier build.
	if o.manifest(tool) && ask(ctx, tool, "manifest", "exists", r.image) == nil {
		if err := do(ctx, tool, "manifest", "rm", r.image); err != nil {
			return fmt.Errorf("removing the earlier %s: %w", r.image, err)
		}
	}
	for _, command := range r.engineCommands(tool, o) {
		if err := do(ctx, command...); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(command[:2], " "), err)
		}
	}
	return nil
}

// findEngine returns the engine that was asked for, or the first that works.
func findEngine(ctx context.Context, wanted string, ask runner) (string, error) {
	switch wanted {
	case "docker", "podman", "buildah":
		return wanted, nil
	case "":
	default:
		return "", fmt.Errorf("--tool: %q is none of docker, podman, buildah", wanted)
	}
	var reasons []string
	for _, probe := range [][]string{
		{"docker", "info"}, // the program alone is not enough: it needs a daemon
		{"podman", "--version"},
		{"buildah", "--version"},
	} {
		err := ask(ctx, probe...)
		if err == nil {
			return probe[0], nil
		}
		reasons = append(reasons, fmt.Sprintf("  %s: %v", strings.Join(probe, " "), err))
	}
	return "", fmt.Errorf("no container engine works here:\n%s\nStart or install one, or run `make image-archive`, which needs none",
		strings.Join(reasons, "\n"))
}

// manifest tells whether the tool has to be told to make one image of several platforms.
func (o *engineOptions) manifest(tool string) bool { return tool != "docker" && len(o.platforms) > 1 }

// engineCommands returns what builds the image, and pushes it.
func (r *release) engineCommands(tool string, o engineOptions) [][]string {
	several, epoch := len(o.platforms) > 1, strconv.FormatInt(r.epoch, 10)
	build := []string{tool, "build"}
	if tool == "docker" && several {
		build = []string{tool, "buildx", "build"}
	}
	build = append(build, "--platform", strings.Join(o.platforms, ","))
	// Both keep the time of the build out of the image.
	if tool == "docker" {
		build = append(build, "--build-arg", "SOURCE_DATE_EPOCH="+epoch)
	} else {
		// Buildah 1.28, which Debian 12 has, does not know its own platform, and would emulate the other.
		build = append(build, "--timestamp", epoch, "--build-arg", "BUILDPLATFORM=linux/"+runtime.GOARCH)
	}
	for _, arg := range [][2]string{
		{"VERSION", r.version}, {"REVISION", r.revision}, {"SOURCE", r.source}, {"CREATED", r.created().Format(time.RFC3339)},
		{"BUILD_IMAGE", o.buildImage}, {"BASE_IMAGE", o.baseImage},
	} {
		if arg[1] != "" {
			build = append(build, "--build-arg", arg[0]+"="+arg[1])
		}
	}
	switch {
	case o.manifest(tool):
		build = append(build, "--manifest", r.image)
	case several && o.push:
		build = append(build, "--push", "-t", r.image)
	default:
		build = append(build, "-t", r.image)
	}
	commands := [][]string{append(build, ".")}
	switch {
	case !o.push || (several && tool == "docker"):
	case several:
		commands = append(commands, []string{tool, "manifest", "push", "--all", r.image, "docker://" + r.image})
	default:
		commands = append(commands, []string{tool, "push", r.image})
	}
	return commands
}

// loud runs a command of an engine in the root folder and shows what it says.
func (r *release) loud(ctx context.Context, command ...string) error {
	r.say("%s", strings.Join(command, " "))
	cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // an engine
	cmd.Dir, cmd.Stdout, cmd.Stderr = r.root, os.Stdout, os.Stderr
	return cmd.Run()
}

// quiet asks an engine something, and does not wait long for a daemon that hangs.
func quiet(ctx context.Context, command ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // an engine
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	return cmd.Run()
}
