// Command kubectl-mtls is the kubectl plugin of mtls-injector: `kubectl mtls`.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"example.io/mtls-injector/cmd/kubectl-mtls/app"
	"example.io/mtls-injector/cmd/kubectl-mtls/steps"
)

// version is set by the linker: -ldflags "-X main.version=v1.2.3".
var version string

func main() {
	os.Exit(run())
}

func run() int {
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	cmd := app.NewCommand(version, streams)
	cmd.SetArgs(arguments(os.Args))
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	code := 1
	if exit, ok := errors.AsType[*steps.ExitError](err); ok {
		code = exit.Code
	}
	if err.Error() != "" {
		fmt.Fprintln(os.Stderr, "error:", err)
	}
	return code
}

// arguments are those of the command. kubectl completes a plugin's arguments by a program of
// the name kubectl_complete-PLUGIN, which takes what is typed and answers as cobra does: a
// link of that name to this program is one.
func arguments(args []string) []string {
	if strings.HasPrefix(filepath.Base(args[0]), "kubectl_complete-") {
		return append([]string{cobra.ShellCompRequestCmd}, args[1:]...)
	}
	return args[1:]
}
