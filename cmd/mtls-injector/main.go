// Command mtls-injector is what runs in the cluster: `mtls-injector webhook`.
package main

import (
	"fmt"
	"os"

	ctrl "sigs.k8s.io/controller-runtime"

	"example.io/mtls-injector/cmd/mtls-injector/app"
)

// version is set by the linker: -ldflags "-X main.version=v1.2.3".
var version string

func main() {
	if err := app.NewCommand(version).ExecuteContext(ctrl.SetupSignalHandler()); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
