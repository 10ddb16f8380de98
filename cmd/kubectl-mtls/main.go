// Command kubectl-mtls is the kubectl plugin of mtls-injector: `kubectl mtls`.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

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
	err := app.NewCommand(version, streams).ExecuteContext(ctx)
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
