// Command mtls-agent is the sidecar that guards a pod's certificate files: a program of its
// own, because the other one does not fit into 16 MiB.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"example.io/mtls-injector/cmd/internal/agentcmd"
	programversion "example.io/mtls-injector/cmd/internal/version"
)

// version is set by the linker: -ldflags "-X main.version=v1.2.3".
var version string

func main() {
	beSmall()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	build := programversion.Of(version)
	root := agentcmd.NewCommand("", "mtls-agent", build.Version)
	root.AddCommand(programversion.NewCommand(root.Name(), build))
	err := root.ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// beSmall keeps memory low, also on nodes with many processors: the runtime has memory for
// each that it uses, and the collector's own limit is far below the container's. Variables
// that are set win.
func beSmall() {
	const heap, processors = 6 << 20, 2
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(heap)
	}
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) > processors {
		runtime.GOMAXPROCS(processors)
	}
}
