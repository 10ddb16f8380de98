// Package app puts the commands of the kubectl plugin together.
package app

import (
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"example.io/mtls-injector/cmd/internal/version"
	"example.io/mtls-injector/cmd/kubectl-mtls/check"
	"example.io/mtls-injector/cmd/kubectl-mtls/explain"
	"example.io/mtls-injector/cmd/kubectl-mtls/graph"
	"example.io/mtls-injector/cmd/kubectl-mtls/inject"
	"example.io/mtls-injector/cmd/kubectl-mtls/migrate"
	"example.io/mtls-injector/cmd/kubectl-mtls/policy"
	"example.io/mtls-injector/cmd/kubectl-mtls/status"
	"example.io/mtls-injector/cmd/kubectl-mtls/verify"
)

// NewCommand returns the command `kubectl mtls`. linked is the version that the linker was
// told, or empty.
func NewCommand(linked string, streams genericiooptions.IOStreams) *cobra.Command {
	root := &cobra.Command{
		Use:   "kubectl-mtls",
		Short: "Work with pods that mtls-injector serves",
		Long: "Work with pods that mtls-injector serves: annotated pods, which start with a certificate of their own,\n" +
			"the CA bundle and the environment that points at them.",
		Annotations:       map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl mtls"},
		SilenceErrors:     true, // main prints them
		SilenceUsage:      true,
		DisableAutoGenTag: true,
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	build := version.Of(linked)
	root.AddCommand(
		inject.NewCommand(build.Version, streams),
		explain.NewCommand(build.Version, streams),
		inject.NewUninjectCommand(streams),
		migrate.NewCommand(streams),
		policy.NewCommand(streams),
		check.NewCommand(build.Version, streams),
		graph.NewCommand(streams),
		status.NewCommand(streams),
		verify.NewCommand(streams),
		version.NewCommand("kubectl-mtls", build),
	)
	return root
}
