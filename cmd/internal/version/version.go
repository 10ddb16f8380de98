// Package version tells which build of a program runs, for all programs of the house.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Build is what is known of how a program was made.
type Build struct {
	// Version is the release, or "dev". Revision is the commit, with "-dirty" behind it
	// where the tree had changes, or "unknown".
	Version, Revision string
}

// Of takes the version from the linker, or else from what the go command recorded: the
// module's version with `go install …@version`, and the commit in a checkout.
func Of(linked string) Build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return from(linked, info)
}

func from(linked string, info *debug.BuildInfo) Build {
	b := Build{Version: linked, Revision: "unknown"}
	dirty := ""
	for _, setting := range info.Settings {
		switch {
		case setting.Key == "vcs.revision":
			b.Revision = setting.Value
		case setting.Key == "vcs.modified" && setting.Value == "true":
			dirty = "-dirty"
		}
	}
	b.Revision += dirty
	if b.Version == "" && info.Main.Version != "(devel)" {
		b.Version = info.Main.Version
	}
	if b.Version == "" {
		b.Version = "dev"
	}
	return b
}

// NewCommand returns the command `version` of the program.
func NewCommand(program string, b Build) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, commit, Go version and platform",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s (commit %s, %s, %s/%s)\n",
				program, b.Version, b.Revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
