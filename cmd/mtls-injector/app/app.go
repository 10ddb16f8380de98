// Package app is the command line of mtls-injector: where flags become typed values, and
// the rooms of the house are wired together. No other package reads flags or the
// environment.
package app

import (
	"github.com/spf13/cobra"

	"example.io/mtls-injector/cmd/internal/agentcmd"
	"example.io/mtls-injector/cmd/internal/version"
)

// NewCommand returns the command `mtls-injector`. linked is the version that the linker
// was told, or empty. The commands stop when the context that they are executed with ends.
func NewCommand(linked string) *cobra.Command {
	root := &cobra.Command{
		Use:   "mtls-injector",
		Short: "Give annotated pods a certificate of their own",
		Long: "Give annotated pods a certificate of their own, the CA bundle, and the environment that points at them:\n" +
			"mutual TLS between pods without a service mesh.",
		SilenceErrors:     true, // main prints them
		SilenceUsage:      true,
		DisableAutoGenTag: true,
	}
	build := version.Of(linked)
	root.AddCommand(newWebhookCommand(build.Version), newSmokeTestCommand(),
		agentcmd.NewCommand(root.Name(), "agent", build.Version), version.NewCommand(root.Name(), build))
	return root
}
