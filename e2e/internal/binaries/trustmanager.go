package binaries

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
)

// TrustManager is where cert-manager's trust-manager is.
type TrustManager struct {
	// Program is the path of the program, CRD of the file with the Bundle's CRD.
	Program, CRD string
}

// EnsureTrustManager returns trust-manager, built once per version into the user's cache
// folder.
func EnsureTrustManager(ctx context.Context, progress Progress) (*TrustManager, error) {
	b, err := newBuilder(ctx, progress)
	if err != nil {
		return nil, err
	}
	const name = "github.com/cert-manager/trust-manager"
	module := filepath.Join(b.module, "tools", "trustmanager")
	version, dir, err := b.moduleFiles(ctx, module, name)
	if err != nil {
		return nil, err
	}
	b.dir = filepath.Join(b.dir, fmt.Sprintf("trust-manager-%s-%s-%s-%s", version, runtime.Version(), runtime.GOOS, runtime.GOARCH))
	t := &TrustManager{CRD: filepath.Join(dir, "deploy", "crds", "trust.cert-manager.io_bundles.yaml")}
	targets := []target{{name: "trust-manager", module: module, pkg: name + "/cmd/trust-manager", flags: "-s -w", hint: "2 minutes", path: &t.Program}}
	return t, b.ensure(ctx, targets)
}
